# SPDX-License-Identifier: LGPL-2.1-or-later
"""Progress of long work: a line in a terminal once two seconds have passed, and nothing elsewhere."""

import io
import os
import pty
import select
import subprocess
import sys
import threading
import time

import pytest
from fresh_python import SOURCE
from rich.console import Console

from kim_torchml.tools.late_progress import LateProgress

# Seconds after which a test gives up.
PATIENCE = 30.0
# The command `words`, whose import of torch lasts until a line comes on standard input, and then fails; progress comes
# after the first argument, in seconds.
COMMAND = """
import functools, sys
from kim_torchml.errors import DriverError
from kim_torchml.process import imports
from kim_torchml.tools import late_progress
def importing():
    sys.stdin.readline()
    raise DriverError("there is no torch")
imports.import_needed_packages = importing
late_progress.LateProgress = functools.partial(late_progress.LateProgress, delay=float(sys.argv[1]))
from kim_torchml.tools.cli import main
main(sys.argv[2:])
"""
PACKAGE = ["--output", "new", "--name", "A", "--kind", "edges", "--species", "Si", "--cutoff", "5"]
COMMANDS = {"check": ["."], "package": ["model.pt", *PACKAGE], "upgrade": ["."]}


def terminal():
    return Console(file=io.StringIO(), width=60, force_terminal=True, force_interactive=True)


def wait_for(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_it_appears_while_the_first_step_lasts():
    """The work says what it does once, before the line is due, and then nothing for long."""
    console = terminal()
    with LateProgress(console, delay=0.05) as progress:
        progress("opening [the model]", 0.0)
        wait_for(lambda: "opening [the model]" in console.file.getvalue())
        progress("forces", 0.5)
        wait_for(lambda: "forces" in console.file.getvalue())


def test_work_of_which_no_part_is_known():
    """The bar moves until a part is."""
    console = terminal()
    with LateProgress(console, delay=0.05) as progress:
        progress("compiling")
        wait_for(lambda: "compiling" in console.file.getvalue())
        assert progress._line.tasks[0].total is None
        progress("comparing", 0.5)
        assert progress._line.tasks[0].percentage == 50.0


def test_short_work_shows_nothing_and_leaves_no_timer():
    console = terminal()
    with LateProgress(console, delay=PATIENCE) as progress:
        progress("forces", 0.5)
    assert console.file.getvalue() == ""
    wait_for(lambda: not any(isinstance(each, threading.Timer) for each in threading.enumerate()))


def test_nothing_is_shown_where_there_is_no_terminal():
    console = Console(file=io.StringIO(), width=60)
    with LateProgress(console, delay=0.0) as progress:
        progress("forces", 0.5)
        time.sleep(0.2)
    assert console.file.getvalue() == ""


def start(command, folder, delay, stderr):
    """Start a command in a folder with a file model.pt."""
    (folder / "model.pt").touch()
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(delay), command, *COMMANDS[command]],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(SOURCE), "TERM": "xterm", "COLUMNS": "100"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_show_in_a_terminal_that_torch_is_imported(command, tmp_path):
    primary, secondary = pty.openpty()
    try:
        with start(command, tmp_path, 0.0, secondary) as process:
            shown = b""
            while b"importing torch" not in shown:
                assert select.select([primary], [], [], PATIENCE)[0]
                shown += os.read(primary, 4096)
            out, _ = process.communicate(b"\n", timeout=PATIENCE)
        assert (process.returncode, out) == (1, b"")
        while b"Error" not in shown:
            shown += os.read(primary, 4096)
        assert b"Error: there is no torch" in shown
        # The cursor is hidden as long as the line is there.
        assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l")
    finally:
        os.close(primary)
        os.close(secondary)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_show_nothing_in_a_file(command, tmp_path):
    with start(command, tmp_path, 0.0, subprocess.PIPE) as process:
        time.sleep(0.5)
        out, errors = process.communicate(b"\n", timeout=PATIENCE)
    assert (process.returncode, out, errors) == (1, b"", b"Error: there is no torch\n")
