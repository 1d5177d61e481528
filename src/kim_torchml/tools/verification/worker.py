# SPDX-License-Identifier: LGPL-2.1-or-later
"""A process that opens a model and runs checks on it: `python -m kim_torchml.tools.verification.worker REQUEST`.

REQUEST is JSON, see `Request`. What happens is written to the file descriptor it names, one JSON object a line: `model`
(ModelFacts), `start`, `progress`, `result`, `nve`, or `unusable` (the model cannot be checked at all). Standard output
and error are the model's, which may print what it likes.
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
from kim_torchml.tools.verification.model_under_test import Bench
from kim_torchml.tools.verification.nve import constant_energy_run
from kim_torchml.tools.verification.result import Finding

# Progress is told at most this often, seconds.
PROGRESS_EVERY = 0.1

Send = Callable[..., None]


@dataclass(frozen=True)
class Request:
    """What a worker is to do.

    Attributes:
        model: KIM id.
        checks: Names.
        seed: Of all random numbers.
        species: To check; empty: all.
        nve: Whether to run at constant energy, too.
        scratch: A folder for what KIM writes (kim.log).
        channel: File descriptor to write to.
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
            bench = Bench(request.model, request.seed, request.species)
            send("model", facts=asdict(bench.facts()))
        except ModelError as error:
            send("unusable", reason=str(error))
            return
        for name in request.checks:
            _run(CHECKS[name], bench, send)
        if request.nve:
            _run_nve(bench, send)


def _finite(value: Any) -> Any:
    """Return the value with words in place of infinities and NaN, which JSON does not know."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _find(request: Request) -> None:
    """Check that there is a portable model of this name, in the scratch folder: KIM writes kim.log where it is.

    A model in the collection that is the working directory itself can only be found, and run, from there.

    Raises:
        ModelError: There is none.
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
    """Return what KIM knows by a name, or None."""
    try:
        return str(kimpy.collections.create().get_item_type(name))
    except RuntimeError:
        return None


def _run(check: Check, bench: Bench, send: Send) -> None:
    """Run one check and send its result; an exception is a failed check with its reason."""
    send("start", check=check.name)
    started = last = time.monotonic()

    def progress(fraction: float) -> None:
        nonlocal last
        if time.monotonic() - last > PROGRESS_EVERY:
            last = time.monotonic()
            send("progress", check=check.name, fraction=fraction)

    bench.progress = progress
    try:
        finding = check.run(bench)
    except ModelError as refused:
        finding = Finding(FAILED, None, f"The check could not be completed: {refused}.")
    except Exception as broken:
        # A mistake of the check's own, or something the model does to Python: either way it must not end the others.
        details = {"traceback": traceback.format_exc()}
        finding = Finding(FAILED, None, f"The check broke off: {type(broken).__name__}: {broken}", details)
    error = finding.error if finding.error is not None and math.isfinite(finding.error) else None
    send(
        "result",
        check=check.name,
        grade=finding.grade,
        error=error,
        comment=finding.comment,
        details=finding.details,
        seconds=time.monotonic() - started,
    )


def _run_nve(bench: Bench, send: Send) -> None:
    """Run at constant energy and send what became of it."""
    bench.progress = lambda fraction: send("progress", check="nve", fraction=fraction)
    send("start", check="nve")
    try:
        send("nve", found=constant_energy_run(bench))
    except ModelError as error:
        send("nve", found={"failed": str(error)})


if __name__ == "__main__":
    main()
