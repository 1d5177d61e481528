# SPDX-License-Identifier: LGPL-2.1-or-later
"""One rank that fails ends all of them, with exit code 1 and one cause: LAMMPS alone would wait for it for ever."""

import re
import subprocess
import sys
from pathlib import Path

import bad_models as bad
import numpy as np
import pytest
from ase.build import bulk
from kim_collection import HERE, KimCollection, python_path
from lammps_host import Case, run_lammps
from tiny_models import EDGES, EXCHANGED

pytest.importorskip("mpi4py", reason="ranks agree through mpi4py, which is not installed here")
pytestmark = [pytest.mark.usefixtures("bad_models"), pytest.mark.every_system]

# A run that hangs fails the test. One that does not takes seconds.
PATIENCE = 120


def errors_in(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if re.match(r"\[kim-torchml.*\] error: ", line)]


def silicon():
    """Return atoms so far apart that the first of two ranks has none of the second's around its own."""
    atoms = bulk("Si", "diamond", a=5.431, cubic=True) * (4, 2, 2)
    atoms.pbc = (False, True, True)
    del atoms[(atoms.positions[:, 0] > 4.0) & (atoms.positions[:, 0] < 15.0)]
    return atoms


def _of_each_rank(commands: list[str]) -> str:
    """Return a script that runs another command on each rank; some versions of mpirun crash for several programs."""
    return "\n".join(
        f'if [ "$OMPI_COMM_WORLD_RANK" = {rank} ]; then {command}; fi' for rank, command in enumerate(commands)
    )


def run(
    collection: KimCollection, folder: Path, case: Case, ranks: list[dict[str, str]], **more: str
) -> subprocess.CompletedProcess[str]:
    """Run LAMMPS on ranks that have variables of their own."""
    (folder / "in.lammps").write_text(case.write(folder))
    own = [" ".join(f"export {name}={value};" for name, value in each.items()) for each in ranks]
    script = _of_each_rank([f"{each} exec lmp -in in.lammps -nocite" for each in own])
    words = ["mpirun", "--oversubscribe", "-np", str(len(ranks)), "bash", "-c", script]
    return subprocess.run(
        words, cwd=folder, env=collection.environment | {"KIM_TORCHML_QUIET": "1"} | more, capture_output=True,
        text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip


def of_two(model: str) -> Case:
    """Return a run of two ranks."""
    return Case("case", model, silicon(), processors="2 1 1", run="run 2")


def test_a_model_that_fails_on_one_rank(collection: KimCollection, own_folder: Path) -> None:
    done = run(collection, own_folder, of_two(bad.RAISES_FAR_AWAY), [{}, {}])
    assert done.returncode == 1, done.stderr
    (error,) = errors_in(done.stderr)
    assert error.startswith("[kim-torchml rank 1] error: the model in model.pt raised an error")
    assert "KIM_TORCHML_ON_ERROR" not in error
    assert "another rank has failed, and says why" in (own_folder / "kim.log").read_text()


@pytest.mark.parametrize("failing", [0, 1])
@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        (
            {"KIM_MODEL_EXECUTION_DEVICE": "abacus"},
            "`KIM_MODEL_EXECUTION_DEVICE` must be cpu, cuda or cuda:N, got 'abacus'",
        ),
        ({"KIM_TORCHML_EDGES": "knotted"}, "KIM_TORCHML_EDGES must be auto, staged, folded or exchange, got 'knotted'"),
    ],
    ids=["device", "edges"],
)
def test_a_model_that_one_rank_cannot_create(
    collection: KimCollection, own_folder: Path, variables: dict[str, str], sentence: str, failing: int
) -> None:
    ranks: list[dict[str, str]] = [{}, {}]
    ranks[failing] = variables
    done = run(collection, own_folder, of_two(EDGES), ranks)
    assert done.returncode == 1, done.stderr
    (error,) = errors_in(done.stderr)
    assert error.startswith(f"[kim-torchml rank {failing}] error: ")
    assert sentence in error


def test_a_rank_that_is_killed_ends_the_run(collection: KimCollection, own_folder: Path) -> None:
    commands = Case("case", EDGES, silicon(), processors="2 1 1", run="run 100000").write(own_folder)
    (own_folder / "in.lammps").write_text(commands)
    script = _of_each_rank(
        ["exec lmp -in in.lammps -nocite", "lmp -in in.lammps -nocite & sleep 20; kill -9 $!; wait $!"]
    )
    words = ["mpirun", "--oversubscribe", "-np", "2", "bash", "-c", script]
    done = subprocess.run(
        words,
        cwd=own_folder,
        env=collection.environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode != 0
    assert errors_in(done.stderr) == []


def partitions() -> list[Case]:
    """Return runs of different systems, which compute differently often."""
    made = []
    for number, steps in enumerate((3, 7)):
        atoms = bulk("Si", cubic=True, a=5.43 + 0.1 * number) * (2, 2, 2)
        atoms.rattle(0.1, seed=number)
        made.append(Case(f"part_{number}", EXCHANGED, atoms, run=f"fix 1 all nve\nrun {steps}"))
    return made


def test_partitions_do_not_wait_for_each_other(collection: KimCollection, own_folder: Path) -> None:
    for number, case in enumerate(partitions()):
        (own_folder / f"in.part_{number}").write_text(case.write(own_folder))
    (own_folder / "in.lammps").write_text("variable part world 0 1\ninclude in.part_${part}\n")
    words = ["mpirun", "--oversubscribe", "-np", "4", "lmp", "-partition", "2x2", "-in", "in.lammps", "-nocite"]
    done = subprocess.run(
        words,
        cwd=own_folder,
        env=collection.environment | {"KIM_TORCHML_EDGES": "exchange"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = [case.read(own_folder) for case in partitions()]
    for case, together in zip(partitions(), found, strict=True):
        alone = run_lammps(collection, own_folder, case.write(own_folder), KIM_TORCHML_EDGES="staged")
        assert alone.returncode == 0, alone.stderr
        expected = case.read(own_folder)
        assert together.energy == pytest.approx(expected.energy, rel=1e-12)
        np.testing.assert_allclose(together.forces, expected.forces, rtol=0, atol=1e-10)
        np.testing.assert_allclose(together.atom_energies, expected.atom_energies, rtol=1e-12)
        assert together.pressure == pytest.approx(expected.pressure, rel=1e-9)


# Each rank computes as often as its number says; the second argument is what all of them or one of them computes.
HOST = """
import sys
from mpi4py import MPI
from ase.build import bulk
from ase.calculators.kim import KIM

rank = MPI.COMM_WORLD.rank
times, failing = int(sys.argv[2]) + int(sys.argv[3]) * rank, sys.argv[4] == str(rank)
atoms = bulk("Si", cubic=True)
atoms.calc = KIM(sys.argv[1])
for _ in range(times):
    atoms.rattle(0.01, seed=1)
    if failing:
        atoms.positions[0] += 1000.0
    atoms.get_potential_energy()
print(f"rank {rank} has computed {times} times")
"""


def host(collection: KimCollection, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run two ranks of a host in Python."""
    environment = collection.environment | {"PYTHONPATH": python_path(HERE), "KIM_TORCHML_QUIET": "1"} | variables
    return subprocess.run(
        ["mpirun", "--oversubscribe", "-np", "2", sys.executable, "-c", HOST, *words],
        env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("model", [EDGES, EXCHANGED])
def test_independent_ranks_of_a_host_do_not_wait_for_each_other(collection: KimCollection, model: str) -> None:
    done = host(collection, model, "1", "3", "none")
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == ["rank 0 has computed 1 times", "rank 1 has computed 4 times"]


def test_ranks_of_a_host_fail_together_where_the_user_says_that_they_belong_together(collection: KimCollection) -> None:
    done = host(collection, bad.RAISES_FAR_AWAY, "2", "0", "1", KIM_TORCHML_COMMUNICATOR="world")
    assert done.returncode != 0
    assert "has computed" not in done.stdout
    (error,) = errors_in(done.stderr)
    assert error.startswith("[kim-torchml rank 1] error: the model in model.pt raised an error")
