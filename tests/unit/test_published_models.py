# SPDX-License-Identifier: LGPL-2.1-or-later
"""The published portable models, unchanged, against results of an independent implementation."""

import numpy as np
import pytest
from golden_data import SI64, read_golden
from opening import compute
from particles import interleaved, owner_of_image, with_images

from kim_torchml.driver import open_model
from kim_torchml.errors import DriverError

REACH = {"TorchMLModel1_SW": 3.77118, "TorchMLModel2_Desc": 3.0, "TorchMLModel3_Graph": 9.0}


@pytest.fixture
def published(shared, monkeypatch, device):
    """Return a function that opens a published model with atomic numbers."""
    monkeypatch.setenv("KIM_MODEL_EXECUTION_DEVICE", str(device))
    monkeypatch.setenv("KIM_MODEL_ELEMENTS_MAP", "1")

    def function(name):
        folder = shared / "portable_models" / name
        model = open_model(str(folder), sorted(path.name for path in folder.iterdir()))
        model.prepare()
        return model

    return function


@pytest.mark.parametrize("mixed", [False, True], ids=["contributing first", "interleaved"])
@pytest.mark.parametrize("name", REACH)
def test_64_atoms_of_silicon(name, mixed, published):
    golden = read_golden(SI64)
    model = published(name)
    assert model.influence_distance == pytest.approx(REACH[name])
    positions, cell = golden["positions"], np.diag(golden["cell"])
    configuration = with_images(positions, cell, model.influence_distance)
    configuration = interleaved(configuration) if mixed else configuration
    found = compute(model, configuration, ["partialEnergy", "partialForces"])
    forces = np.zeros((64, 3))
    np.add.at(forces, owner_of_image(positions, configuration, cell), found["partialForces"])
    assert found["partialEnergy"][0] == pytest.approx(float(golden[f"{name}_energy"]), abs=1e-9)
    np.testing.assert_allclose(forces, golden[f"{name}_forces"], atol=1e-10, rtol=0)
    assert np.abs(forces).max() > 0.1


def test_a_model_for_atomic_numbers_without_them(shared, monkeypatch, published):
    monkeypatch.delenv("KIM_MODEL_ELEMENTS_MAP")
    model = published("TorchMLModel3_Graph")
    configuration = with_images(np.array([[0.0, 0, 0], [1.4, 1.3, 1.4]]), np.full(3, 8.0), model.influence_distance)
    with pytest.raises(DriverError, match=r"model_exp\.pt must be finite, got NaN.* set KIM_MODEL_ELEMENTS_MAP=1"):
        compute(model, configuration, ["partialEnergy"])
