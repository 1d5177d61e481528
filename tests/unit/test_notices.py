# SPDX-License-Identifier: LGPL-2.1-or-later
"""Lines on stderr: what cannot be written is dropped, each line is one write, and each warning comes once."""

import io
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pytest
from fresh_python import SOURCE

from kim_torchml.process import notices
from kim_torchml.process.rank import Rank

ALONE = Rank(None, 0, 1, 1)

SAY = """
import signal, sys
signal.signal(signal.SIGPIPE, {sigpipe})
from kim_torchml.process import notices
from kim_torchml.process.rank import Rank
{before}
for number in range(3):
    notices.warn(Rank(None, 0, 1, 1), f"number {{number}}")
notices.announce_first_use(Rank(None, 0, 1, 1), "facts")
print("goes on", flush=True)
"""


def say(stderr, before="", sigpipe="signal.SIG_DFL", **options):
    """Run a process that says something on a stderr of its own; return its exit status and what else it printed."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    environment.pop("KIM_TORCHML_QUIET")
    done = subprocess.run(
        [sys.executable, "-c", SAY.format(before=textwrap.dedent(before), sigpipe=sigpipe)],
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=environment,
        timeout=60,
        check=False,
        **options,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("sigpipe", ["signal.SIG_DFL", "signal.SIG_IGN"])
def test_reader_of_stderr_is_gone(sigpipe):
    """Simulators leave SIGPIPE as it is, which ends a process; Python ignores it."""
    read, write = os.pipe()
    os.close(read)
    try:
        assert say(write, sigpipe=sigpipe) == (0, b"goes on\n")
    finally:
        os.close(write)


def test_disk_is_full():
    with Path("/dev/full").open("wb") as full:
        assert say(full) == (0, b"goes on\n")


@pytest.mark.parametrize(
    "before",
    [
        "import os; os.close(2)",
        "sys.stderr = None",
        "sys.stderr.close()",
        """
        class Stream:
            def write(self, text):
                raise BrokenPipeError
            def flush(self):
                pass
        sys.stderr = Stream()
        """,
    ],
    ids=["descriptor is closed", "there is none", "stream is closed", "stream of the host fails"],
)
def test_stderr_is_of_no_use(before):
    assert say(subprocess.DEVNULL, before) == (0, b"goes on\n")


def test_a_pending_sigpipe_of_the_host_stays():
    """The host has blocked the signal, and will look whether one came."""
    before = """
    import os
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGPIPE])
    read, write = os.pipe()
    os.close(read)
    os.dup2(write, 2)
    import atexit
    atexit.register(lambda: print(signal.SIGPIPE in signal.sigpending(), flush=True))
    """
    assert say(subprocess.DEVNULL, before) == (0, b"goes on\nTrue\n")


@pytest.mark.parametrize("arguments", [[], ["-u"]], ids=["buffered", "unbuffered"])
def test_every_line_is_written_at_once(arguments, tmp_path):
    """Lines of several ranks go into one pipe: one that is written in pieces mixes with others."""
    code = SAY.format(before="", sigpipe="signal.SIG_DFL").replace('f"number {number}"', '"x" * 3000 + str(number)')
    writes = """
    import os
    plain = os.write
    def write(descriptor, data):
        plain(1, f"{len(data)} {data[-1:]!r}\\n".encode())
        return plain(descriptor, data)
    os.write = write
    """
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "KIM_TORCHML_QUIET": "0"}
    done = subprocess.run(
        [sys.executable, *arguments, "-c", textwrap.dedent(writes) + code],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
        check=True,
    )
    lines = done.stderr.splitlines()
    assert len(lines) == 4
    expected = [f"{len(line) + 1} b'\\n'" for line in lines]
    assert done.stdout.splitlines() == [*expected, "goes on"]


def test_a_stream_of_the_host_is_used(talkative, monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    notices.warn(ALONE, "look here")
    assert stream.getvalue() == "[kim-torchml] warning: look here\n"


def test_a_stream_of_the_host_that_raises_anything(talkative, monkeypatch):
    """As the text box of a window that is gone."""
    stream = SimpleNamespace(write=lambda text: 1 / 0, flush=lambda: None)
    monkeypatch.setattr(sys, "stderr", stream)
    notices.warn(ALONE, "look here")


def test_a_stream_of_the_host_without_flush_gets_the_line(talkative, monkeypatch):
    lines = []
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(write=lines.append))
    notices.warn(ALONE, "look here")
    assert lines == ["[kim-torchml] warning: look here\n"]


def test_a_warning_comes_once(talkative, capfd):
    for message in ("first", "second", "first"):
        notices.warn(ALONE, message)
    assert capfd.readouterr().err == "[kim-torchml] warning: first\n[kim-torchml] warning: second\n"


def test_models_of_one_name_are_warned_of_apart(talkative, capfd):
    for content in (b"first", b"second", b"first"):
        notices.warn(ALONE, "model.pt is odd", about=content)
    assert capfd.readouterr().err == 2 * "[kim-torchml] warning: model.pt is odd\n"


def test_the_first_rank_warns_for_all(talkative, capfd):
    notices.warn(Rank(1, 1, 2, 2), "look here")
    assert capfd.readouterr().err == ""
    notices.warn(Rank(0, 0, 2, 2), "look here")
    assert capfd.readouterr().err == "[kim-torchml rank 0] warning: look here\n"


def test_quiet_means_warnings_too(capfd):
    notices.warn(ALONE, "look here")
    assert capfd.readouterr().err == ""
