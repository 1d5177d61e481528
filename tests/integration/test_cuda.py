# SPDX-License-Identifier: LGPL-2.1-or-later
"""The example models on a GPU give through KIM what they give on a CPU, whose results other tests compare."""

import shutil
import sys
import threading

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.kim import KIM
from configurations import of_atoms
from example_models import EDGES, EXAMPLES
from kimpy_host import ENERGY, FORCES, KimpyModel

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason=f"torch {torch.__version__} sees no GPU here"),
    pytest.mark.usefixtures("examples"),
]


def silicon(cells: int, seed: int = 3) -> Atoms:
    """Return a rattled crystal of 8 cells**3 atoms."""
    atoms = bulk("Si", "diamond", a=5.431, cubic=True) * (cells, cells, cells)
    atoms.rattle(0.1, seed=seed)
    return atoms


@pytest.fixture
def on_device(monkeypatch):
    """Return a function that asks for a device, which holds for the models that are created from then on."""
    return lambda device: monkeypatch.setenv("KIM_MODEL_EXECUTION_DEVICE", device)


def results_of(name: str, atoms: Atoms) -> tuple[float, np.ndarray, np.ndarray]:
    """Return energy, forces and stress by ASE's calculator."""
    atoms = atoms.copy()
    atoms.calc = KIM(name)
    return atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()


@pytest.mark.parametrize("cells", [2, 3, 5])
@pytest.mark.parametrize("name", EXAMPLES)
def test_ase_gets_the_same_from_both_devices(name, cells, on_device):
    atoms = silicon(cells)
    on_device("cpu")
    expected = results_of(name, atoms)
    on_device("cuda")
    torch.cuda.reset_peak_memory_stats()
    found = results_of(name, atoms)
    assert torch.cuda.max_memory_allocated() > 24 * len(atoms)
    assert np.abs(expected[1]).max() > 0.1
    assert found[0] == pytest.approx(expected[0], abs=1e-9 * len(atoms))
    np.testing.assert_allclose(found[1], expected[1], rtol=0, atol=1e-9)
    np.testing.assert_allclose(found[2], expected[2], rtol=0, atol=1e-9)


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler (g++)")
def test_a_model_that_is_compiled_for_the_gpu(on_device, monkeypatch, tmp_path_factory):
    on_device("cuda")
    configuration = of_atoms(silicon(3), reach=8.0)
    expected = KimpyModel(EDGES).compute(configuration)
    monkeypatch.setenv("KIM_TORCHML_CACHE", str(tmp_path_factory.mktemp("user") / "cache"))
    monkeypatch.setenv("KIM_TORCHML_COMPILE", "now")
    found = KimpyModel(EDGES).compute(configuration)
    assert sys.modules["kim_torchml.driver.opened_models"]._recent[-1].is_compiled
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-12)
    np.testing.assert_allclose(found[1], expected[1], rtol=0, atol=1e-10)


def test_threads_compute_on_one_gpu(on_device):
    on_device("cuda")
    configurations = [of_atoms(silicon(2, seed=seed), reach=8.0) for seed in range(3)]
    model = KimpyModel(EDGES)
    expected = [model.compute(configuration) for configuration in configurations]
    hosts = [model.with_own_arguments() for _ in configurations]
    found = [None] * len(hosts)

    def compute(number: int) -> None:
        for _ in range(10):
            found[number] = hosts[number].compute(configurations[number], release_gil=True)

    threads = [threading.Thread(target=compute, args=[number]) for number in range(len(hosts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for (energy, forces), (wanted_energy, wanted_forces) in zip(found, expected, strict=True):
        np.testing.assert_allclose(energy, wanted_energy, rtol=0, atol=1e-9)
        np.testing.assert_allclose(forces, wanted_forces, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_same_bits_on_request(name, on_device, monkeypatch):
    monkeypatch.setenv("KIM_TORCHML_DETERMINISTIC", "1")
    on_device("cuda")
    configuration = of_atoms(silicon(3), reach=12.0)
    model = KimpyModel(name)
    first, second = (model.compute(configuration, (ENERGY, FORCES)) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
