# SPDX-License-Identifier: LGPL-2.1-or-later
import functools
import io
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from fake_machine import FakeMachine
from fresh_python import SOURCE
from rich.console import Console

from kim_torchml import __version__
from kim_torchml.tools import late_progress
from kim_torchml.tools.cli import main
from kim_torchml.tools.cli.doctor import shown_while_waiting
from kim_torchml.tools.doctor import Finding, Status
from kim_torchml.tools.doctor.report import as_json
from kim_torchml.tools.late_progress import LateProgress


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run `kim-torchml doctor` on an empty machine; return exit code and what it printed."""
    fake = FakeMachine(tmp_path)
    monkeypatch.setenv("PATH", fake.environment["PATH"])
    monkeypatch.setenv("KIM_TORCHML_COMPILE", "never")

    def function(*arguments):
        result = CliRunner().invoke(main, ["doctor", *arguments])
        return result.exit_code, result.output

    return function


def pretend(monkeypatch, *findings):
    monkeypatch.setattr(
        "kim_torchml.tools.doctor.examine", lambda machine: (("Group", finding) for finding in findings)
    )


def test_machine_with_nothing(run, tmp_path):
    code, output = run("--json", str(tmp_path / "findings.json"))
    assert code == 1
    assert "problem KIM-API: there is no kim-api-collections-management on PATH" in output
    assert re.search(r"\d problems, \d warnings?: mend it from the top down", output)
    written = json.loads((tmp_path / "findings.json").read_text())
    assert written["version"] == __version__
    first = written["findings"][0]
    assert (first["group"], first["name"], first["status"]) == ("KIM-API", "KIM-API", "problem")
    assert first["commands"][0].startswith("sudo apt-get install")


def test_exit_code(run, monkeypatch):
    pretend(monkeypatch, Finding("a", Status.OK, "fine"), Finding("b", Status.WARNING, "odd"))
    code, output = run()
    assert code == 0
    assert "No problem found, 1 warning." in output
    pretend(monkeypatch, Finding("a", Status.PROBLEM, "not fine"))
    code, output = run()
    assert code == 1
    assert "1 problem, 0 warnings: mend it from the top down, and run this again" in output


def test_lines_fit_80_columns_and_commands_stay_whole(run, monkeypatch):
    command = "export A=" + "/very/long/path" * 10
    pretend(monkeypatch, Finding("name", Status.PROBLEM, "word " * 60, "do :this: [bold]thing[/bold] " * 9, (command,)))
    lines = run()[1].splitlines()
    assert f"            {command}" in lines
    assert max(len(line) for line in lines if command not in line) <= 80
    assert sum(line.count(":this:") for line in lines) == sum(line.count("[bold]") for line in lines) == 9
    assert "\x1b" not in "".join(lines)


def test_json_that_cannot_be_written(run, monkeypatch):
    pretend(monkeypatch, Finding("a", Status.OK, "fine"))
    code, output = run("--json", "/nonexistent/findings.json")
    assert code == 1
    assert "cannot write /nonexistent/findings.json: No such file or directory; name another file" in output


def test_json_of_what_is_no_text(run, monkeypatch, tmp_path):
    """A file name in an environment variable may be of any bytes."""
    pretend(monkeypatch, Finding("a", Status.OK, "in /\udcff"))
    code, output = run("--json", str(tmp_path / "findings.json"))
    assert code == 0
    assert "in /" in output
    (row,) = json.loads((tmp_path / "findings.json").read_text())["findings"]
    assert row["found"] == "in /\udcff"


def test_a_line_in_the_terminal_says_what_takes_long(fake, monkeypatch):
    console = Console(file=io.StringIO(), width=80, force_terminal=True, force_interactive=True)
    monkeypatch.setattr(late_progress, "LateProgress", functools.partial(LateProgress, console, delay=0.05))
    machine, finding = fake.machine(), Finding("a", Status.OK, "fine")

    def findings():
        for word in ("checking", "compiling a program"):
            end = time.monotonic() + 30.0
            while word not in console.file.getvalue():
                assert time.monotonic() < end
                time.sleep(0.01)
            machine.say("compiling a program")
        yield "Group", finding

    assert list(shown_while_waiting(machine, findings())) == [("Group", finding)]
    # It has gone when the finding is printed.
    assert console.file.getvalue().endswith("\x1b[2K")


def doctor(before, stdout, **variables):
    """Run the command in a process of its own; return its exit code and stderr."""
    code = f"{before}\nfrom kim_torchml.tools.cli import main\nmain(['doctor'])"
    variables = {"PATH": "", "PYTHONPATH": str(SOURCE)} | variables
    with stdout.open("w") as file:
        done = subprocess.run([sys.executable, "-c", code], stdout=file, stderr=subprocess.PIPE, env=variables)
    return done.returncode, done.stderr.decode()


_ONE_FINDING = """
from kim_torchml.tools import doctor
doctor.examine = lambda machine: [("Group", doctor.Finding("a", doctor.Status.OK, "3 Å, \\udcff"))]
"""


def test_terminal_that_does_not_know_all_signs(tmp_path):
    variables = {"PYTHONIOENCODING": "ascii"}
    assert doctor(_ONE_FINDING, tmp_path / "output", **variables) == (0, "")
    assert "a: 3 ?, ?" in (tmp_path / "output").read_text()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux's /dev/full stands for a full disk")
def test_output_into_a_full_disk():
    message = "Error: cannot write the output: No space left on device; write it elsewhere\n"
    assert doctor(_ONE_FINDING, Path("/dev/full")) == (1, message)


def test_as_module():
    """For an environment that was moved: its script names a Python that is not there."""
    done = subprocess.run([sys.executable, "-m", "kim_torchml", "doctor", "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: kim-torchml doctor [OPTIONS]")


def test_as_json_keeps_everything():
    finding = Finding("name", Status.SKIPPED, "found Å", "advice", ("one", "two"))
    (row,) = json.loads(as_json([("group", finding)]))["findings"]
    assert row == {
        "group": "group",
        "name": "name",
        "status": "skipped",
        "found": "found Å",
        "advice": "advice",
        "commands": ["one", "two"],
    }
