# SPDX-License-Identifier: LGPL-2.1-or-later
"""KIM_TORCHML_DUMP and `kim-torchml replay`: a failure leaves a file, and the file fails again."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import ase.io
import bad_models as bad
import numpy as np
import pytest
import tiny_models as tiny
from configurations import crystal, mixed
from kim_collection import KimCollection, PortableModel
from kimpy_host import ENERGY, FORCES, PARTICLE_ENERGIES, KimpyModel
from lammps_host import Case, run_lammps
from replay_host import replay

pytestmark = pytest.mark.usefixtures("bad_models")

LINE = re.compile(
    r"\[kim-torchml(?: rank (\d+))?\] error: (.+); the configuration was saved in (.+?\.xyz), replay it with: (.+)"
)


@pytest.fixture
def folder(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where failures are saved: not there yet."""
    monkeypatch.setenv("KIM_TORCHML_DUMP", str(own_folder / "failures"))
    # This process may have saved its share.
    monkeypatch.setattr("kim_torchml.driver.failure_file._saved", 0, raising=True)
    return own_folder / "failures"


def failure_of(printed: str) -> tuple[str, Path, str]:
    """Return error, file and command of the one line that a failure has left on stderr."""
    (line,) = [line for line in printed.splitlines() if "kim-torchml" in line]
    match = LINE.fullmatch(line)
    assert match is not None, line
    return match.group(2), Path(match.group(3)), match.group(4)


def compute_and_fail(model: KimpyModel, *arguments, **options) -> None:
    with pytest.raises(RuntimeError):
        model.compute(*arguments, **options)


def expect_same_failure(collection: KimCollection, path: Path, model: str, error: str) -> None:
    done = replay(collection, path, model, KIM_TORCHML_DUMP=str(path.parent))
    assert done.returncode == 1
    assert done.stderr == f"[kim-torchml] error: {error}\n"
    assert "the compute fails here too; the driver's line on stderr says why" in done.stdout
    assert [other.name for other in path.parent.iterdir()] == [path.name]


def test_lammps_at_a_later_step(collection: KimCollection, own_folder: Path) -> None:
    """Atoms that drift 0.5 Å a step, and a model that raises once one of them has come far enough: in step 4."""
    atoms = crystal(1)
    atoms.pbc = False
    atoms.positions += 5.0
    atoms.set_cell(np.diag([200.0, 50.0, 50.0]))
    atoms.positions[:, 0] += bad.FARTHEST - 1.75 - atoms.positions[:, 0].max()
    run = "velocity all set 500 0 0\nfix 1 all nve\ntimestep 0.001\nrun 100"
    case = Case("case", bad.RAISES_FAR_AWAY, atoms, run=run)
    done = run_lammps(
        collection, own_folder, case.write(own_folder), KIM_TORCHML_QUIET="1", KIM_TORCHML_DUMP="failures"
    )
    assert done.returncode == 1
    error, path, command = failure_of(done.stderr)
    assert "an atom has left" in error
    # KIM's log has it too.
    assert str(path) in (own_folder / "kim.log").read_text()
    assert path.parent == own_folder / "failures"
    saved = ase.io.read(path)
    # The first compute is that of step 0.
    assert saved.info["step"] == 5
    assert saved.info["error"] == error
    assert saved.get_chemical_symbols() == atoms.get_chemical_symbols()
    np.testing.assert_allclose(saved.positions, atoms.positions + np.array([2.0, 0.0, 0.0]), atol=1e-9)
    assert command == f"kim-torchml replay {path} {bad.RAISES_FAR_AWAY}"
    expect_same_failure(collection, path, bad.RAISES_FAR_AWAY, error)


def test_lammps_on_two_ranks(collection: KimCollection, own_folder: Path) -> None:
    case = Case("case", bad.RAISES_LATER, crystal())
    done = run_lammps(
        collection, own_folder, case.write(own_folder), 2, KIM_TORCHML_QUIET="1", KIM_TORCHML_DUMP="failures"
    )
    assert done.returncode == 1
    found = [LINE.fullmatch(line) for line in done.stderr.splitlines() if "kim-torchml" in line]
    assert found
    for match in found:
        assert f"-rank{match.group(1)}-pid" in match.group(3)
        contributing = ase.io.read(match.group(3)).arrays["contributing"]
        # Half of the atoms, and others' around them.
        assert 0 < contributing.sum() < 64 < len(contributing)
        assert ase.io.read(match.group(3)).info["ranks"] == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Bad_NaN", "must be finite, got NaN"),
        ("Bad_Infinite", "must be finite, got"),
        ("Bad_LaterShape", "got the shape [80, 3]"),
    ],
)
def test_failure_of_a_model(
    collection: KimCollection, folder: Path, name: str, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    particles = mixed()
    compute_and_fail(KimpyModel(name), particles)
    error, path, _ = failure_of(capfd.readouterr().err)
    assert message in error
    saved = ase.io.read(path)
    np.testing.assert_array_equal(saved.positions, particles.coordinates)
    np.testing.assert_array_equal(saved.arrays["contributing"], particles.contributing)
    np.testing.assert_array_equal(saved.arrays["species_code"], particles.codes)
    assert saved.info["requested"] == f"{ENERGY} {FORCES}"
    expect_same_failure(collection, path, name, error)


def test_failure_of_a_model_without_forces(
    collection: KimCollection,
    install_models: Callable[[list[PortableModel]], None],
    folder: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KIM_TORCHML_QUIET", "0")
    name = "Bad_DetachedRaises"
    install_models([tiny.raw(name, bad.DetachedRaisesLater())])
    model = KimpyModel(name)
    assert "so it supports no forces" in capfd.readouterr().err
    compute_and_fail(model, mixed(), (ENERGY,))
    error, path, _ = failure_of(capfd.readouterr().err)
    assert "too many particles" in error
    done = replay(collection, path, name)
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert "too many particles" in done.stderr
    atoms = ase.io.read(path)[:8]
    ase.io.write(path, atoms, format="extxyz")
    done = replay(collection, path, name)
    assert done.returncode == 0, done.stderr
    assert "energy" in done.stdout
    assert "largest force" not in done.stdout


def test_coordinates_that_the_shim_refuses(
    collection: KimCollection, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    particles = mixed()
    coordinates = particles.coordinates.copy()
    coordinates[7, 1] = np.nan
    model = KimpyModel(tiny.GRAPH_2)
    model.compute(particles)
    blown_up = replace(particles, coordinates=coordinates)
    compute_and_fail(model, blown_up, neighbours=lambda *_: (np.zeros(0, dtype=np.int32), 0))
    error, path, _ = failure_of(capfd.readouterr().err)
    assert error.startswith("`coordinates` must be finite, got nan for particle 7; ")
    saved = ase.io.read(path)
    np.testing.assert_array_equal(saved.positions, coordinates)
    assert saved.info["step"] == 2
    expect_same_failure(collection, path, tiny.GRAPH_2, error)


def test_species_code_that_the_shim_refuses(
    collection: KimCollection, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    particles = mixed()
    codes = particles.codes.copy()
    codes[7] = 5
    compute_and_fail(KimpyModel(tiny.RAW), replace(particles, codes=codes))
    error, path, _ = failure_of(capfd.readouterr().err)
    assert "got 5 for particle 7" in error
    assert ase.io.read(path).get_chemical_symbols()[7] == "X"
    expect_same_failure(collection, path, tiny.RAW, error)


def test_failure_of_the_simulator_is_not_one_here(
    collection: KimCollection, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Replay makes neighbour lists of its own; its results are the model's."""
    particles = mixed()
    model = KimpyModel(tiny.GRAPH_2)
    compute_and_fail(model, particles, neighbours=lambda *_: (np.zeros(0, dtype=np.int32), 1))
    _, path, _ = failure_of(capfd.readouterr().err)
    energy, forces, energies = model.compute(particles, (ENERGY, FORCES, PARTICLE_ENERGIES))
    done = replay(collection, path, tiny.GRAPH_2, KIM_MODEL_EXECUTION_DEVICE="cpu")
    assert done.returncode == 0
    assert done.stderr == ""
    assert re.search(rf"^energy +{energy[0]:.10g} eV$", done.stdout, re.MULTILINE)
    sizes = np.linalg.norm(forces, axis=1)
    particle = sizes.argmax()
    assert re.search(
        rf"^largest force +{sizes[particle]:.6g} eV/Å, on particle {particle} \(", done.stdout, re.MULTILINE
    )
    lowest = energies[particles.contributing == 1].min()
    assert re.search(rf"^lowest energy +{lowest:.6g} eV, of particle", done.stdout, re.MULTILINE)
    assert "the compute succeeds here" in done.stdout
    assert re.search(r"^set then +nothing\nset here +KIM_MODEL_EXECUTION_DEVICE=cpu$", done.stdout, re.MULTILINE)


@pytest.fixture(scope="module")
def negative_model(collection: KimCollection, install_models: Callable[[list[PortableModel]], None]) -> str:
    """Name of a model that fails once its parameter is negative."""
    del collection
    install_models([tiny.raw("Bad_RaisesIfNegative", bad.RaisesIfNegative())])
    return "Bad_RaisesIfNegative"


@pytest.fixture
def saved_with_parameters(negative_model: str, folder: Path, capfd: pytest.CaptureFixture[str]) -> tuple[str, Path]:
    """Error and file of that model, whose parameter was set to -0.5 through KIM."""
    model = KimpyModel(negative_model)
    model.compute(mixed())
    # The first one is the number of elements.
    model.model.set_parameter(1, 0, -0.5)
    model.model.clear_then_refresh()
    compute_and_fail(model, mixed())
    error, path, _ = failure_of(capfd.readouterr().err)
    assert "the scale is -0.5" in error
    assert ase.io.read(path).info["parameters"] == '{"scale": [-0.5]}'
    return error, path


def test_parameters_are_restored(collection: KimCollection, saved_with_parameters: tuple[str, Path]) -> None:
    error, path = saved_with_parameters
    expect_same_failure(collection, path, "Bad_RaisesIfNegative", error)
    done = replay(collection, path, "Bad_RaisesIfNegative")
    assert re.search(r"^parameters +scale: set as the simulator had set them$", done.stdout, re.MULTILINE)
    # Without them it does not fail.
    path.write_text(path.read_text().replace("parameters=", "others="))
    done = replay(collection, path, "Bad_RaisesIfNegative")
    assert done.returncode == 0, done.stderr
    assert "set as the simulator had set them" not in done.stdout


def test_replay_with_another_model(collection: KimCollection, saved_with_parameters: tuple[str, Path]) -> None:
    _, path = saved_with_parameters
    done = replay(collection, path, tiny.RAW)
    assert done.returncode == 0, done.stderr
    assert (
        f"this was saved by Bad_RaisesIfNegative, but is replayed with {tiny.RAW}; nor are its parameters scale set, "
        "which the simulator had set"
    ) in " ".join(done.stdout.split())
    path.write_text(path.read_text().replace("parameters=", "others="))
    done = replay(collection, path, tiny.RAW)
    assert f"replayed with {tiny.RAW} its error" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("scale", "gone", "the model Bad_RaisesIfNegative must have the parameter `gone` with 1 values, which was set"),
        ("[-0.5]", "[1, 2]", "must have the parameter `scale` with 2 values, which was set when this was saved, got 1"),
        ("[-0.5]", "[NaN]", "must take the values of the parameter `scale` that were set when this was saved, got a"),
        ("scale", "n_elements", "must take the values of the parameter `n_elements` that were set when this was saved"),
        ("[-0.5]", "7", "must be JSON, lists of numbers by name, got something else; use a file that the driver saved"),
        ("-0.5", "true of", "must be JSON, lists of numbers by name, got something else"),
    ],
)
def test_parameters_that_cannot_be_restored(
    collection: KimCollection, saved_with_parameters: tuple[str, Path], old: str, new: str, message: str
) -> None:
    _, path = saved_with_parameters
    first, second, *rows = path.read_text().splitlines(keepends=True)
    before, parameters, after = second.partition("parameters=")
    path.write_text("".join([first, before, parameters, after.replace(old, new, 1), *rows]))
    done = replay(collection, path, "Bad_RaisesIfNegative")
    assert done.returncode == 1
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_loop_of_failures_does_not_fill_the_disk(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = KimpyModel("Bad_NaN")
    for _ in range(7):
        compute_and_fail(model, mixed())
    assert len(list(folder.iterdir())) == 5
    lines = [line for line in capfd.readouterr().err.splitlines() if "must be finite" in line]
    assert len(lines) == 7
    assert ["was saved in" in line for line in lines] == [True] * 5 + [False] * 2


def test_folder_that_cannot_be_written(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (own_folder / "file").touch()
    monkeypatch.setenv("KIM_TORCHML_DUMP", str(own_folder / "file"))
    compute_and_fail(KimpyModel("Bad_NaN"), mixed())
    first, second = capfd.readouterr().err.splitlines()
    assert "must be finite, got NaN" in first
    assert "saved" not in first
    assert second.startswith("[kim-torchml] error: the configuration could not be saved in ")


def test_no_particles_and_no_folder(own_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Without the variable, nothing is written anywhere."""
    compute_and_fail(KimpyModel("Bad_NaN"), mixed())
    assert "saved" not in capfd.readouterr().err
    assert [path.name for path in own_folder.iterdir()] == ["kim.log"]


def test_number_of_particles_that_cannot_be(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    compute_and_fail(KimpyModel(tiny.RAW), mixed(), claimed_n=-3)
    assert capfd.readouterr().err.endswith("`numberOfParticles` must not be negative, got -3\n")
    assert not folder.exists()
