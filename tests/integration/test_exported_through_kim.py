# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs of torch.export in real simulators give what the same networks give as TorchScript."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.kim import KIM
from configurations import Configuration, cluster, of_atoms
from exported_models import EXAMPLE, LAYERS, READY, TWINS, Twins, needs_export, of_all_twins, twin_models
from kim_collection import KimCollection, PortableModel
from kimpy_host import (
    ENERGY,
    FORCES,
    PARTICLE_ENERGIES,
    PARTICLE_VIRIALS,
    VIRIAL,
    KimpyModel,
    computed_together,
    minus_gradient,
)
from lammps_host import Case, CaseResults, first_use_lines, run_lammps
from test_cpp_simulator import FILE, Simulator, assert_as_from_kimpy
from test_kimpy_threads import host_settings
from test_lammps import HALF, chain, dynamics, in_long_box

OUTPUTS = (ENERGY, FORCES, PARTICLE_ENERGIES, VIRIAL, PARTICLE_VIRIALS)


@pytest.fixture(scope="module", autouse=True)
def models(
    collection: KimCollection, examples: None, install_models: Callable[[list[PortableModel]], None]
) -> KimCollection:
    """The collection with all twins that this torch can make."""
    del examples
    install_models(twin_models())
    return collection


def of_energies(twins: Twins, n: int) -> dict[str, float]:
    """Return how far the energies of n atoms may be apart."""
    return {"rtol": twins.relative, "atol": twins.per_atom * n}


def of_forces(twins: Twins, values: np.ndarray) -> dict[str, float]:
    """Return how far forces, eV/Å, or virials, eV, may be apart."""
    return {"rtol": 0.0, "atol": twins.force * np.abs(values).max(initial=1.0)}


def expect_same(twins: Twins, found: list[np.ndarray], expected: list[np.ndarray], n: int) -> None:
    """Compare values of OUTPUTS."""
    for name, ours, theirs in zip(OUTPUTS, found, expected, strict=True):
        tolerance = of_energies(twins, n) if "nergy" in name else of_forces(twins, theirs)
        np.testing.assert_allclose(ours, theirs, err_msg=name, **tolerance)


def periodic(twins: Twins) -> Configuration:
    return of_atoms(twins.atoms(), 9.0)


def with_any_contributing(twins: Twins) -> Configuration:
    particles = periodic(twins)
    random = np.random.default_rng(4)
    flags = random.integers(0, 2, len(particles)).astype(np.int32)
    particles = Configuration(particles.coordinates, particles.codes, flags)
    return particles.reordered(random.permutation(len(particles)))


def beside_an_isolated_atom(twins: Twins) -> Configuration:
    atoms = twins.atoms()
    atoms.pbc = False
    return of_atoms(atoms + Atoms("Si", positions=[[90.0, 0.0, 0.0]]))


def few(flags: list[int], distance: float = 60.0) -> Configuration:
    """Return particles in a row."""
    coordinates = np.outer(np.arange(len(flags)), [distance, 0.0, 0.0])
    return Configuration(coordinates, np.zeros(len(flags), dtype=np.int32), np.array(flags, dtype=np.int32))


@pytest.mark.usefixtures("staged_edges")
@of_all_twins
@pytest.mark.parametrize("make", [periodic, with_any_contributing, beside_an_isolated_atom])
def test_in_kimpy(twins: Twins, make: Callable[[Twins], Configuration]) -> None:
    particles = make(twins)
    found, expected = (KimpyModel(name).compute(particles, OUTPUTS) for name in (twins.exported, twins.scripted))
    assert all(np.abs(values).max() > 0.1 for values in expected)
    expect_same(twins, found, expected, int(particles.contributing.sum()))


@of_all_twins
@pytest.mark.parametrize(
    "particles",
    [few([1]), few([0]), few([]), few([1, 1]), few([0, 0, 0], 2.4), few([0, 1], 2.4)],
    ids=["one", "one of another rank", "none", "two without an edge", "three of another rank", "half a pair"],
)
@pytest.mark.usefixtures("staged_edges")
def test_few_particles(twins: Twins, particles: Configuration) -> None:
    model = KimpyModel(twins.exported)
    expect_same(
        twins, model.compute(particles, OUTPUTS), KimpyModel(twins.scripted).compute(particles, OUTPUTS), len(particles)
    )
    # What is computed next has nothing of this.
    others = few([1, 0, 1, 1], 2.4)
    for ours, theirs in zip(
        model.compute(others, OUTPUTS), KimpyModel(twins.exported).compute(others, OUTPUTS), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.usefixtures("staged_edges")
def test_forces_are_minus_the_gradient() -> None:
    model = KimpyModel(EXAMPLE.exported)
    particles = with_any_contributing(EXAMPLE)
    (forces,) = model.compute(particles, (FORCES,))
    for particle in (0, len(particles) // 2):
        np.testing.assert_allclose(
            forces[particle], minus_gradient(model, particles, particle, step=1e-3), rtol=0, atol=1e-7
        )


@of_all_twins
def test_in_ase(twins: Twins) -> None:
    ours, theirs = twins.atoms(), twins.atoms()
    ours.calc, theirs.calc = KIM(twins.exported), KIM(twins.scripted)
    np.testing.assert_allclose(
        ours.get_potential_energy(), theirs.get_potential_energy(), **of_energies(twins, len(ours))
    )
    np.testing.assert_allclose(ours.get_forces(), theirs.get_forces(), **of_forces(twins, theirs.get_forces()))
    np.testing.assert_allclose(ours.get_stress(), theirs.get_stress(), rtol=0, atol=twins.force)
    assert np.abs(theirs.get_stress()).max() > 1e-3


@of_all_twins
@pytest.mark.parametrize("release_gil", [False, True])
def test_four_threads_get_the_same_bits(twins: Twins, release_gil: bool) -> None:
    """They have one model and arguments of their own."""
    model = KimpyModel(twins.exported)
    whole = periodic(twins)
    particles = [whole.reordered(np.random.default_rng(seed).permutation(len(whole))) for seed in range(4)]
    expected = [model.compute(each, OUTPUTS) for each in particles]
    hosts = [model.with_own_arguments() for _ in particles]
    found = computed_together(hosts, particles, 5, OUTPUTS, release_gil)
    for theirs, computes in zip(expected, found, strict=True):
        for ours in computes:
            for one, other in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(one, other)


@of_all_twins
def test_host_keeps_its_settings_and_may_have_others(twins: Twins) -> None:
    before = host_settings()
    model, particles = KimpyModel(twins.exported), periodic(twins)
    expected = model.compute(particles, OUTPUTS)
    assert host_settings() == before
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64 if default is torch.float32 else torch.float32)
    try:
        with torch.inference_mode():
            found = KimpyModel(twins.exported).compute(particles, OUTPUTS)
    finally:
        torch.set_default_dtype(default)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture
def host(simulator: Path, collection: KimCollection, own_folder: Path) -> Simulator:
    return Simulator(simulator, collection, own_folder)


@pytest.mark.usefixtures("staged_edges")
@of_all_twins
def test_in_the_cpp_simulator(host: Simulator, twins: Twins) -> None:
    """Both in one process, in turn; and four threads."""
    whole = beside_an_isolated_atom(twins)
    flags = np.random.default_rng(4).integers(0, 2, len(whole)).astype(np.int32)
    particles = Configuration(whole.coordinates, whole.codes, flags)
    particles.write(host.folder / FILE)
    found = host.lines("two", twins.exported, twins.scripted, FILE, KIM_TORCHML_EDGES="staged")
    assert len(found) == 4
    assert [found[2], found[3]] == [found[0], found[1]]
    assert_as_from_kimpy(found[0], twins.exported, particles)
    assert_as_from_kimpy(found[1], twins.scripted, particles)
    threads = host.lines("threads", twins.exported, FILE, "5", KIM_TORCHML_EDGES="staged")
    assert [each | {"requests": None} for each in threads] == [found[0] | {"requests": None}] * 4


def cases() -> dict[str, Case]:
    """Return the structures of all twins that this torch can make, and molecular dynamics."""
    made = []
    for name, twins in READY.items():
        small = twins.atoms()[:40]
        small.pbc = False
        for model in (twins.exported, twins.scripted):
            made += [
                Case(f"{name}_{model}_periodic", model, twins.atoms(), species=twins.species),
                Case(f"{name}_{model}_empty", model, in_long_box(small, 18.0), "1 1 *", species=twins.species),
                Case(f"{name}_{model}_atom", model, in_long_box(small[:1], 9.0), "1 1 *", species=twins.species),
            ]
    if LAYERS in READY.values():
        for model in (LAYERS.exported, LAYERS.scripted):
            made += [
                Case(f"layers_{model}_ghosts", model, in_long_box(cluster(), HALF - 1.0), "1 1 *"),
                Case(f"layers_{model}_cut", model, in_long_box(cluster(), HALF + 5.0), "1 1 *"),
                Case(f"layers_{model}_chain", model, chain(), "1 1 *"),
                dynamics(f"layers_{model}_dynamics", model),
            ]
    for model in (EXAMPLE.exported, EXAMPLE.scripted):
        made.append(
            Case(f"example_{model}_dynamics", model, EXAMPLE.atoms(), run="fix 1 all nve\nrun 5", species=("Si",))
        )
    return {case.name: case for case in made}


CASES = cases()
OF_EVERY = ("periodic", "empty", "atom")
NAMES = [
    *(("example", each) for each in (*OF_EVERY, "dynamics")),
    *(pytest.param("single", each, marks=needs_export) for each in OF_EVERY),
    *(pytest.param("layers", each, marks=needs_export) for each in (*OF_EVERY, "ghosts", "cut", "chain", "dynamics")),
]


@pytest.fixture(scope="module")
def runs(models: KimCollection, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Run all cases in one process of one rank, then in one of two, and return the folders by number of ranks."""
    done = {}
    for ranks in (1, 2):
        done[ranks] = tmp_path_factory.mktemp("lammps")
        commands = "".join(case.write(done[ranks]) for case in CASES.values())
        run = run_lammps(models, done[ranks], commands, ranks)
        assert run.returncode == 0, run.stdout + run.stderr
        first, *others = first_use_lines(run.stderr)
        assert len(others) == ranks - 1
        assert re.search(r"driver \S+, torch \S+, model model\.pt2 .*, device cpu, ", first), first
    return done


@pytest.mark.parametrize(("name", "structure"), NAMES)
@pytest.mark.parametrize("ranks", [1, 2])
def test_in_lammps(runs: dict[int, Path], name: str, structure: str, ranks: int) -> None:
    twins = TWINS[name]

    def read(model: str, ranks: int) -> CaseResults:
        return CASES[f"{name}_{model}_{structure}"].read(runs[ranks])

    found, expected = read(twins.exported, ranks), read(twins.scripted, 1)
    # Two ranks add in another order.
    forces = of_forces(twins, expected.forces) if ranks == 1 else {"rtol": 0.0, "atol": max(1e-10, twins.force)}
    tolerance = of_energies(twins, len(expected.forces))
    np.testing.assert_allclose(found.energy, expected.energy, **tolerance)
    np.testing.assert_allclose(found.sum_of_atoms, expected.sum_of_atoms, **tolerance)
    np.testing.assert_allclose(found.atom_energies, expected.atom_energies, **of_energies(twins, 1))
    np.testing.assert_allclose(found.forces, expected.forces, **forces)
    np.testing.assert_allclose(found.pressure, expected.pressure, rtol=max(twins.force, 1e-10), atol=1e-7)
    if structure != "atom":
        assert np.abs(expected.forces).max() > 0.01
        assert abs(expected.pressure) > 0.1
