# SPDX-License-Identifier: LGPL-2.1-or-later
"""LAMMPS on ranks that exchange features: compiled models, memory, and what there is without mpi4py."""

import re
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tiny_models as tiny
from compiled_models import PATIENCE, needs_compiler
from configurations import crystal
from exported_models import like_tiny, needs_export, saved
from failing_networks import half_germanium
from kim_collection import KimCollection, PortableModel, python_path
from lammps_frames import FIRST, Script
from lammps_host import Case, CaseResults, first_use_lines, lines_of_driver, run_lammps
from lammps_scripts import NVE, orthogonal, periodic_in
from test_failing_ranks import run as run_ranks

EXPORTED = "Exchanged_Exported"
needs_mpi4py = pytest.mark.usefixtures("mpi4py_is_there")


@pytest.fixture
def mpi4py_is_there() -> None:
    """Skip a test where ranks cannot exchange features."""
    pytest.importorskip("mpi4py", reason="ranks exchange features through mpi4py, which is not installed here")


def cases(model: str) -> list[Case]:
    """Return structures for a model: a crystal, atoms that not all ranks have any of, and some that move."""
    cluster = periodic_in(crystal(), False, False, False)
    long = cluster.copy()
    long.positions -= long.positions.min(axis=0) - 1.0
    moving = "velocity all create 900 1 loop geom\nfix nve all nve\nrun 20"
    return [
        Case("crystal", model, half_germanium()),
        Case("cluster", model, cluster),
        Case("empty", model, long, processors="1 1 *"),
        Case("moving", model, orthogonal(crystal()), run=moving),
    ]


def expect_same(found: CaseResults, expected: CaseResults) -> None:
    assert found.energy == pytest.approx(expected.energy, rel=1e-12)
    np.testing.assert_allclose(found.atom_energies, expected.atom_energies, rtol=1e-12)
    np.testing.assert_allclose(found.forces, expected.forces, rtol=0, atol=1e-10)
    assert found.pressure == pytest.approx(expected.pressure, rel=1e-9)


@pytest.fixture(scope="module")
def exported(collection: KimCollection, install_models: Callable[[list[PortableModel]], None]) -> None:
    """Add a model of torch.export to the collection: within a test the package is the driver's, which writes none."""
    del collection
    install_models([saved(EXPORTED, tiny.ExchangedLayers(), "pt2", **like_tiny(3))])


@needs_mpi4py
@needs_export
@needs_compiler
@pytest.mark.usefixtures("exported")
def test_a_compiled_model_gives_what_one_rank_gives(collection: KimCollection, own_folder: Path) -> None:
    commands = "".join(case.write(own_folder) for case in cases(tiny.EXCHANGED))
    one = run_lammps(collection, own_folder, commands, KIM_TORCHML_EDGES="staged")
    assert one.returncode == 0, one.stdout + one.stderr
    expected = [case.read(own_folder) for case in cases(tiny.EXCHANGED)]
    commands = "".join(case.write(own_folder) for case in cases(EXPORTED))
    variables = {"KIM_TORCHML_EDGES": "exchange", "KIM_TORCHML_CACHE": str(own_folder / "cache")}
    for ranks in (2, 4):
        done = run_lammps(collection, own_folder, commands, ranks, PATIENCE, KIM_TORCHML_COMPILE="now", **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        lines = first_use_lines(done.stderr)
        assert len(lines) == ranks
        assert all("(Edges, 3 layers, exchanged between ranks, compiled (" in line for line in lines), lines
        for case, theirs in zip(cases(EXPORTED), expected, strict=True):
            expect_same(case.read(own_folder), theirs)
    # One that has no native code keeps the others from theirs.
    case, which = cases(EXPORTED)[0], [{"KIM_TORCHML_COMPILE": "cached"}, {"KIM_TORCHML_COMPILE": "never"}]
    done = run_ranks(collection, own_folder, case, which, **variables, KIM_TORCHML_QUIET="0")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = first_use_lines(done.stderr)
    assert all("(Edges, 3 layers, exchanged between ranks, not compiled)" in line for line in lines), lines
    expect_same(case.read(own_folder), expected[0])


def test_without_mpi4py_there_is_a_note_and_nothing_else(collection: KimCollection, own_folder: Path) -> None:
    without = own_folder / "without" / "mpi4py"
    without.mkdir(parents=True)
    (without / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'mpi4py'\", name='mpi4py')\n")
    found, notes = [], []
    for variables in ({"PYTHONPATH": python_path(without.parent)}, {"KIM_TORCHML_EDGES": "staged"}):
        commands = "".join(case.write(own_folder) for case in cases(tiny.EXCHANGED))
        done = run_lammps(collection, own_folder, commands, 2, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        lines = first_use_lines(done.stderr)
        assert len(lines) == 2
        assert all("(Edges, 3 layers staged)" in line for line in lines)
        notes.append(sorted(set(lines_of_driver(done.stderr)) - set(lines)))
        found.append([case.read(own_folder) for case in cases(tiny.EXCHANGED)])
    (note,) = notes[0]
    assert re.fullmatch(
        r"\[kim-torchml rank 0\] note: each rank computes the particles of others around its own again, 8\.7 Å deep, "
        r"as they do not exchange features: this Python has no mpi4py; install it beside kim-torchml: "
        r"\S+ -m pip install mpi4py\n",
        note,
    )
    assert notes[1] == []
    for ours, theirs in zip(*found, strict=True):
        assert ours.energy == theirs.energy
        np.testing.assert_array_equal(ours.forces, theirs.forces)
        np.testing.assert_array_equal(ours.atom_energies, theirs.atom_energies)
        assert ours.pressure == theirs.pressure


# Of both ranks, in pages.
MEASURE = """\
for rank in 0 1; do
    read -r _ resident _ < /proc/"$(cat "$rank.pid")"/statm
    echo "$rank $resident"
done >> memory.txt
"""
STEPS, EVERY, WARM_UP = 1000, 50, 400
# For each step, bytes. The heap still grows by some hundreds after the start, where nothing is left behind; what ranks
# hand each other in a step is several thousand.
GROWTH = 1500.0


@needs_mpi4py
@pytest.mark.thorough
def test_memory_does_not_grow(collection: KimCollection, own_folder: Path) -> None:
    """Atoms drift from rank to rank, and which rows there are is found out anew in every fifth step."""
    (own_folder / "measure.sh").write_text(MEASURE)
    drifting = NVE.format(steps=0).removesuffix("run 0") + f'run {STEPS} every {EVERY} "shell bash measure.sh"'
    script = Script("long", tiny.EXCHANGED, orthogonal(crystal()), drifting, every=5, check=False, is_tilted=False)
    commands = script.write(own_folder).replace("dump frames all custom 1 ", "dump frames all custom 100 ")
    (own_folder / "in.lammps").write_text(commands)
    each = 'echo $$ > "$OMPI_COMM_WORLD_RANK.pid"; exec lmp -in in.lammps -nocite'
    done = subprocess.run(
        ["mpirun", "--oversubscribe", "-np", "2", "bash", "-c", each], cwd=own_folder,
        env=collection.environment | {"KIM_TORCHML_EDGES": "exchange"}, capture_output=True, text=True, timeout=600,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    frames = script.read(own_folder, FIRST)
    assert any((after.ranks != before.ranks).any() for before, after in pairwise(frames))
    rows = np.loadtxt(own_folder / "memory.txt")
    for rank in (0, 1):
        resident = 4096.0 * rows[rows[:, 0] == rank, 1]
        steps = EVERY * np.arange(1, len(resident) + 1)
        assert steps[-1] == STEPS
        measured = steps >= WARM_UP
        growth = np.polyfit(steps[measured], resident[measured], 1)[0]
        assert growth < GROWTH, (rank, growth, resident.tolist())
