# SPDX-License-Identifier: LGPL-2.1-or-later
"""Outputs in the simulator's units. tests/integration/test_kim_units.py tests KIM's own factors, through KIM."""

import numpy as np
import pytest
from models import PairOfAll, script_bytes
from opening import SHAPES, compute, parameter_text
from particles import cluster, interleaved

from kim_torchml.driver import open_model
from kim_torchml.errors import DriverError

POWERS = {
    "partialEnergy": (1, 0),
    "partialForces": (1, -1),
    "partialParticleEnergy": (1, 0),
    "partialVirial": (1, 0),
}


def test_outputs_are_in_the_units_of_the_simulator(tmp_path):
    (tmp_path / "model.pt").write_bytes(script_bytes(PairOfAll))
    (tmp_path / "kim.param").write_text(parameter_text())
    length, energy = 0.1, 96.485
    models = [
        open_model(str(tmp_path), ["kim.param", "model.pt"], **units)
        for units in ({}, {"energy": energy, "force": energy / length})
    ]
    configuration = interleaved(cluster(9, 3.0, n_contributing=6))
    for model in models:
        assert model.prepare() == set(POWERS)
    plain, converted = (compute(model, configuration, list(POWERS)) for model in models)
    assert set(SHAPES) - set(POWERS) == {"partialParticleVirial"}
    for name, (of_energy, of_length) in POWERS.items():
        expected = plain[name] * energy**of_energy * length**of_length
        np.testing.assert_allclose(converted[name], expected, rtol=1e-14, err_msg=name)


def test_numbers_that_are_too_large_in_the_units_of_the_simulator(tmp_path):
    (tmp_path / "model.pt").write_bytes(script_bytes(PairOfAll))
    (tmp_path / "kim.param").write_text(parameter_text())
    model = open_model(str(tmp_path), ["kim.param", "model.pt"], energy=1e308, force=1.0)
    model.prepare()
    configuration = cluster(9, 3.0)
    arrays = {name: np.full(SHAPES[name](9), 5.0) for name in ("partialForces", "partialEnergy")}
    arguments = (configuration.coordinates, configuration.species_codes, configuration.contributing)
    with pytest.raises(DriverError, match=r"^the partialEnergy of the model in model\.pt must be finite, got infinity"):
        model.compute(*arguments, configuration.neighbours(), arrays)
    assert all((array == 5.0).all() for array in arrays.values())
