# SPDX-License-Identifier: LGPL-2.1-or-later
"""The cache of compiled programs in real simulators: what fills it, what is not used, and what is said of it."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from command_host import CommandHost
from compiled_models import INSTALLED, PATIENCE, WAYS, Compiled, needs_compiler, runs_compiled
from exported_models import EXAMPLE, Twins, needs_export
from kimpy_host import KimpyModel
from lammps_host import lines_of_driver
from test_exported_parameters import change
from test_exported_through_kim import OUTPUTS, expect_same, periodic

pytestmark = [needs_export, needs_compiler, pytest.mark.usefixtures("compiled_here")]


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
    used = rf", model model\.pt2 \(Edges, 2 {WAYS[2]}, compiled \(program x \d+\.\d\)\), device cpu, "
    assert all(re.search(used, line) for line in first_uses), first_uses
    assert len(compiled.entries) == 2


def test_installing_compiles(compiled: Compiled) -> None:
    first, *stages = compiled.installed.error.splitlines()
    assert first == f"compiling {INSTALLED.exported} for cpu: a minute or a few (--no-compile leaves that out)"
    assert all(re.fullmatch(rf"compiling {INSTALLED.exported}: [a-z ]+ \(\d+ s\)", line) for line in stages), stages
    assert f"compiling {INSTALLED.exported}: comparing it (" in compiled.installed.error
    *_, line, folder = compiled.installed.output.splitlines()
    assert re.fullmatch(
        rf"{INSTALLED.exported} is compiled for cpu \(in \d+ s\): \d\.\d\d x.* the speed of the program itself, "
        "without neighbours and all else of a step; simulators run the faster one",
        line,
    )
    assert Path(folder).name in {entry.name for entry in compiled.entries}


_ENERGY = """
import sys
from ase.calculators.kim import KIM
from example_models import silicon
atoms = silicon()
atoms.calc = KIM(sys.argv[1])
print(repr(float(atoms.get_potential_energy())))
"""


def energy_of(compiled: Compiled, twins: Twins, **variables: str) -> tuple[float, list[str]]:
    """Return the energy of the crystal in ASE, in a process of its own, and the driver's lines without the first."""
    done = compiled.collection.run_python("-c", _ENERGY, twins.exported, **variables)
    assert done.returncode == 0, done.stderr
    lines = [line.removeprefix("[kim-torchml] ").rstrip() for line in lines_of_driver(done.stderr)]
    (first,) = (line for line in lines if line.startswith("driver "))
    assert ", model model.pt2 (Edges, 2 layers folded, not compiled), device cpu, " in first
    return float(done.stdout), [line for line in lines if line is not first]


@pytest.fixture(scope="module")
def uncompiled_energy(compiled: Compiled) -> float:
    """The energy of the crystal, eV."""
    energy, notes = energy_of(compiled, EXAMPLE, KIM_TORCHML_COMPILE="never")
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
    compiled: Compiled, uncompiled_energy: float, copied: Path, harm: Callable[[Path], None], said: str
) -> None:
    harm(copied)
    found, (line,) = energy_of(compiled, EXAMPLE, KIM_TORCHML_CACHE=str(copied), KIM_TORCHML_COMPILE="cached")
    assert re.fullmatch(rf"note: model\.pt2 runs not compiled: .*{said.format(cache=re.escape(str(copied)))}", line), (
        line
    )
    assert found == uncompiled_energy


def test_without_a_compiler_it_runs_as_it_is(compiled: Compiled, uncompiled_energy: float, own_folder: Path) -> None:
    variables = {"KIM_TORCHML_CACHE": str(own_folder / "new"), "KIM_TORCHML_COMPILE": "now", "CXX": "no-such-compiler"}
    found, lines = energy_of(compiled, EXAMPLE, **variables, PATH="/nowhere", timeout=PATIENCE)
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
def written(compiled: Compiled, own_folder: Path) -> Iterator[tuple[KimpyModel, str]]:
    """A model whose parameter was changed, and the id of what was written of it."""
    model = KimpyModel(EXAMPLE.exported)
    change(model, EXAMPLE.parameter, 0.25)
    folder = own_folder / "Written_Compiled"
    folder.mkdir()
    model.model.write_parameterized_model(str(folder), folder.name)
    compiled.collection.install(folder)
    yield model, folder.name
    compiled.collection.manage("remove", "--force", folder.name)


def test_a_written_model_is_another(written: tuple[KimpyModel, str]) -> None:
    model, name = written
    particles = periodic(EXAMPLE)
    assert not runs_compiled(name)
    found, expected = KimpyModel(name).compute(particles, OUTPUTS), model.compute(particles, OUTPUTS)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_cache_is_listed_and_pruned(compiled: Compiled, copied: Path, own_folder: Path) -> None:
    host = CommandHost(compiled.collection, own_folder / "host")
    variables = {"KIM_TORCHML_CACHE": str(copied), "KIM_TORCHML_COMPILE": "cached"}
    done = host.run("cache", **variables)
    assert (done.code, done.error) == (0, "")
    first, *others = done.output.splitlines()
    assert re.fullmatch(rf"{re.escape(str(copied))}: 2 compiled, \d+(\.\d+)? [kM]B", first)
    assert {line.split()[1] for line in others} == {"model.pt2", INSTALLED.exported}
    damaged(copied)
    done = host.run("cache", "--prune", **variables)
    # They are listed, and then removed.
    assert done.output.count("(its file program.so is damaged)") == 4
    assert {line.split()[2] for line in done.output.splitlines()[-3:-1]} == {"model.pt2", INSTALLED.exported}
    assert re.search(r"^removed 2 compiled \(\d.*\), 0 unfinished$", done.output, re.MULTILINE)
    assert host.run("cache", **variables).output == f"{copied}: empty\n"


def test_compiling_once_more_says_that_it_was_done(compiled: Compiled, own_folder: Path) -> None:
    host = CommandHost(compiled.collection, own_folder / "host")
    done = host.run("compile", INSTALLED.exported, **compiled.variables)
    assert (done.code, done.error) == (0, "")
    assert f"{INSTALLED.exported} is compiled for cpu (before; --force compiles it anew): " in done.output


def test_what_cannot_be_compiled_by_its_format(compiled: Compiled, own_folder: Path) -> None:
    done = CommandHost(compiled.collection, own_folder / "host").run("compile", EXAMPLE.scripted)
    assert done.code == 2
    assert "must be a program of torch.export (.pt2) to be compiled, got model.pt, TorchScript; save" in done.error
