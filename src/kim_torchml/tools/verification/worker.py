# SPDX-License-Identifier: LGPL-2.1-or-later
"""A process that opens a model and runs checks on it: `python -m kim_torchml.tools.verification.worker REQUEST`.

REQUEST is JSON, see `Request`. The worker writes events to the file descriptor that it names, one JSON object a line:
`model` (VerifiedModel), `start`, `progress`, `result`, `nve`, or `unusable` (the model cannot be checked at all).
Standard output and standard error are left to the model, which may print what it likes.
"""

import json
import math
import os
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import kimpy

from kim_torchml.tools.kim_host.model import ModelError
from kim_torchml.tools.programs.signals import signals_raise
from kim_torchml.tools.verification.checks import CHECKS
from kim_torchml.tools.verification.checks.base import Check
from kim_torchml.tools.verification.grades import FAILED
from kim_torchml.tools.verification.model_under_test import ModelUnderTest
from kim_torchml.tools.verification.nve import constant_energy_run
from kim_torchml.tools.verification.result import CheckOutcome

# Shortest time between two events of progress, s.
PROGRESS_EVERY = 0.1

Send = Callable[..., None]


@dataclass(frozen=True)
class Request:
    """What a worker is to do.

    Attributes:
        model: KIM id.
        checks: names of the checks.
        seed: seed of all random numbers.
        species: species to check; all of them if it is empty.
        nve: whether a run at constant energy follows the checks.
        scratch: a folder for what KIM writes (kim.log).
        channel: file descriptor that events are written to.
    """

    model: str
    checks: list[str]
    seed: int
    species: list[str]
    nve: bool
    scratch: str
    channel: int


def main() -> None:
    """Do what the request in the first argument says."""
    request = Request(**json.loads(sys.argv[1]))
    with signals_raise(), os.fdopen(request.channel, "w", buffering=1) as channel:

        def send(event: str, **values: Any) -> None:
            channel.write(json.dumps(_finite({"event": event, **values}), allow_nan=False) + "\n")

        try:
            _find(request)
            under_test = ModelUnderTest(request.model, request.seed, request.species)
            send("model", description=asdict(under_test.describe()))
        except ModelError as error:
            send("unusable", reason=str(error))
            return
        for name in request.checks:
            _run(CHECKS[name], under_test, send)
        if request.nve:
            _run_nve(under_test, send)


def _finite(value: Any) -> Any:
    """Return the value with words in place of infinities and NaN, which JSON does not know."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _find(request: Request) -> None:
    """Find the portable model, after a change to the scratch folder, so that KIM writes kim.log there.

    KIM also finds models in the working directory. Such a model can be found and run from there only, so the worker
    stays there.

    Raises:
        ModelError: There is no portable model of this name.
    """
    here = Path.cwd()
    os.chdir(request.scratch)
    kind = _kind(request.model)
    if kind is None:
        os.chdir(here)
        kind = _kind(request.model)
    if kind is None:
        raise ModelError(
            f"no model {request.model} is installed; kim-api-collections-management list shows those that are"
        )
    if kind != "portableModel":
        raise ModelError(f"{request.model} is a {kind}; only portable models can be checked")


def _kind(name: str) -> str | None:
    """Return the kind of the item that KIM knows by a name, or None."""
    try:
        return str(kimpy.collections.create().get_item_type(name))
    except RuntimeError:
        return None


def _run(check: Check, under_test: ModelUnderTest, send: Send) -> None:
    """Run one check and send its result; an exception makes it a failed check, with the reason."""
    send("start", check=check.name)
    started = last = time.monotonic()

    def progress(fraction: float) -> None:
        nonlocal last
        if time.monotonic() - last > PROGRESS_EVERY:
            last = time.monotonic()
            send("progress", check=check.name, fraction=fraction)

    under_test.progress = progress
    try:
        outcome = check.run(under_test)
    except ModelError as refused:
        outcome = CheckOutcome(FAILED, None, f"The check could not be completed: {refused}.")
    except Exception as broken:
        # The check has a mistake, or the model has done something to Python; the other checks must run all the same.
        details = {"traceback": traceback.format_exc()}
        outcome = CheckOutcome(FAILED, None, f"The check broke off: {type(broken).__name__}: {broken}", details)
    error = outcome.error if outcome.error is not None and math.isfinite(outcome.error) else None
    send(
        "result",
        check=check.name,
        grade=outcome.grade,
        error=error,
        comment=outcome.comment,
        details=outcome.details,
        seconds=time.monotonic() - started,
    )


def _run_nve(under_test: ModelUnderTest, send: Send) -> None:
    """Run at constant energy and send the result, or why there is none."""
    under_test.progress = lambda fraction: send("progress", check="nve", fraction=fraction)
    send("start", check="nve")
    try:
        send("nve", found=constant_energy_run(under_test))
    except ModelError as error:
        send("nve", found={"failed": str(error)})


if __name__ == "__main__":
    main()
