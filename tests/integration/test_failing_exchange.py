# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where one of the ranks that exchange features fails, wherever that is, all end, and one says why."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import failing_networks as failing
import pytest
import tiny_models as tiny
from configurations import crystal, of_atoms
from kim_collection import HERE, KimCollection, PortableModel, python_path
from kimpy_host import KimpyModel, energy
from lammps_host import Case
from replay_host import replay
from test_failing_ranks import PATIENCE, errors_in, run

pytest.importorskip("mpi4py", reason="ranks exchange features through mpi4py, which is not installed here")

REACH = 3.5  # Å, as in ranks_host.py
RAISED = "the model in model.pt raised an error: .*"
NO_MEMORY = "the memory of cpu must hold the model in model.pt and .* particles, got: .*allocate"


@pytest.fixture(scope="module", autouse=True)
def failing_models(collection: KimCollection, install_models: Callable[[list[PortableModel]], None]) -> None:
    """Install the networks that fail."""
    install_models(failing.failing_models())


def end(collection: KimCollection, folder: Path, case: Case, ranks: list[dict[str, str]]) -> tuple[int, str]:
    """Return which rank says why a run has ended, and what it says; it is one line of one rank."""
    done = run(collection, folder, case, ranks, KIM_TORCHML_EDGES="exchange")
    assert done.returncode == 1, done.stdout + done.stderr
    (error,) = errors_in(done.stderr)
    words = error.removeprefix("[kim-torchml rank ")
    return int(words[0]), words[1:].removeprefix("] error: ")


def of_two(model: str, commands: str = "run 2") -> Case:
    """Return a crystal whose germanium is on the second of two ranks."""
    return Case("case", model, failing.half_germanium(), processors="2 1 1", run=commands)


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (failing.RAISES_BEFORE, RAISED + "before all exchanges"),
        (failing.RAISES_BETWEEN, RAISED + "between two exchanges"),
        (failing.RAISES_AFTER, RAISED + "after all exchanges"),
        (failing.NEEDS_MEMORY, NO_MEMORY),
        (failing.NEEDS_MEMORY_BACKWARDS, NO_MEMORY),
    ],
)
def test_a_model_that_fails_on_one_rank(collection: KimCollection, own_folder: Path, model: str, sentence: str) -> None:
    rank, error = end(collection, own_folder, of_two(model), [{}, {}])
    assert rank == 1
    assert re.match(sentence, error)


@pytest.mark.parametrize(("way", "depth"), [("exchange", 2.9), ("staged", 8.7)])
def test_what_a_rank_has_saved(collection: KimCollection, own_folder: Path, way: str, depth: float) -> None:
    """A rank that needs what others compute cannot be replayed; one that does not is replayed in the same way."""
    case, folder = of_two(failing.RAISES_BETWEEN), own_folder / "failures"
    done = run(collection, own_folder, case, [{}, {}], KIM_TORCHML_EDGES=way, KIM_TORCHML_DUMP=str(folder))
    assert done.returncode == 1
    (path,) = folder.iterdir()
    replayed = replay(collection, path, failing.RAISES_BETWEEN)
    assert replayed.returncode == 1
    said = " ".join(replayed.stdout.split())
    assert "saved by one of 2 that were started together; its particles are computed here alone" in said
    if way == "staged":
        assert "between two exchanges" in replayed.stderr
        return
    assert replayed.stderr.startswith("Error: the configuration must have all particles within 8.7 Å of contributing ")
    assert f"got a file that was saved with {depth} Å; its rank had what is farther away from others" in replayed.stderr


@pytest.mark.parametrize("model", [failing.NOT_A_NUMBER, failing.INFINITE_FORCES])
def test_numbers_that_spread_to_other_ranks(collection: KimCollection, own_folder: Path, model: str) -> None:
    """Both ranks have forces that are no numbers: the first says so."""
    rank, error = end(collection, own_folder, of_two(model), [{}, {}])
    assert rank == 0
    assert error.startswith("the forces of the model in model.pt must be finite, got NaN for particle ")


def test_ranks_without_particles_end_too(collection: KimCollection, own_folder: Path) -> None:
    """Two of four ranks have none, and take no part in exchanges."""
    atoms = failing.half_germanium()
    atoms.positions[:, 0] += 0.5
    atoms.cell[0, 0] *= 2.0
    atoms.pbc = (False, True, True)
    case = Case("case", failing.RAISES_BETWEEN, atoms, processors="4 1 1", run="run 2")
    rank, error = end(collection, own_folder, case, [{}, {}, {}, {}])
    assert rank == 1
    assert "between two exchanges" in error


# An atom in the middle of the second rank leaves at once, and at no finite speed.
BLOWN_UP = """\
neigh_modify every 1000 delay 1000 check no
run 1
region middle sphere 16.3 5.4 5.4 1.6
group one region middle
fix nve all nve
velocity one set 1e308 0 0
timestep 1000
run 3"""


def test_coordinates_of_one_rank(collection: KimCollection, own_folder: Path) -> None:
    rank, error = end(collection, own_folder, of_two(tiny.EXCHANGED, BLOWN_UP), [{}, {}])
    assert rank == 1
    assert error.startswith("`coordinates` must be finite, got inf for particle ")


# LAMMPS asks each rank for the value of a variable of its environment.
# What it takes for a number may be infinite.
BAD_PARAMETER = "variable scale getenv SCALE\nkim param set scale 1 ${scale}\nrun 2"


@pytest.mark.parametrize("bad", [0, 1])
def test_parameters_of_one_rank(collection: KimCollection, own_folder: Path, bad: int) -> None:
    ranks = [{"SCALE": "1e999" if rank == bad else "1.5"} for rank in (0, 1)]
    rank, error = end(collection, own_folder, of_two(failing.SCALED, BAD_PARAMETER), ranks)
    assert rank == bad
    assert error.startswith("the parameter `scale` must be finite numbers that fit torch.float64, got inf at index 0")


def with_another_model(collection: KimCollection, folder: Path, model: PortableModel) -> list[dict[str, str]]:
    """Return variables of two ranks, of which the second has another model of the same name."""
    other = KimCollection(folder / "other")
    build = folder / "build"
    build.mkdir()
    other.drivers.rmdir()
    other.drivers.symlink_to(collection.drivers)
    other.install_models([model], build)
    name = "KIM_API_CONFIGURATION_FILE"
    return [{}, {name: other.environment[name]}]


def test_a_model_that_fails_the_probe_on_one_rank(collection: KimCollection, own_folder: Path) -> None:
    ranks = with_another_model(collection, own_folder, failing.twin(failing.Forgetful()))
    rank, error = end(collection, own_folder, of_two(tiny.EXCHANGED), ranks)
    assert rank == 1
    assert error.startswith("the model in model.pt must give the same where rows are copies that ")


def test_a_model_that_exchanges_less_often_on_one_rank(collection: KimCollection, own_folder: Path) -> None:
    ranks = with_another_model(collection, own_folder, failing.twin(failing.Fewer()))
    rank, error = end(collection, own_folder, of_two(tiny.EXCHANGED), ranks)
    assert rank == 0
    assert error.startswith(
        "all ranks must compute model.pt in one way, got others on rank 1 than on the first; install "
    )


def test_a_model_of_other_weights_on_one_rank(collection: KimCollection, own_folder: Path) -> None:
    ranks = with_another_model(collection, own_folder, failing.twin_with_other_weights())
    rank, error = end(collection, own_folder, of_two(tiny.EXCHANGED), ranks)
    assert rank == 0
    assert error.startswith("all ranks must have the same model.pt, got another on rank 1 than on the first; install ")


def test_a_model_that_cannot_be_opened_on_one_rank(collection: KimCollection, own_folder: Path) -> None:
    ranks = with_another_model(collection, own_folder, failing.twin_of_strange_species())
    rank, error = end(collection, own_folder, of_two(tiny.EXCHANGED), ranks)
    assert rank == 1
    assert error.startswith("`species` in [model] must be symbols of chemical elements")


def test_ranks_of_other_settings(collection: KimCollection, own_folder: Path) -> None:
    done = run(collection, own_folder, of_two(tiny.EXCHANGED), [{}, {"KIM_TORCHML_EDGES": "staged"}])
    assert done.returncode == 1, done.stdout + done.stderr
    (error,) = errors_in(done.stderr)
    assert error.startswith("[kim-torchml rank 0] error: all ranks must compute model.pt in one way, got others on ran")


STEPS = {
    "species": "`particleSpeciesCodes` must be codes from 0 to 1, got 7 for particle 3; ",
    "coordinates": "`coordinates` must be finite, got nan for particle 3; ",
    "neighbours": "the simulator failed to give the neighbour list of particle ",
    "neighbours of another list": "the simulator failed to give the neighbour list of particle ",
    # An image of no particle: all ranks find that out, and the first says so.
    "owners": "particle ",
    "bad scale": "the parameter `scale` must be finite numbers that fit torch.float64, got nan at index 0; ",
}


def test_a_host_that_goes_on_after_a_failure(collection: KimCollection) -> None:
    """Whatever has failed on the second rank, the next step gives what the first one gave."""
    steps = ["first", *(word for each in STEPS for word in (each, f"after {each}")), "scale"]
    environment = collection.environment | {"PYTHONPATH": python_path(HERE), "KIM_TORCHML_QUIET": "1"}
    environment |= {"KIM_TORCHML_COMMUNICATOR": "world", "KIM_TORCHML_EDGES": "exchange"}
    host = HERE / "ranks_host.py"
    done = subprocess.run(
        ["mpirun", "--oversubscribe", "-np", "2", sys.executable, str(host), failing.SCALED, *steps],
        env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    errors = errors_in(done.stderr)
    assert len(errors) == len(STEPS)
    for error, sentence in zip(errors, STEPS.values(), strict=True):
        says_it = 0 if sentence is STEPS["owners"] else 1
        assert error.startswith(f"[kim-torchml rank {says_it}] error: {sentence}")
    first, second = map(json.loads, done.stdout.splitlines())
    expected = energy(KimpyModel(tiny.EXCHANGED), of_atoms(crystal(), REACH, by_translation=True))
    for step, one, other in zip(steps, first, second, strict=True):
        # kimpy raises nothing where a Refresh fails: all ranks have the value that they had.
        if step in STEPS and step != "bad scale":
            assert (one, other) == ("has failed", "has failed"), step
        else:
            assert one + other == pytest.approx(expected * (2.0 if step == "scale" else 1.0), rel=1e-12), step
