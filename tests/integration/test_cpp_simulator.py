# SPDX-License-Identifier: LGPL-2.1-or-later
"""A host that is neither Python nor LAMMPS: the driver starts Python itself, and leaves the process as it was."""

import json
import os
import signal
import subprocess
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import tiny_models as tiny
from configurations import Configuration, mixed
from kim_collection import KimCollection
from kimpy_host import ENERGY, FORCES, PARTICLE_ENERGIES, PARTICLE_VIRIALS, VIRIAL, KimpyModel

FILE = "particles.txt"
OPTIONAL = {"particle_energies": PARTICLE_ENERGIES, "virial": VIRIAL, "particle_virials": PARTICLE_VIRIALS}


class Simulator:
    """Runs the C++ simulator in a folder that holds a configuration."""

    def __init__(self, program: Path, collection: KimCollection, folder: Path) -> None:
        self.program = program
        self.environment = collection.environment
        self.folder = folder
        mixed().write(folder / FILE)

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.program), *arguments],
            cwd=self.folder,
            env=self.environment | variables,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def lines(self, *arguments: str, **variables: str) -> list[dict]:
        """Run the simulator with the driver's announcements off; it must succeed and print nothing but JSON."""
        done = self.run(*arguments, KIM_TORCHML_QUIET="1", **variables)
        assert (done.returncode, done.stderr) == (0, "")
        return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def host(simulator: Path, collection: KimCollection, own_folder: Path) -> Simulator:
    return Simulator(simulator, collection, own_folder)


def assert_as_from_kimpy(found: dict, name: str, particles: Configuration) -> None:
    model = KimpyModel(name)
    energy, forces = model.compute(particles, (ENERGY, FORCES))
    assert found["energy"] == pytest.approx(energy[0], rel=1e-12)
    np.testing.assert_allclose(np.reshape(found["forces"], (-1, 3)), forces, rtol=0, atol=1e-12)
    for key, name in OPTIONAL.items():
        if model.supports(name):
            (values,) = model.compute(particles, (name,))
            np.testing.assert_allclose(np.reshape(found[key], values.shape), values, rtol=0, atol=1e-12, err_msg=key)
        else:
            assert found[key] is None


@pytest.mark.every_system
@pytest.mark.parametrize("name", [tiny.RAW_FORCES, tiny.GRAPH_TOTAL, tiny.DESCRIPTOR])
def test_one_model(host: Simulator, name: str) -> None:
    (found,) = host.lines("compute", name, FILE)
    assert_as_from_kimpy(found, name, mixed())


def test_two_models_in_turn(host: Simulator) -> None:
    names = [tiny.GRAPH_3, tiny.RAW]
    found = host.lines("two", *names, FILE)
    assert len(found) == 4
    for line, name in zip(found, names * 2, strict=True):
        assert_as_from_kimpy(line, name, mixed())


def test_threads_with_arguments_of_their_own(host: Simulator) -> None:
    found = host.lines("threads", tiny.GRAPH_3, FILE, "20")
    assert len(found) == 4
    (alone,) = host.lines("compute", tiny.GRAPH_3, FILE)
    for line in found:
        assert_as_from_kimpy(line, tiny.GRAPH_3, mixed())
        # The results agree to the last digit. `requests` differs, as it counts the requests for lists.
        assert line | {"requests": None} == alone | {"requests": None}


@pytest.fixture
def python_library() -> str:
    """Return libpython, to be preloaded: then the host looks like LAMMPS, which may finalise Python itself."""
    path = Path(sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("INSTSONAME") or "")
    found = [path, path.parent / sysconfig.get_config_var("MULTIARCH") / path.name]
    libraries = [str(path) for path in found if path.is_file() and ".so" in path.name]
    if not libraries:
        pytest.skip("this Python is a static executable: no library to preload")
    return libraries[0]


@pytest.mark.every_system
def test_models_that_come_and_go_in_threads(host: Simulator, python_library: str) -> None:
    """They work whether or not the host has Python's library."""
    for variables in ({}, {"LD_PRELOAD": python_library}):
        (found,) = host.lines("workers", tiny.GRAPH_2, FILE, "10", **variables)
        assert_as_from_kimpy(found, tiny.GRAPH_2, mixed())


@pytest.mark.every_system
def test_thread_that_comes_after_the_main_threads_last_model(host: Simulator, python_library: str) -> None:
    """The thread works. Where the host may finalise Python, it cannot work, and gets an error rather than a hang."""
    assert len(host.lines("after", tiny.GRAPH_2, FILE)) == 2
    done = host.run("after", tiny.GRAPH_2, FILE, LD_PRELOAD=python_library, KIM_TORCHML_QUIET="1")
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr.startswith("[kim-torchml] error: the simulator has destroyed its last model in its main thread")
    assert "keep one model until the end" in done.stderr


@pytest.mark.parametrize(("name", "stages"), [(tiny.RAW, 1), (tiny.GRAPH_3, 3)])
def test_lists_are_asked_for_once_and_only_where_needed(host: Simulator, name: str, stages: int) -> None:
    """A model of L layers needs the lists of particles that are at most L - 1 steps of one cutoff away."""
    (found,) = host.lines("compute", name, FILE)
    particles = mixed()
    assert (found["cutoff"], found["influence_distance"]) == (tiny.CUTOFF, pytest.approx(stages * tiny.CUTOFF))
    assert found["asks_for_lists_of_noncontributing"] == (stages > 1)
    distances = np.linalg.norm(particles.coordinates[:, None] - particles.coordinates[None, :], axis=2)
    adjacent = distances <= tiny.CUTOFF
    needed = particles.contributing == 1
    for _ in range(stages - 1):
        needed = needed | adjacent[needed].any(axis=0)
    np.testing.assert_array_equal(found["requests"], needed.astype(int))
    assert stages == 1 or needed.sum() > particles.contributing.sum()


def test_says_one_line_and_ends_well(host: Simulator) -> None:
    done = host.run("two", tiny.GRAPH_2, tiny.RAW, FILE)
    assert done.returncode == 0
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("[kim-torchml] driver ")
    assert len(done.stdout.splitlines()) == 4


def test_model_that_prints_does_so_on_stderr(host: Simulator) -> None:
    done = host.run("compute", tiny.RAW_PRINTS, FILE, KIM_TORCHML_QUIET="1")
    assert done.returncode == 0
    # The driver calls a model for small configurations before the first compute.
    *probes, last = done.stderr.splitlines()
    assert {"the model says 5"} <= set(probes) <= {"the model says 5", "the model says 7"}
    assert last == "the model says 40"
    (found,) = map(json.loads, done.stdout.splitlines())
    assert_as_from_kimpy(found, tiny.RAW, mixed())


@pytest.mark.every_system
def test_leaves_the_process_as_it_was(host: Simulator) -> None:
    """Locale, directory, floating-point mode, umask and signal handlers stay, though LANG asks for another locale."""
    before, while_it_lives, afterwards = host.lines("state", tiny.GRAPH_2, FILE, LANG="C.UTF-8", PYTHONUTF8="0")
    assert while_it_lives == before
    assert afterwards == before


@pytest.mark.every_system
def test_interrupt_ends_it_while_it_computes(host: Simulator) -> None:
    with subprocess.Popen(
        [str(host.program), "run", tiny.GRAPH_2, FILE, "10000000", "0"],
        cwd=host.folder,
        env=host.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, printed = process.communicate(timeout=10)
    assert process.returncode == -signal.SIGINT
    assert len(printed.splitlines()) == 1


def test_working_directory_is_not_searched_for_python_code(host: Simulator) -> None:
    """It is left out whether PYTHONPATH names it by an empty item or by its path, and also while Python starts."""
    caught = host.folder / "caught"
    for module in ("torch", "numpy", "kim_torchml", "sitecustomize", "usercustomize", "encodings", "warnings"):
        (host.folder / f"{module}.py").write_text(f"open({str(caught)!r}, 'a').write('{module} ')\n")
    for path in (":", f".:{host.folder}:/usr/share::{host.folder}/../{host.folder.name}"):
        (found,) = host.lines("compute", tiny.RAW, FILE, PYTHONPATH=path)
        assert not caught.exists(), caught.read_text()
    assert_as_from_kimpy(found, tiny.RAW, mixed())


def test_rest_of_pythonpath_is_kept(host: Simulator, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "sitecustomize.py").write_text("import sys\nprint('elsewhere', file=sys.stderr)\n")
    done = host.run("compute", tiny.RAW, FILE, PYTHONPATH=f":{elsewhere}", KIM_TORCHML_QUIET="1")
    assert (done.returncode, done.stderr) == (0, "elsewhere\n")


@pytest.mark.every_system
def test_python_that_is_not_there(host: Simulator) -> None:
    done = host.run("compute", tiny.RAW, FILE, KIM_TORCHML_PYTHON="/nonexistent/bin/python3")
    assert done.returncode == 1
    error, simulators_own = done.stderr.splitlines()
    assert error.startswith(
        "[kim-torchml] error: KIM_TORCHML_PYTHON must name a Python that can be run, got '/nonexistent/bin/python3'; "
    )
    assert simulators_own == "simulator: KIM Model::Create returned an error"


@pytest.mark.every_system
def test_environment_without_torch(host: Simulator, bare_python: Path) -> None:
    done = host.run("compute", tiny.RAW, FILE, KIM_TORCHML_PYTHON=str(bare_python))
    assert done.returncode == 1
    error = done.stderr.splitlines()[0]
    assert "torch cannot be imported (No module named 'torch')" in error
    assert str(bare_python.parents[1]) in error
    assert "KIM_TORCHML_PYTHON" in error


def test_rank_is_named_in_messages(host: Simulator) -> None:
    done = host.run("compute", "No_Such_Model", FILE, PMI_RANK="3")
    assert done.returncode == 1
    done = host.run("compute", tiny.RAW, FILE, PMI_RANK="3", MPI_LOCALRANKID="1", MPI_LOCALNRANKS="2")
    assert done.returncode == 0
    assert done.stderr.startswith("[kim-torchml rank 3] driver ")


def test_threads_of_torch(host: Simulator) -> None:
    """torch uses at most OMP_NUM_THREADS threads and at least one; KIM_TORCHML_THREADS overrides that."""
    cores = len(os.sched_getaffinity(0))
    for variables, expected in (
        ({"OMP_NUM_THREADS": "1"}, 1),
        ({"OMP_NUM_THREADS": ""}, cores),
        ({"OMP_NUM_THREADS": "", "PMI_RANK": "0", "MPI_LOCALRANKID": "0", "MPI_LOCALNRANKS": "1000"}, 1),
        ({"OMP_NUM_THREADS": "1", "KIM_TORCHML_THREADS": "3"}, 3),
    ):
        done = host.run("compute", tiny.RAW, FILE, **variables)
        assert f" {expected} CPU thread" in done.stderr
