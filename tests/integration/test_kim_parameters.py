# SPDX-License-Identifier: LGPL-2.1-or-later
"""A model's tensors as KIM parameters, through kimpy, ASE and LAMMPS; and models that are written back."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_models as tiny
from ase.calculators.kim import KIM
from configurations import mixed, of_atoms
from example_models import EXAMPLES, GRAPH, STILLINGER_WEBER, silicon
from kim_collection import DRIVER, KimCollection
from kimpy_host import ENERGY, FORCES, VIRIAL, KimpyModel, energy
from lammps_host import run_lammps
from test_kim_units import crystal_commands

pytestmark = pytest.mark.usefixtures("collection", "examples")

NAMES = ["n_elements", "A", "B", "p", "q", "sigma", "gamma", "lambda_", "costheta0"]
# Parameters that have the same name in KIM's own model, where each is one number per pair of species.
SAME_NAMES = {"A": "A", "B": "B", "p": "p", "q": "q", "sigma": "sigma", "gamma": "gamma"}


def names_of(model: KimpyModel) -> list[str]:
    return [model.model.get_parameter_metadata(i)[2] for i in range(model.model.get_number_of_parameters())]


def set_parameter(model: KimpyModel, name: str, value: float) -> None:
    model.model.set_parameter(names_of(model).index(name), 0, value)
    model.model.clear_then_refresh()


def particles_of(model: KimpyModel):
    return of_atoms(silicon(), model.model.get_influence_distance())


def test_names_descriptions_and_values() -> None:
    model = KimpyModel(STILLINGER_WEBER)
    assert names_of(model) == NAMES
    metadata = [model.model.get_parameter_metadata(i) for i in range(len(NAMES))]
    assert [extent for _, extent, *_ in metadata] == [1] * len(NAMES)
    assert metadata[1][3] == "Strength of the pair terms, eV. Tensor A, shape [], in the model's own units (Å, eV)."
    assert model.model.get_parameter_double(NAMES.index("sigma"), 0) == pytest.approx(2.0951)


@pytest.mark.parametrize(("name", "factor"), [("A", 1.1), ("sigma", 0.97), ("gamma", 1.05)])
def test_a_changed_constant_does_what_it_does_in_kims_own_model(name: str, factor: float, reference: str) -> None:
    models = [KimpyModel(STILLINGER_WEBER), KimpyModel(reference)]
    before, results = [], []
    for model in models:
        index = names_of(model).index(SAME_NAMES[name])
        before.append(energy(model, particles_of(model)))
        value = model.model.get_parameter_double(index, 0)
        set_parameter(model, name, factor * value)
        results.append(model.compute(particles_of(model), (ENERGY, FORCES, VIRIAL)))
    assert abs(results[0][0][0] - before[0]) > 1.0
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-11 * np.abs(theirs).max())


def test_values_stay_in_the_models_own_units() -> None:
    plain, converted = KimpyModel(STILLINGER_WEBER), KimpyModel(STILLINGER_WEBER, length="nm", energy="kcal_mol")
    for index in range(1, len(NAMES)):
        assert converted.model.get_parameter_double(index, 0) == plain.model.get_parameter_double(index, 0)


def test_models_of_the_same_files_keep_their_own_values() -> None:
    first, second = KimpyModel(STILLINGER_WEBER), KimpyModel(STILLINGER_WEBER)
    particles = particles_of(first)
    before = energy(second, particles)
    set_parameter(first, "A", 20.0)
    assert energy(second, particles) == before
    assert energy(first, particles) != before
    assert energy(KimpyModel(STILLINGER_WEBER), particles) == before


def test_a_refused_value_sets_all_back(capfd: pytest.CaptureFixture[str]) -> None:
    model = KimpyModel(STILLINGER_WEBER)
    particles = particles_of(model)
    before = energy(model, particles)
    model.model.set_parameter(NAMES.index("B"), 0, 0.7)
    set_parameter(model, "A", np.nan)
    message = r"\[kim-torchml\] error: the parameter `A` must be finite numbers that fit torch\.float64, got nan .+\n"
    assert re.fullmatch(message, capfd.readouterr().err)
    assert np.isfinite(model.model.get_parameter_double(NAMES.index("A"), 0))
    assert model.model.get_parameter_double(NAMES.index("B"), 0) != 0.7
    assert energy(model, particles) == before


def test_in_ase() -> None:
    atoms, host = silicon(), KimpyModel(STILLINGER_WEBER)
    atoms.calc = KIM(STILLINGER_WEBER)
    before = atoms.get_potential_energy()
    atoms.calc.set_parameters(A=[[0], [17.0]], gamma=[[0], [2.6]])
    set_parameter(host, "A", 17.0)
    set_parameter(host, "gamma", 2.6)
    atoms.rattle(0.01, seed=1)
    expected = energy(host, of_atoms(atoms, host.model.get_influence_distance()))
    assert atoms.get_potential_energy() == pytest.approx(expected, rel=1e-12)
    assert abs(before - expected) > 1.0
    values = atoms.calc.get_parameters(A=[0], gamma=0)
    assert values == {"A": [[0], [17.0]], "gamma": [0, 2.6]}


_SET = """\
kim param get A 1 before gamma 1 other
kim param set A 1 17.0 gamma 1 2.6
kim param get A 1 after
run 0
print "${before} ${other} ${after} $(pe:%.17g)" file found.txt
"""


@pytest.mark.parametrize("ranks", [1, 2])
def test_in_lammps(collection: KimCollection, own_folder: Path, ranks: int) -> None:
    commands = crystal_commands(own_folder, STILLINGER_WEBER, "metal") + _SET
    done = run_lammps(collection, own_folder, commands, ranks)
    assert done.returncode == 0, done.stdout + done.stderr
    host = KimpyModel(STILLINGER_WEBER)
    before, other, after, found = map(float, (own_folder / "found.txt").read_text().split())
    assert before == pytest.approx(host.model.get_parameter_double(NAMES.index("A"), 0), rel=1e-6)
    assert other == pytest.approx(host.model.get_parameter_double(NAMES.index("gamma"), 0), rel=1e-6)
    assert after == 17.0
    set_parameter(host, "A", 17.0)
    set_parameter(host, "gamma", 2.6)
    assert found == pytest.approx(energy(host, particles_of(host)), rel=1e-12)


@pytest.mark.parametrize("name", [*EXAMPLES, tiny.GRAPH_3])
def test_a_written_model_installs_and_gives_the_same_bits(collection: KimCollection, tmp_path: Path, name: str) -> None:
    model = KimpyModel(name)
    index = 1 if name != STILLINGER_WEBER else NAMES.index("gamma")
    value = model.model.get_parameter_double(index, 0)
    model.model.set_parameter(index, 0, 1.03 * value + 0.01)
    model.model.clear_then_refresh()
    written = f"Written_{name}"
    folder = tmp_path / written
    folder.mkdir()
    model.model.write_parameterized_model(str(folder), written)
    assert f'"{DRIVER}"' in (folder / "CMakeLists.txt").read_text()
    collection.install(folder)
    try:
        again = KimpyModel(written)
        assert again.model.get_parameter_double(index, 0) == 1.03 * value + 0.01
        particles = mixed() if name == tiny.GRAPH_3 else particles_of(model)
        outputs = (ENERGY, FORCES, VIRIAL)
        found = again.compute(particles, outputs)
        unchanged = KimpyModel(name).compute(particles, outputs)
        for ours, theirs, others in zip(found, model.compute(particles, outputs), unchanged, strict=True):
            np.testing.assert_array_equal(ours, theirs)
            assert not np.array_equal(ours, others)
    finally:
        collection.manage("remove", "--force", written)
    shutil.rmtree(folder)


def test_a_folder_that_cannot_be_written(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    model = KimpyModel(GRAPH)
    with pytest.raises(RuntimeError):
        model.model.write_parameterized_model(str(tmp_path / "missing"), "Written")
    printed = capfd.readouterr().err
    assert re.fullmatch(r"\[kim-torchml\] error: cannot write the model's file .+; choose another folder\n", printed)
