# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks run in worker processes: one that crashes is a failed check, and the others go on."""

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from kim_torchml import __version__
from kim_torchml.tools.kim_host.error_lines import errors_in
from kim_torchml.tools.kim_host.model import ModelError
from kim_torchml.tools.programs.process_group import end_process_group
from kim_torchml.tools.verification.catalogue import CATALOGUE
from kim_torchml.tools.verification.checks import CHECKS
from kim_torchml.tools.verification.grades import FAILED
from kim_torchml.tools.verification.result import CheckResult, Verification, VerifiedModel
from kim_torchml.tools.verification.worker import Request
from kim_torchml.tools.verification.worker_process import child_environment, describe_exit

NVE = "nve"
# Number of lines that the model printed, kept in the result of a failed check.
LINES = 8


@dataclass(frozen=True)
class Options:
    """What to run.

    Attributes:
        model: KIM id.
        checks: names of the checks, in the order of the report.
        seed: seed of all random numbers.
        species: species to check; all that the model supports if it is empty.
        nve: whether to run at constant energy, too.
        timeout: longest time that a check may take, s.
    """

    model: str
    checks: Sequence[str]
    seed: int = 0
    species: Sequence[str] = ()
    nve: bool = False
    timeout: float = 600.0


@dataclass
class Listener:
    """Functions that are called while checks run.

    Attributes:
        started: function that takes the name of the check (or "nve") that begins.
        progressed: function that takes its name, and the fraction of it that is done.
        finished: function that takes its result.
    """

    started: Callable[[str], None] = field(default=lambda name: None)
    progressed: Callable[[str, float], None] = field(default=lambda name, fraction: None)
    finished: Callable[[CheckResult], None] = field(default=lambda result: None)


def verify(options: Options, listener: Listener | None = None) -> Verification:
    """Run checks on a model.

    Raises:
        ModelError: The model is not there, or cannot be checked at all.
    """
    run = _Run(options, listener or Listener())
    together = [name for name in options.checks if not CHECKS[name].alone]
    groups = [together, *([name] for name in options.checks if CHECKS[name].alone)]
    for index, group in enumerate(groups):
        nve = options.nve and index == 0
        if group or nve:
            run.group(group, nve)
    assert run.description is not None
    results = [run.results[name] for name in options.checks]
    date = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return Verification(run.description, results, options.seed, __version__, date, run.nve)


class _Run:
    """The state of one verification."""

    def __init__(self, options: Options, listener: Listener) -> None:
        self._options = options
        self._listener = listener
        self.description: VerifiedModel | None = None
        self.results: dict[str, CheckResult] = {}
        self.nve: dict[str, Any] | None = None

    def group(self, names: list[str], nve: bool) -> None:
        """Run checks in one worker and, if it crashes, those that are left in another one."""
        left = list(names)
        while left or nve:
            worker = _Worker(self._options, left, nve)
            with worker:
                running = self._follow(worker)
                log = worker.log()
            left = [name for name in left if name not in self.results]
            if running is None:
                if not left and not (nve and self.nve is None):
                    break
                # The worker ended between two checks.
                running = left[0] if left else NVE
            if running == NVE:
                self.nve = {"failed": worker.how_it_ended}
            else:
                self._finish(running, FAILED, None, f"The check did not end: {worker.how_it_ended}.", log, 0.0)
                left.remove(running)
            nve = nve and self.nve is None

    def _follow(self, worker: "_Worker") -> str | None:
        """Pass on the events of a worker; return the check that it did not finish, if there is one."""
        running: str | None = None
        for event in worker.events():
            kind = event.pop("event")
            if kind == "unusable":
                raise ModelError(event["reason"] + worker.reason())
            if kind == "model":
                self.description = self.description or VerifiedModel(**event["description"])
            elif kind == "start":
                running = event["check"]
                self._listener.started(event["check"])
            elif kind == "progress":
                self._listener.progressed(event["check"], event["fraction"])
            elif kind == "nve":
                self.nve, running = event["found"], None
            else:
                self._result(event, worker)
                running = None
        if self.description is None:
            raise ModelError(
                f"the model {self._options.model} could not be opened: {worker.how_it_ended}{worker.reason()}"
            )
        return running

    def _result(self, event: dict[str, Any], worker: "_Worker") -> None:
        log = worker.log()
        details = event["details"] | (log if event["grade"] == FAILED else {})
        self._finish(event["check"], event["grade"], event["error"], event["comment"], details, event["seconds"])

    def _finish(
        self, name: str, grade: str, error: float | None, comment: str, details: dict[str, Any], seconds: float
    ) -> None:
        entry = CATALOGUE[name]
        result = CheckResult(name, entry.description, entry.grading, grade, error, comment, details, seconds)
        self.results[name] = result
        self._listener.finished(result)


def scratch_folder() -> "tempfile.TemporaryDirectory[str]":
    """Return a temporary folder.

    Raises:
        ModelError: There is no room for one.
    """
    try:
        return tempfile.TemporaryDirectory(prefix="kim-torchml-verify-")
    except OSError as error:
        raise ModelError(
            f"checks need a temporary folder, but none can be made ({error.strerror or error}); name a folder that can "
            "be written in TMPDIR"
        ) from error


class _Worker:
    """A worker process, its scratch folder, and what it prints."""

    def __init__(self, options: Options, names: list[str], nve: bool) -> None:
        self._options = options
        self._names = names
        self._nve = nve
        self._read_until = 0
        self.how_it_ended = ""

    def __enter__(self) -> "_Worker":
        with ExitStack() as undo:
            self._start(undo)
            self._undo = undo.pop_all()
        return self

    def _start(self, undo: ExitStack) -> None:
        """Start the process; `undo` ends it and removes its folder, even if an exception interrupts the start."""
        scratch = Path(undo.enter_context(scratch_folder()))
        self._output = scratch / "output"
        self._channel, theirs = os.pipe()
        undo.callback(os.close, self._channel)
        options = self._options
        request = Request(
            options.model, self._names, options.seed, list(options.species), self._nve, str(scratch), theirs
        )
        command = [sys.executable, "-m", "kim_torchml.tools.verification.worker", json.dumps(vars(request))]
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs],
                env=child_environment(),
                start_new_session=True,
            )
        undo.callback(end_process_group, self._process)
        os.close(theirs)

    def __exit__(self, *exception: object) -> None:
        self._undo.close()

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield the worker's events until it ends, or until a check takes too long."""
        rest = b""
        deadline = time.monotonic() + self._options.timeout
        while True:
            ready, _, _ = select.select([self._channel], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                end_process_group(self._process)
                self.how_it_ended = f"it took longer than {self._options.timeout:g} s (--timeout)"
                return
            chunk = os.read(self._channel, 1 << 16)
            if not chunk:
                self._wait()
                return
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                event = json.loads(line)
                if event["event"] in ("start", "result"):
                    deadline = time.monotonic() + self._options.timeout
                yield event

    def _wait(self) -> None:
        """Wait a moment for the process, which has closed its channel, to end by itself; then end it."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5.0)
        end_process_group(self._process)
        self.how_it_ended = describe_exit(self._process.returncode)

    def log(self) -> dict[str, Any]:
        """Return the last lines that were printed since the last call, or nothing."""
        with self._output.open("rb") as output:
            output.seek(self._read_until)
            printed = output.read()
        self._read_until += len(printed)
        lines = printed.decode(errors="replace").splitlines()
        # Repeated lines are dropped: a model may report the same failure hundreds of times.
        lines = list(dict.fromkeys(line.strip() for line in lines if line.strip()))[-LINES:]
        return {"log": lines} if lines else {}

    def reason(self) -> str:
        """Return the end of a sentence: the driver's last error, or else the last line printed; may be empty."""
        lines = self._output.read_text(errors="replace").splitlines()
        ours = errors_in(lines)
        if ours:
            return f": {ours[-1]}"
        return f": {lines[-1]}" if lines else ""
