# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs that this machine has compiled give in real simulators what the same networks give as TorchScript."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase.calculators.kim import KIM
from compiled_models import INSTALLED, PATIENCE, WAYS, Compiled, cases, needs_compiler, runs_compiled
from configurations import Configuration
from exported_models import EXAMPLE, Twins, needs_export
from kimpy_host import KimpyModel, computed_together, minus_gradient
from lammps_host import CaseResults, first_use_lines, run_lammps
from test_exported_through_kim import (
    OUTPUTS,
    beside_an_isolated_atom,
    expect_same,
    few,
    of_energies,
    of_forces,
    periodic,
    with_any_contributing,
)
from test_memory import LIMIT, LIVES, PAGE, slopes

pytestmark = [needs_export, needs_compiler, pytest.mark.usefixtures("compiled_here")]
both = pytest.mark.parametrize("twins", [pytest.param(EXAMPLE, id="double"), pytest.param(INSTALLED, id="single")])


@both
def test_it_is_what_runs(twins: Twins, monkeypatch: pytest.MonkeyPatch) -> None:
    assert runs_compiled(twins.exported)
    monkeypatch.setenv("KIM_TORCHML_COMPILE", "never")
    assert not runs_compiled(twins.exported)
    monkeypatch.setenv("KIM_TORCHML_COMPILE", "now")
    assert runs_compiled(twins.exported)


@both
@pytest.mark.parametrize(
    ("make", "edges"),
    [
        (periodic, "folded"),
        (periodic, "staged"),
        (beside_an_isolated_atom, "folded"),
        (beside_an_isolated_atom, "staged"),
        # Particles that do not contribute are nobody's images there.
        (with_any_contributing, "staged"),
    ],
)
def test_in_kimpy(
    twins: Twins, make: Callable[[Twins], Configuration], edges: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIM_TORCHML_EDGES", edges)
    particles = make(twins)
    model = KimpyModel(twins.exported)
    found, expected = model.compute(particles, OUTPUTS), KimpyModel(twins.scripted).compute(particles, OUTPUTS)
    assert all(np.abs(values).max() > 0.1 for values in expected)
    expect_same(twins, found, expected, int(particles.contributing.sum()))
    for one, other in zip(KimpyModel(twins.exported).compute(particles, OUTPUTS), found, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.usefixtures("staged_edges")
@both
@pytest.mark.parametrize(
    "particles",
    [few([1]), few([0]), few([]), few([1, 1]), few([0, 0, 0], 2.4), few([0, 1], 2.4)],
    ids=["one", "one of another rank", "none", "two without an edge", "three of another rank", "half a pair"],
)
def test_few_particles(twins: Twins, particles: Configuration) -> None:
    found, expected = (KimpyModel(name).compute(particles, OUTPUTS) for name in (twins.exported, twins.scripted))
    expect_same(twins, found, expected, len(particles))


@pytest.mark.usefixtures("staged_edges")
def test_forces_are_minus_the_gradient() -> None:
    model, particles = KimpyModel(EXAMPLE.exported), with_any_contributing(EXAMPLE)
    (_, forces) = model.compute(particles)
    for particle in (0, len(particles) // 2):
        expected = minus_gradient(model, particles, particle, step=1e-3)
        np.testing.assert_allclose(forces[particle], expected, rtol=0, atol=1e-7)


@both
def test_in_ase(twins: Twins) -> None:
    ours, theirs = twins.atoms(), twins.atoms()
    ours.calc, theirs.calc = KIM(twins.exported), KIM(twins.scripted)
    energies = ours.get_potential_energy(), theirs.get_potential_energy()
    np.testing.assert_allclose(*energies, **of_energies(twins, len(ours)))
    np.testing.assert_allclose(ours.get_forces(), theirs.get_forces(), **of_forces(twins, theirs.get_forces()))
    np.testing.assert_allclose(ours.get_stress(), theirs.get_stress(), rtol=0, atol=twins.force)


@both
@pytest.mark.parametrize("release_gil", [False, True])
def test_four_threads_get_the_same_bits(twins: Twins, release_gil: bool) -> None:
    model, whole = KimpyModel(twins.exported), periodic(twins)
    particles = [whole.reordered(np.random.default_rng(seed).permutation(len(whole))) for seed in range(4)]
    expected = [model.compute(each, OUTPUTS) for each in particles]
    hosts = [model.with_own_arguments() for _ in particles]
    found = computed_together(hosts, particles, 10, OUTPUTS, release_gil)
    for theirs, computes in zip(expected, found, strict=True):
        for ours in computes:
            for one, other in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(one, other)


def programs_but_compilers(folder: Path) -> str:
    """Return a PATH with links to all programs of this machine that compile nothing."""
    for path in reversed(os.environ["PATH"].split(os.pathsep)):
        for program in Path(path).iterdir() if Path(path).is_dir() else ():
            if not re.search(r"(gcc|g\+\+|c\+\+|cc|clang|cpp)(-[\d.]+)?$", program.name):
                (folder / program.name).unlink(missing_ok=True)
                (folder / program.name).symlink_to(program)
    assert shutil.which("g++", path=str(folder)) is None
    return str(folder)


@pytest.fixture(scope="module")
def runs(compiled: Compiled, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """LAMMPS' folders by number of ranks; a machine without a compiler runs what is in the cache."""
    done, without_compiler = {}, programs_but_compilers(tmp_path_factory.mktemp("programs"))
    for ranks in (1, 2):
        done[ranks] = folder = tmp_path_factory.mktemp("lammps")
        commands = "".join(case.write(folder) for twins in (EXAMPLE, INSTALLED) for case in cases(twins).values())
        run = run_lammps(
            compiled.collection, folder, commands, ranks, **compiled.variables, PATH=without_compiler, CXX="none"
        )
        assert run.returncode == 0, run.stdout + run.stderr
        lines = first_use_lines(run.stderr)
        assert len(lines) == ranks
        used = rf"model model\.pt2 \(Edges, 2 {WAYS[ranks]}, compiled \(program x \d+\.\d\)\), device cpu, "
        assert all(re.search(used, line) for line in lines), lines
    return done


@both
@pytest.mark.parametrize("structure", ["periodic", "empty", "atom", "dynamics"])
@pytest.mark.parametrize("ranks", [1, 2])
def test_in_lammps(runs: dict[int, Path], twins: Twins, structure: str, ranks: int) -> None:
    expect_like_torchscript(twins, structure, runs[ranks], runs[1])


@pytest.mark.parametrize("structure", ["periodic", "empty", "atom", "dynamics"])
def test_the_run_that_compiled(compiled: Compiled, runs: dict[int, Path], structure: str) -> None:
    expect_like_torchscript(EXAMPLE, structure, compiled.folder, runs[1])


def expect_like_torchscript(twins: Twins, structure: str, ours: Path, theirs: Path) -> None:
    """Compare LAMMPS' results with those of the network as TorchScript on one rank."""

    def read(model: str, folder: Path) -> CaseResults:
        return cases(twins)[f"{model}_{structure}"].read(folder)

    found, expected = read(twins.exported, ours), read(twins.scripted, theirs)
    tolerance = of_energies(twins, len(expected.forces))
    np.testing.assert_allclose(found.energy, expected.energy, **tolerance)
    # One atom's energy rounds more than the mean.
    np.testing.assert_allclose(found.atom_energies, expected.atom_energies, **of_energies(twins, 5))
    np.testing.assert_allclose(found.forces, expected.forces, rtol=0, atol=max(1e-10, twins.force))
    np.testing.assert_allclose(found.pressure, expected.pressure, rtol=max(twins.force, 1e-10), atol=1e-7)
    if structure != "atom":
        assert np.abs(expected.forces).max() > 0.01


@both
def test_sizes_change_in_every_step(compiled: Compiled, own_folder: Path, twins: Twins) -> None:
    """Nothing is compiled again, memory stays level, and nothing is left among temporary files."""
    temporary = own_folder / "temporary"
    temporary.mkdir()
    before = contents(compiled.cache)
    script = Path(__file__).with_name("compiled_session.py")
    done = compiled.collection.run_python(
        script, twins.exported, "1000", timeout=PATIENCE, **compiled.variables, TMPDIR=str(temporary),
        KIM_TORCHML_QUIET="1", KIM_TORCHML_EDGES="staged",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["sizes"] > 100
    assert found["is_repeated"]
    per_atom, force = found["deviation"]
    assert per_atom < max(1e-12, twins.per_atom)
    assert force < max(1e-11, twins.force)
    half = np.array(found["memory"][50:], dtype=float)
    assert np.polyfit(10.0 * np.arange(len(half)), half, 1)[0] < PAGE
    assert contents(compiled.cache) == before
    assert list(temporary.iterdir()) == []


def contents(folder: Path) -> dict[str, float]:
    """Return all files in a folder, and when they were changed."""
    return {str(path): path.stat().st_mtime for path in folder.rglob("*")}


def test_hundreds_of_lives(simulator: Path, compiled: Compiled, own_folder: Path) -> None:
    """A model is created, run and destroyed: memory does not grow, and nothing is left among temporary files."""
    temporary = own_folder / "temporary"
    temporary.mkdir()
    few([1, 1, 0, 1], 2.4).write(own_folder / "particles.txt")
    # The particle that does not contribute is nobody's image.
    variables = {**compiled.variables, "TMPDIR": str(temporary), "KIM_TORCHML_EDGES": "staged"}
    allocated, resident = slopes(simulator, compiled.collection, own_folder, LIVES, EXAMPLE.exported, **variables)
    assert allocated < LIMIT
    assert resident < PAGE
    assert list(temporary.iterdir()) == []
