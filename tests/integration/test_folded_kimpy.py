# SPDX-License-Identifier: LGPL-2.1-or-later
"""Folded images through kimpy: what is chosen when a model is created, KIM's outputs, and refusals in mid-run."""

import itertools
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pytest
import tiny_models as tiny
from configurations import Configuration, crystal, of_atoms
from kim_collection import KimCollection
from kimpy_host import ENERGY, FORCES, PARTICLE_ENERGIES, PARTICLE_VIRIALS, VIRIAL, KimpyModel, computed_together
from replay_host import replay

pytestmark = [pytest.mark.every_system, pytest.mark.usefixtures("collection")]

EVERYTHING = (ENERGY, FORCES, PARTICLE_ENERGIES, VIRIAL, PARTICLE_VIRIALS)
LINE = re.compile(r"\[kim-torchml\] error: (.+); the configuration was saved in (.+?\.xyz), replay it with: .+")
# Far enough for the staged model too.
REACH = 3 * tiny.CUTOFF

Create = Callable[..., KimpyModel]


@pytest.fixture
def create(monkeypatch: pytest.MonkeyPatch) -> Create:
    """Creates a model as KIM_TORCHML_EDGES says; None leaves it unset."""

    def function(word: str | None, name: str = tiny.EDGES_3, **options) -> KimpyModel:
        if word is None:
            monkeypatch.delenv("KIM_TORCHML_EDGES", raising=False)
        else:
            monkeypatch.setenv("KIM_TORCHML_EDGES", word)
        return KimpyModel(name, **options)

    return function


def by_translation(seed: int = 1) -> Configuration:
    """Return a crystal and its images as simulators list them."""
    return of_atoms(crystal(seed=seed), REACH, by_translation=True)


def interleaved(seed: int = 1) -> Configuration:
    """Return a crystal and its images in any order."""
    particles = of_atoms(crystal(seed=seed), REACH)
    return particles.reordered(np.random.default_rng(seed).permutation(len(particles)))


@pytest.mark.parametrize(
    ("word", "cutoffs"), [(None, 1), ("auto", 1), ("AUTO", 1), (" folded", 1), ("", 1), ("staged", 3)]
)
def test_influence_distance(create: Create, word: str | None, cutoffs: int) -> None:
    """Folded, the simulator's halo is one cutoff deep, and no neighbours of images are asked for."""
    model = create(word)
    assert model.model.get_influence_distance() == pytest.approx(cutoffs * tiny.CUTOFF, rel=1e-15)
    _, will_not_request = model.model.get_neighbor_list_cutoffs_and_hints()
    assert list(will_not_request) == [int(cutoffs == 1)]


@pytest.mark.parametrize("name", [tiny.EDGES_1, tiny.EDGES, tiny.GRAPH_1, tiny.RAW])
def test_models_that_have_nothing_to_fold(create: Create, name: str) -> None:
    particles = interleaved()
    model = create("folded", name)
    assert model.model.get_influence_distance() == pytest.approx(tiny.CUTOFF, rel=1e-15)
    for ours, theirs in zip(model.compute(particles), create("staged", name).compute(particles), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_graph_models_stay_as_they_are(create: Create) -> None:
    """Their files have a set of edges for each layer."""
    assert create("folded", tiny.GRAPH_3).model.get_influence_distance() == pytest.approx(3 * tiny.CUTOFF)


def test_another_word_is_refused(create: Create, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError):
        create("fold")
    assert re.search(
        r"error: the environment variable KIM_TORCHML_EDGES must be auto, staged, folded or exchange, got 'fold'; "
        "correct or unset it",
        capfd.readouterr().err,
    )


@pytest.mark.parametrize("variables", [{"SIZE": "2", "LOCAL_SIZE": "2"}, {"SIZE": "2", "LOCAL_SIZE": "1"}])
def test_one_of_several_ranks(
    create: Create, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], variables: dict[str, str]
) -> None:
    """The launcher's environment tells how many processes there are before there is a communicator."""
    for name, value in ({"RANK": "0", "LOCAL_RANK": "0"} | variables).items():
        monkeypatch.setenv(f"OMPI_COMM_WORLD_{name}", value)
    assert create(None).model.get_influence_distance() == pytest.approx(3 * tiny.CUTOFF)
    with pytest.raises(RuntimeError):
        create("folded")
    assert (
        "error: the environment variable KIM_TORCHML_EDGES must be auto, exchange or staged where several processes "
        "share the system, got 'folded' in one of 2 processes; unset it, or run one process" in capfd.readouterr().err
    )


@pytest.mark.parametrize("make", [by_translation, interleaved])
def test_all_outputs_are_those_of_the_staged_model(create: Create, make: Callable[[], Configuration]) -> None:
    """Energies are those of owners. Forces and virials on images are other shares of the same total."""
    particles = make()
    found, expected = (create(way).compute(particles, EVERYTHING) for way in ("folded", "staged"))
    ours, theirs = (dict(zip(EVERYTHING, values, strict=True)) for values in (found, expected))
    assert ours[ENERGY][0] == pytest.approx(theirs[ENERGY][0], rel=1e-13)
    np.testing.assert_allclose(ours[PARTICLE_ENERGIES], theirs[PARTICLE_ENERGIES], rtol=0, atol=1e-13)
    size = np.abs(theirs[VIRIAL]).max()
    np.testing.assert_allclose(ours[VIRIAL], theirs[VIRIAL], rtol=0, atol=1e-12 * size)
    np.testing.assert_allclose(ours[PARTICLE_VIRIALS].sum(axis=0), ours[VIRIAL], rtol=0, atol=1e-12 * size)
    owner = owners(particles)
    for output in (FORCES, PARTICLE_VIRIALS):
        sums = [np.zeros((64, values[output].shape[1])) for values in (ours, theirs)]
        for total, values in zip(sums, (ours, theirs), strict=True):
            np.add.at(total, owner, values[output])
        np.testing.assert_allclose(sums[0], sums[1], rtol=0, atol=1e-11)
        assert np.abs(ours[output][particles.contributing == 0]).max() > 1e-3


def owners(particles: Configuration) -> np.ndarray:
    """Return which contributing particle each is an image of, counted among these, from the cell of the crystal."""
    cell = crystal().cell.array
    own = particles.coordinates[particles.contributing == 1]
    fractional = (particles.coordinates[:, None] - own[None, :]) @ np.linalg.inv(cell)
    return np.abs(fractional - np.rint(fractional)).max(axis=2).argmin(axis=1)


@pytest.mark.parametrize("make", [by_translation, interleaved])
def test_outputs_do_not_depend_on_what_else_is_asked_for(create: Create, make: Callable[[], Configuration]) -> None:
    model, particles = create("folded"), make()
    expected = dict(zip(EVERYTHING, model.compute(particles, EVERYTHING), strict=True))
    for asked in itertools.chain.from_iterable(itertools.combinations(EVERYTHING, n) for n in range(len(EVERYTHING))):
        for found, output in zip(model.compute(particles, asked, fill=7.0), asked, strict=True):
            np.testing.assert_array_equal(found, expected[output])


def test_forces_are_minus_the_gradient(create: Create) -> None:
    """An atom moves with its images, so the derivative is the sum of the forces on all of them."""
    model, particles = create("folded"), by_translation()
    owner = owners(particles)
    (forces,) = model.compute(particles, (FORCES,))
    for atom in (0, 17):
        for axis in range(3):
            energies = {}
            for k in (-2, -1, 1, 2):
                coordinates = particles.coordinates.copy()
                coordinates[owner == atom, axis] += k * 1e-4
                energies[k] = model.compute(replace(particles, coordinates=coordinates), (ENERGY,))[0][0]
            slope = (energies[-2] - 8.0 * energies[-1] + 8.0 * energies[1] - energies[2]) / (12.0 * 1e-4)
            assert forces[owner == atom, axis].sum() == pytest.approx(-slope, abs=1e-9)


@pytest.mark.parametrize(("length", "scale"), [("nm", 0.1), ("cm", 1e-8), ("Bohr", 1 / 0.52917721067)])
def test_other_units_of_length(create: Create, length: str, scale: float) -> None:
    """Coordinates in other units are rounded, images not as their owners are."""
    particles, outputs = by_translation(), (ENERGY, PARTICLE_ENERGIES)
    given = replace(particles, coordinates=particles.coordinates * scale)
    found, expected = (create(way, length=length, scale=scale).compute(given, outputs) for way in ("folded", "staged"))
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.parametrize("release_gil", [False, True])
def test_threads_with_arguments_of_their_own(create: Create, release_gil: bool) -> None:
    """Each has its own particles, and what is known of them."""
    model = create("folded")
    hosts = [model.with_own_arguments() for _ in range(4)]
    particles = [by_translation(seed) for seed in (1, 2, 3, 4)]
    expected = [KimpyModel(tiny.EDGES_3).compute(each) for each in particles]
    found = computed_together(hosts, particles, times=5, release_gil=release_gil)
    for many, once in zip(found, expected, strict=True):
        for values in many:
            for ours, theirs in zip(values, once, strict=True):
                np.testing.assert_array_equal(ours, theirs)


@pytest.fixture
def saved(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where failures are saved."""
    monkeypatch.setenv("KIM_TORCHML_DUMP", str(own_folder / "failures"))
    monkeypatch.setattr("kim_torchml.driver.failure_file._saved", 0, raising=True)
    return own_folder / "failures"


def near_image(particles: Configuration) -> int:
    """Return the image that is nearest to a contributing particle."""
    own = particles.coordinates[particles.contributing == 1]
    images = np.flatnonzero(particles.contributing == 0)
    distances = np.linalg.norm(particles.coordinates[images, None] - own[None, :], axis=2).min(axis=1)
    return int(images[distances.argmin()])


def image_moves(particles: Configuration, image: int) -> Configuration:
    return particles.moved(image, 1, 1e-3)


def image_changes_species(particles: Configuration, image: int) -> Configuration:
    codes = particles.codes.copy()
    codes[image] = 1 - codes[image]
    return replace(particles, codes=codes)


@pytest.mark.parametrize(
    ("make", "change"),
    [(by_translation, image_moves), (by_translation, image_changes_species), (interleaved, image_moves)],
)
def test_refusal_in_mid_run(
    collection: KimCollection,
    create: Create,
    saved: Path,
    capfd: pytest.CaptureFixture[str],
    make: Callable[[], Configuration],
    change: Callable[[Configuration, int], Configuration],
) -> None:
    """The error names the particle, what is saved is refused once more, and the run can go on.

    Where the list has no order, it takes the lattice of earlier computes to tell which image is wrong; a replay has
    none.
    """
    model, particles = create(None), make()
    image = near_image(particles)
    expected = model.compute(particles)
    with pytest.raises(RuntimeError):
        model.compute(change(particles, image))
    (line,) = capfd.readouterr().err.splitlines()
    match = LINE.fullmatch(line)
    assert match is not None, line
    error, path = match.group(1), Path(match.group(2))
    assert re.search(rf"\bparticle {image} at \(", error)
    assert "displace the atoms by 1e-3 Å at random, or set KIM_TORCHML_EDGES=staged" in error
    assert path.parent == saved
    assert ase.io.read(path).info["step"] == 2
    done = replay(collection, path, tiny.EDGES_3)
    assert done.returncode == 1
    if make is by_translation:
        assert done.stderr == f"[kim-torchml] error: {error}\n"
    else:
        assert re.fullmatch(r"\[kim-torchml\] error: particle \d+ at .* must be a periodic image .*\n", done.stderr)
    # With images as rows of their own there is nothing to refuse, but the simulator was told of one cutoff.
    done = replay(collection, path, tiny.EDGES_3, KIM_TORCHML_EDGES="staged")
    assert done.returncode == 1
    assert done.stderr == (
        f"Error: the configuration must have all particles within {3 * tiny.CUTOFF:g} Å of contributing ones, as "
        f"{tiny.EDGES_3} needs them here, got a file that was saved with {tiny.CUTOFF:g} Å; set "
        "KIM_TORCHML_EDGES=folded as then, or run the simulator again with the setting of now\n"
    )
    path.write_text(path.read_text().replace("influence_distance=", "other="))
    done = replay(collection, path, tiny.EDGES_3, KIM_TORCHML_EDGES="staged")
    assert (done.returncode, done.stderr) == (0, "")
    assert "set here" in done.stdout
    for ours, theirs in zip(model.compute(particles), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_particle_that_is_nobodys_image(create: Create, capfd: pytest.CaptureFixture[str]) -> None:
    """In a list without images, one appears that is near enough to act on the others."""
    atoms = crystal()
    atoms.pbc = False
    cluster = of_atoms(atoms)
    stray = Configuration(
        np.vstack([cluster.coordinates, cluster.coordinates[0] - [1.1, 1.2, 1.3]]),
        np.append(cluster.codes, cluster.codes[0]),
        np.append(cluster.contributing, 0).astype(np.int32),
    )
    far = replace(stray, coordinates=stray.coordinates - np.outer(stray.contributing == 0, [20.0, 0.0, 0.0]))
    model = create(None)
    np.testing.assert_array_equal(model.compute(far, (ENERGY,)), model.compute(cluster, (ENERGY,)))
    with pytest.raises(RuntimeError):
        model.compute(stray)
    assert re.search(r"error: .*\bparticle 64 at \(", capfd.readouterr().err)
