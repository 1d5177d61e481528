# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs that this machine has compiled, in real simulators: as TorchScript, and whatever happens to the cache."""

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.calculators.kim import KIM
from command_host import CommandHost, CommandRun
from configurations import Configuration
from exported_models import EXAMPLE, SINGLE, Twins, example_network, needs_export, save, saved
from kim_collection import KimCollection, PortableModel
from kimpy_host import KimpyModel, computed_together, minus_gradient
from lammps_host import Case, CaseResults, lines_of_driver, run_lammps
from test_exported_parameters import change
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
from test_lammps import in_long_box
from test_memory import LIVES, PAGE, slopes

pytestmark = [
    needs_export,
    pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler (g++)"),
]
PARAMETERS = {"initial": "features of every particle before the first convolution"}
# Compiling takes a minute, and more where other tests compile too, s.
PATIENCE = 600.0
# How images are treated by default: a rank of several sees only a part of the system.
WAYS = {1: "folded", 2: "staged"}
both = pytest.mark.parametrize("twins", [pytest.param(EXAMPLE, id="double"), pytest.param(SINGLE, id="single")])


@dataclass(frozen=True)
class Compiled:
    """The models, compiled, and what was printed meanwhile.

    Attributes:
        cache: the folder of compiled programs.
        first_run: LAMMPS' stderr on two ranks with KIM_TORCHML_COMPILE=now.
        folder: LAMMPS' folder.
        installed: how `kim-torchml install` ended.
    """

    cache: Path
    first_run: str
    folder: Path
    installed: CommandRun

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables with which the compiled programs are run."""
        return {"KIM_TORCHML_CACHE": str(self.cache), "KIM_TORCHML_COMPILE": "cached"}

    @property
    def entries(self) -> list[Path]:
        """The folders of compiled programs."""
        return [path for path in self.cache.iterdir() if path.is_dir()]


@pytest.fixture(scope="module")
def models(
    collection: KimCollection, examples: None, install_models: Callable[[list[PortableModel]], None]
) -> KimCollection:
    """The collection with the networks as TorchScript."""
    del examples
    networks = ((EXAMPLE, torch.float64), (SINGLE, torch.float32))
    install_models(
        [saved(each.scripted, example_network(dtype), "pt", parameters=PARAMETERS) for each, dtype in networks]
    )
    return collection


def cases(twins: Twins) -> dict[str, Case]:
    small = twins.atoms()[:40]
    small.pbc = False
    made = []
    for model in (twins.exported, twins.scripted):
        made += [
            Case(f"{model}_periodic", model, twins.atoms(), species=twins.species),
            Case(f"{model}_empty", model, in_long_box(small, 18.0), "1 1 *", species=twins.species),
            Case(f"{model}_atom", model, in_long_box(small[:1], 9.0), "1 1 *", species=twins.species),
            Case(f"{model}_dynamics", model, twins.atoms(), run="fix 1 all nve\nrun 10", species=twins.species),
        ]
    return {case.name: case for case in made}


@pytest.fixture(scope="module")
def compiled(models: KimCollection, tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """Compile one model at its first use, and the other when it is installed."""
    cache, folder = tmp_path_factory.mktemp("user") / "cache", tmp_path_factory.mktemp("lammps")
    of_cache = {"KIM_TORCHML_CACHE": str(cache)}
    commands = "".join(case.write(folder) for case in cases(EXAMPLE).values())
    run = run_lammps(models, folder, commands, 2, PATIENCE, **of_cache, KIM_TORCHML_COMPILE="now")
    assert run.returncode == 0, run.stdout + run.stderr
    host = CommandHost(models, tmp_path_factory.mktemp("host"))
    save(SINGLE.exported, example_network(torch.float32), "pt2", host.work / "model", parameters=PARAMETERS)
    installed = host.run("install", host.work / "model", timeout=PATIENCE, **of_cache, KIM_TORCHML_COMPILE="cached")
    assert installed.code == 0, installed.error
    return Compiled(cache, run.stderr, folder, installed)


@pytest.fixture(autouse=True)
def in_this_process(compiled: Compiled, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let models that this process creates run compiled."""
    for name, value in compiled.variables.items():
        monkeypatch.setenv(name, value)


def runs_compiled(name: str) -> bool:
    """Return whether a model that this process creates now runs compiled."""
    KimpyModel(name)
    opened = sys.modules["kim_torchml.driver.opened_models"]
    return bool(opened._recent[-1].is_compiled)


def test_one_rank_compiles_while_the_other_waits(compiled: Compiled) -> None:
    lines = [line.rstrip() for line in lines_of_driver(compiled.first_run)]
    progress = [line for line in lines if "compiling model.pt2, which is kept for later runs: " in line]
    first_uses = [line for line in lines if "driver " in line]
    assert len(progress) + len(first_uses) == len(lines)
    (at_work,) = {line.split("]")[0] for line in progress if re.search(r"compiling it \(\d+ %, \d+ s\)$", line)}
    waiting = [line for line in progress if re.search(r": another process is at it \(\d+ s\)$", line)]
    # The first rank speaks for those that wait.
    assert bool(waiting) == (at_work == "[kim-torchml rank 1")
    assert all(line.startswith("[kim-torchml rank 0] ") for line in waiting)
    assert 2 <= len(progress) - len(waiting) < PATIENCE / 5
    assert len(first_uses) == 2
    used = rf", model model\.pt2 \(Edges, 2 layers {WAYS[2]}, compiled \(program x \d+\.\d\)\), device cpu, "
    assert all(re.search(used, line) for line in first_uses), first_uses
    assert len(compiled.entries) == 2


def test_installing_compiles(compiled: Compiled) -> None:
    first, *stages = compiled.installed.error.splitlines()
    assert first == f"compiling {SINGLE.exported} for cpu: a minute or a few (--no-compile leaves that out)"
    assert all(re.fullmatch(rf"compiling {SINGLE.exported}: [a-z ]+ \(\d+ s\)", line) for line in stages), stages
    assert f"compiling {SINGLE.exported}: comparing it (" in compiled.installed.error
    *_, line, folder = compiled.installed.output.splitlines()
    assert re.fullmatch(
        rf"{SINGLE.exported} is compiled for cpu \(in \d+ s\): \d\.\d\d x.* the speed of the program itself, "
        "without neighbours and all else of a step; simulators run the faster one",
        line,
    )
    assert Path(folder) in compiled.entries


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
def runs(models: KimCollection, compiled: Compiled, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """LAMMPS' folders by number of ranks; a machine without a compiler runs what is in the cache."""
    done, without_compiler = {}, programs_but_compilers(tmp_path_factory.mktemp("programs"))
    for ranks in (1, 2):
        done[ranks] = folder = tmp_path_factory.mktemp("lammps")
        commands = "".join(case.write(folder) for twins in (EXAMPLE, SINGLE) for case in cases(twins).values())
        run = run_lammps(models, folder, commands, ranks, **compiled.variables, PATH=without_compiler, CXX="none")
        assert run.returncode == 0, run.stdout + run.stderr
        lines = lines_of_driver(run.stderr)
        assert len(lines) == ranks
        used = rf"model model\.pt2 \(Edges, 2 layers {WAYS[ranks]}, compiled \(program x \d+\.\d\)\), device cpu, "
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
def test_sizes_change_in_every_step(models: KimCollection, compiled: Compiled, own_folder: Path, twins: Twins) -> None:
    """Nothing is compiled again, memory stays level, and nothing is left among temporary files."""
    temporary = own_folder / "temporary"
    temporary.mkdir()
    before = contents(compiled.cache)
    script = Path(__file__).with_name("compiled_session.py")
    done = models.run_python(
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


def test_hundreds_of_lives(simulator: Path, models: KimCollection, compiled: Compiled, own_folder: Path) -> None:
    """A model is created, run and destroyed: memory does not grow, and nothing is left among temporary files."""
    temporary = own_folder / "temporary"
    temporary.mkdir()
    few([1, 1, 0, 1], 2.4).write(own_folder / "particles.txt")
    # The particle that does not contribute is nobody's image.
    variables = {**compiled.variables, "TMPDIR": str(temporary), "KIM_TORCHML_EDGES": "staged"}
    allocated, resident = slopes(simulator, models, own_folder, LIVES, EXAMPLE.exported, **variables)
    assert allocated < LIVES.limit
    assert resident < PAGE
    assert list(temporary.iterdir()) == []


_ENERGY = """
import sys
from ase.calculators.kim import KIM
from example_models import silicon
atoms = silicon()
atoms.calc = KIM(sys.argv[1])
print(repr(float(atoms.get_potential_energy())))
"""


def energy_of(models: KimCollection, twins: Twins, **variables: str) -> tuple[float, list[str]]:
    """Return the energy of the crystal in ASE, in a process of its own, and the driver's lines without the first."""
    done = models.run_python("-c", _ENERGY, twins.exported, **variables)
    assert done.returncode == 0, done.stderr
    lines = [line.removeprefix("[kim-torchml] ").rstrip() for line in lines_of_driver(done.stderr)]
    (first,) = (line for line in lines if line.startswith("driver "))
    assert ", model model.pt2 (Edges, 2 layers folded, not compiled), device cpu, " in first
    return float(done.stdout), [line for line in lines if line is not first]


@pytest.fixture(scope="module")
def uncompiled_energy(models: KimCollection) -> float:
    """The energy of the crystal, eV."""
    energy, notes = energy_of(models, EXAMPLE, KIM_TORCHML_COMPILE="never")
    assert notes == []
    return energy


@pytest.fixture
def copied(compiled: Compiled, own_folder: Path) -> Path:
    """A cache that a test may harm."""
    shutil.copytree(compiled.cache, own_folder / "cache")
    return own_folder / "cache"


def writable_for_all(cache: Path) -> None:
    cache.chmod(0o777)


def a_link(cache: Path) -> None:
    cache.rename(cache.with_name("elsewhere"))
    cache.symlink_to("elsewhere")


def damaged(cache: Path) -> None:
    for path in cache.glob("*/program.so"):
        path.write_bytes(path.read_bytes()[:-100] + bytes(100))


def changed_keys(cache: Path, **changes: str) -> None:
    """Let the entries have been made of or for something else."""
    from dataclasses import replace

    from kim_torchml.engines.exported.compiled.entry import CacheEntry

    for path in list(cache.glob("*/entry.json")):
        entry = CacheEntry.from_json(path.parent, path.read_text())
        entry = replace(entry, key=replace(entry.key, **changes))
        path.write_text(entry.to_json())
        path.parent.rename(cache / entry.key.digest)


def of_another_torch(cache: Path) -> None:
    changed_keys(cache, torch="2.4.0 0")


def for_another_processor(cache: Path) -> None:
    changed_keys(cache, capability="AVX2, Another CPU (0)")


def emptied(cache: Path) -> None:
    shutil.rmtree(cache)


HARMS = [
    (writable_for_all, r"others can write there, and could put programs there; run `chmod 700 {cache}`"),
    (a_link, r"it must be a folder, not a link or a file; run `rm {cache}`, or name another one in KIM_TORCHML_CACHE"),
    (damaged, r"its file program\.so is damaged; run `kim-torchml compile --force` with the model's name"),
    (
        of_another_torch,
        r"what was compiled of it is made with torch 2\.4\.0; run `kim-torchml compile --force` with .*",
    ),
    (
        for_another_processor,
        r"what was compiled of it is made for AVX2, Another CPU \(0\); run `kim-torchml compile .*",
    ),
    (emptied, r"`kim-torchml compile`, with the model's name, makes native code of it, mostly 1\.4 to 4 times as fast"),
]


@pytest.mark.parametrize(("harm", "said"), HARMS, ids=[each[0].__name__ for each in HARMS])
def test_what_cannot_be_used_is_said_in_one_line(
    models: KimCollection, uncompiled_energy: float, copied: Path, harm: Callable[[Path], None], said: str
) -> None:
    harm(copied)
    found, (line,) = energy_of(models, EXAMPLE, KIM_TORCHML_CACHE=str(copied), KIM_TORCHML_COMPILE="cached")
    assert re.fullmatch(rf"note: model\.pt2 runs not compiled: .*{said.format(cache=re.escape(str(copied)))}", line), (
        line
    )
    assert found == uncompiled_energy


def test_without_a_compiler_it_runs_as_it_is(models: KimCollection, uncompiled_energy: float, own_folder: Path) -> None:
    variables = {"KIM_TORCHML_CACHE": str(own_folder / "new"), "KIM_TORCHML_COMPILE": "now", "CXX": "no-such-compiler"}
    found, lines = energy_of(models, EXAMPLE, **variables, PATH="/nowhere", timeout=PATIENCE)
    notes = [line for line in lines if line.startswith("note: ")]
    assert len(notes) == 1
    assert re.match(r"note: model\.pt2 runs not compiled: .*compiler", notes[0]), notes
    assert found == uncompiled_energy


def test_parameters_take_effect_at_once(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Native code has the weights of its file in it: a model with others is never run by it."""
    monkeypatch.delenv("KIM_TORCHML_QUIET")
    model, plain = KimpyModel(EXAMPLE.exported), KimpyModel(EXAMPLE.scripted)
    particles = periodic(EXAMPLE)
    before = model.compute(particles, OUTPUTS)
    capfd.readouterr()
    for each in (model, plain):
        change(each, EXAMPLE.parameter, 0.25)
    found, expected = (each.compute(particles, OUTPUTS) for each in (model, plain))
    assert abs(found[0][0] - before[0][0]) > 0.1
    expect_same(EXAMPLE, found, expected, int(particles.contributing.sum()))
    assert capfd.readouterr().err == (
        "[kim-torchml] note: parameters of the model in model.pt2 have other values than its file: it runs not "
        "compiled from now on; write the model with these values, and `kim-torchml install` compiles that\n"
    )
    # Another model of the same file runs compiled as before.
    for one, other in zip(KimpyModel(EXAMPLE.exported).compute(particles, OUTPUTS), before, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture
def written(models: KimCollection, own_folder: Path) -> Iterator[tuple[KimpyModel, str]]:
    """A model whose parameter was changed, and the id of what was written of it."""
    model = KimpyModel(EXAMPLE.exported)
    change(model, EXAMPLE.parameter, 0.25)
    folder = own_folder / "Written_Compiled"
    folder.mkdir()
    model.model.write_parameterized_model(str(folder), folder.name)
    models.install(folder)
    yield model, folder.name
    models.manage("remove", "--force", folder.name)


def test_a_written_model_is_another(written: tuple[KimpyModel, str]) -> None:
    model, name = written
    particles = periodic(EXAMPLE)
    assert not runs_compiled(name)
    found, expected = KimpyModel(name).compute(particles, OUTPUTS), model.compute(particles, OUTPUTS)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_cache_is_listed_and_pruned(models: KimCollection, copied: Path, own_folder: Path) -> None:
    host = CommandHost(models, own_folder / "host")
    variables = {"KIM_TORCHML_CACHE": str(copied), "KIM_TORCHML_COMPILE": "cached"}
    done = host.run("cache", **variables)
    assert (done.code, done.error) == (0, "")
    first, *others = done.output.splitlines()
    assert re.fullmatch(rf"{re.escape(str(copied))}: 2 compiled, \d+(\.\d+)? [kM]B", first)
    assert {line.split()[1] for line in others} == {"model.pt2", SINGLE.exported}
    damaged(copied)
    done = host.run("cache", "--prune", **variables)
    # They are listed, and then removed.
    assert done.output.count("(its file program.so is damaged)") == 4
    assert {line.split()[2] for line in done.output.splitlines()[-3:-1]} == {"model.pt2", SINGLE.exported}
    assert re.search(r"^removed 2 compiled \(\d.*\), 0 unfinished$", done.output, re.MULTILINE)
    assert host.run("cache", **variables).output == f"{copied}: empty\n"


def test_compiling_once_more_says_that_it_was_done(models: KimCollection, compiled: Compiled, own_folder: Path) -> None:
    host = CommandHost(models, own_folder / "host")
    done = host.run("compile", SINGLE.exported, **compiled.variables)
    assert (done.code, done.error) == (0, "")
    assert f"{SINGLE.exported} is compiled for cpu (before; --force compiles it anew): " in done.output


def test_what_cannot_be_compiled_by_its_format(models: KimCollection, own_folder: Path) -> None:
    done = CommandHost(models, own_folder / "host").run("compile", EXAMPLE.scripted)
    assert done.code == 2
    assert "must be a program of torch.export (.pt2) to be compiled, got model.pt, TorchScript; save" in done.error
