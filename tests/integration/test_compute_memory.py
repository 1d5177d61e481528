# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a model keeps from compute to compute belongs to KIM's compute arguments: one for each, freed with them."""

import shutil
import subprocess
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import pytest
import tiny_models as tiny
from configurations import crystal, of_atoms
from kim_collection import HERE, KimCollection, python_path

pytestmark = pytest.mark.every_system

# A host in Python. Its own lines tell the tests where it is.
HOST = f"""
import sys
import remembering
import tiny_models as tiny
from configurations import crystal, of_atoms
from kimpy_host import ENERGY, KimpyModel

particles = of_atoms(crystal(), tiny.CUTOFF)

def say(what):
    sys.stderr.write(what + "\\n")

first = KimpyModel({tiny.EDGES_3!r})
second = first.with_own_arguments()
"""

Run = Callable[[str], list[str]]


@pytest.fixture
def run(collection: KimCollection) -> Run:
    """Run the rest of a host's script; return the lines on stderr."""

    def function(script: str) -> list[str]:
        done = collection.run_python("-c", HOST + script, KIM_TORCHML_QUIET="1")
        assert done.returncode == 0, done.stderr
        return done.stderr.splitlines()

    return function


def test_each_has_its_own_from_compute_to_compute(run: Run) -> None:
    lines = run("for host in (first, second, first, first, second): host.compute(particles, (ENERGY,))")
    assert lines[:7] == ["made 0", "made 1", "used 0", "used 1", "used 0", "used 0", "used 1"]


@pytest.mark.parametrize("release_gil", [False, True])
def test_it_is_kept_when_a_compute_fails(run: Run, release_gil: bool) -> None:
    lines = run(f"""
for claimed_n in (None, -1, None):
    try:
        first.compute(particles, (ENERGY,), release_gil={release_gil}, claimed_n=claimed_n)
    except RuntimeError:
        say("failed")
""")
    told = [line for line in lines if not line.startswith("[kim-torchml")]
    assert told[:5] == ["made 0", "made 1", "used 0", "failed", "used 0"]


def test_it_is_freed_when_its_arguments_are_destroyed(run: Run) -> None:
    lines = run("""
for host in (first, second): host.compute(particles, (ENERGY,))
del first.arguments
say("one")
second.compute(particles, (ENERGY,))
second.create_arguments()
say("two")
second.compute(particles, (ENERGY,))
""")
    start = lines.index("freed 0")
    assert lines[start:][:7] == ["freed 0", "one", "used 1", "made 2", "freed 1", "two", "used 2"]


def test_a_host_that_destroys_nothing_before_its_python_ends(run: Run) -> None:
    """Its variables are deleted while Python ends."""
    lines = run("""
for host in (first, second): host.compute(particles, (ENERGY,))
say("end")
""")
    assert lines[-1] == "end"


def test_threads_of_a_simulator_without_python(simulator: Path, collection: KimCollection, own_folder: Path) -> None:
    """Arguments are created and destroyed in threads that do not hold the GIL, while others compute."""
    of_atoms(crystal(), tiny.CUTOFF).write(own_folder / "particles.txt")
    site = own_folder / "site"
    site.mkdir()
    shutil.copy(HERE / "remembering.py", site / "sitecustomize.py")
    done = subprocess.run(
        [str(simulator), "threads", tiny.EDGES_3, "particles.txt", "5"],
        cwd=own_folder,
        env=collection.environment | {"PYTHONPATH": python_path(site), "KIM_TORCHML_QUIET": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 4), done.stderr
    told = sorted(tuple(reversed(line.split())) for line in done.stderr.splitlines())
    by_memory = {number: [event for _, event in events] for number, events in groupby(told, lambda each: each[0])}
    each = ["freed", "made", *["used"] * 5]
    # The last arguments are those that the simulator asks for the outputs that are supported.
    assert by_memory == dict.fromkeys("0123", each) | {"4": ["freed", "made"]}
