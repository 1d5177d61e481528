# SPDX-License-Identifier: LGPL-2.1-or-later
"""What each rank does in a compute, taken in the Python that the driver starts.

When Python ends, rank N writes N.json to the folder that KIM_TORCHML_BENCHMARK_RANKS names: for every compute its CPU
and wall time, how much of it the rank was waiting for others, exchanging and planning, and numbers of rows, edges and
bytes.
"""

import atexit
import json
import os
import time
from pathlib import Path

from after_import import wrap_after_import

# It has imported all that is wrapped here.
_WATCHED = "kim_torchml.driver.model"
_FOLDER = os.environ.get("KIM_TORCHML_BENCHMARK_RANKS", "")
_records: list[dict[str, float]] = []
_now: dict[str, float] = {}


def _write() -> None:
    rank = os.environ.get("OMPI_COMM_WORLD_RANK", "0")
    Path(_FOLDER, f"{rank}.json").write_text(json.dumps(_records))


def _add(name: str, number: float) -> None:
    _now[name] = _now.get(name, 0.0) + number


def _watch(owner: type, method: str, name: str) -> None:
    """Add the times of a method's calls, without what is watched within them."""
    plain = getattr(owner, method)

    def timed(self, *arguments, **options):
        before = _now.get("within", 0.0), _now.get("wall within", 0.0)
        _now["within"] = _now["wall within"] = 0.0
        cpu, wall = time.process_time(), time.perf_counter()
        try:
            return plain(self, *arguments, **options)
        finally:
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            _add(name, cpu - _now["within"])
            _add(f"{name} wall", wall - _now["wall within"])
            _now["within"], _now["wall within"] = before[0] + cpu, before[1] + wall

    setattr(owner, method, timed)


def _watch_all(module) -> None:
    from kim_torchml.inputs.joint import JointFolding
    from kim_torchml.process.communicator import Communicator

    _watch(Communicator, "_all_are", "waiting")
    _watch(Communicator, "gathered", "gathering")
    _watch(Communicator, "exchanged", "exchange")
    _watch(JointFolding, "_planned", "planning")
    module.counted = lambda numbers: [_add(name, number) for name, number in numbers.items()]
    plain = module.Model.compute

    def compute(self, *arguments):
        _now.clear()
        cpu, wall = time.process_time(), time.perf_counter()
        plain(self, *arguments)
        _records.append(_now | {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall})

    module.Model.compute = compute
    exchanged = Communicator.exchanged

    def counting(self, rows, *arguments):
        _add("bytes", rows.nbytes)
        return exchanged(self, rows, *arguments)

    Communicator.exchanged = counting


def begin() -> None:
    """Take them from now on."""
    wrap_after_import(_WATCHED, _watch_all)
    atexit.register(_write)
