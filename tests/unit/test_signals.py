# SPDX-License-Identifier: LGPL-2.1-or-later
"""Ctrl-C and its kin: what a command says, and that nothing of it stays behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_machine import script
from fresh_python import SOURCE

from kim_torchml.tools.programs import run_program as programs
from kim_torchml.tools.programs.signals import Interrupted, signals_held_back, signals_raise
from kim_torchml.tools.verification import runner
from kim_torchml.tools.verification.result import VerifiedModel
from kim_torchml.tools.verification.worker_process import child_environment


def wait_for(path: Path) -> None:
    """Wait until a file has been written."""
    deadline = time.monotonic() + 60
    while not path.exists() or not path.read_text().endswith("\n"):
        assert time.monotonic() < deadline, f"{path} was not written"
        time.sleep(0.02)


def ends(pid: int) -> bool:
    """Return whether a process is gone, or a zombie, soon: a signal to a whole group need not be waited for."""
    status = Path(f"/proc/{pid}/status")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if "State:\tZ" in status.read_text():
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def hanging(fake):
    """A LAMMPS that starts another program and hangs; the file gets the other one's process id."""
    pid = fake.folder / "pid"
    script(fake.bin / "lmp", f"/bin/sleep 60 & echo $! >{pid}.part; /bin/mv {pid}.part {pid}; wait")
    return pid


@pytest.mark.parametrize(
    ("number", "status", "line"),
    [
        (signal.SIGINT, 130, "kim-torchml: interrupted\n"),
        (signal.SIGTERM, 143, "kim-torchml: ended by SIGTERM\n"),
        (signal.SIGHUP, 129, "kim-torchml: ended by SIGHUP\n"),
    ],
)
def test_doctor_that_is_interrupted(fake, hanging, number, status, line):
    temporary = fake.folder / "temporary"
    temporary.mkdir()
    code = "from kim_torchml.tools.cli import main; main(['doctor'], prog_name='kim-torchml')"
    variables = fake.environment | {"PYTHONPATH": str(SOURCE), "TMPDIR": str(temporary)}
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for(hanging)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (status, line)
    assert ends(int(hanging.read_text()))
    assert list(temporary.iterdir()) == []


def test_program_that_takes_too_long_ends_with_what_it_has_started(fake, hanging, monkeypatch):
    monkeypatch.setattr(programs, "TIME_LIMIT", 1.0)
    outcome = programs.run_program([fake.bin / "lmp"], fake.environment)
    assert outcome.failure == "it did not end within 1 s"
    assert ends(int(hanging.read_text()))


def test_program_that_ignores_sigterm(fake, monkeypatch):
    monkeypatch.setattr(programs, "TIME_LIMIT", 0.5)
    monkeypatch.setattr("kim_torchml.tools.programs.process_group.SECONDS_TO_CLEAN_UP", 0.2)
    stubborn = script(fake.bin / "stubborn", "trap '' TERM", "while :; do /bin/sleep 1; done")
    assert programs.run_program([stubborn], fake.environment).failure == "it did not end within 0 s"


def test_signals_wait_where_they_are_held_back():
    passed = False
    with signals_raise():
        with pytest.raises(Interrupted) as raised, signals_held_back():
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
            passed = True
        assert passed
        assert raised.value.number == signal.SIGTERM
        # As the driver hands on what ended it, and while the first one is being dealt with.
        with pytest.raises(Interrupted) as again:
            os.kill(os.getpid(), signal.SIGINT)
        assert again.value.number == signal.SIGTERM
        with signals_held_back():
            os.kill(os.getpid(), signal.SIGINT)


def test_a_signal_that_was_held_back_outlives_a_failure():
    with signals_raise(), pytest.raises(Interrupted), signals_held_back():
        os.kill(os.getpid(), signal.SIGTERM)
        raise RuntimeError("the model cannot be created")


def test_signals_that_are_ignored_stay_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals_raise():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_workers_of_verify_save_no_failures(monkeypatch):
    monkeypatch.setenv("KIM_TORCHML_DUMP", "/nonexistent/failures")
    assert "KIM_TORCHML_DUMP" not in child_environment()
    assert child_environment()["PATH"] == os.environ["PATH"]


class SilentWorker:
    """A worker of verify that ends before it has begun a check."""

    how_it_ended = "the process crashed (SIGKILL)"
    started = 0

    def __init__(self, *arguments):
        SilentWorker.started += 1

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def events(self):
        description = VerifiedModel("Model", ["Si"], ["Si"], 3.8, [3.8], ["partialEnergy"])
        yield {"event": "model", "description": vars(description)}

    def log(self):
        return {}


def test_worker_that_ends_between_checks(monkeypatch):
    monkeypatch.setattr(runner, "_Worker", SilentWorker)
    checks = ["objectivity", "inversion-symmetry"]
    found = runner.verify(runner.Options("Model", checks, nve=True))
    assert SilentWorker.started == 3
    assert [result.name for result in found.failures] == checks
    assert found.results[0].comment == "The check did not end: the process crashed (SIGKILL)."
    assert found.nve == {"failed": "the process crashed (SIGKILL)"}


def test_a_program_that_is_being_started_ends_too(fake, hanging, monkeypatch):
    """The signal comes when the program runs and nobody knows of it yet."""
    start = subprocess.Popen.__init__

    def interrupted(process, *arguments, **options):
        start(process, *arguments, **options)
        wait_for(hanging)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(subprocess.Popen, "__init__", interrupted)
    with signals_raise(), pytest.raises(Interrupted):
        programs.run_program([fake.bin / "lmp"], fake.environment)
    assert ends(int(hanging.read_text()))
