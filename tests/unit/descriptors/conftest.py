# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fixtures for the descriptors' tests."""

import numpy as np
import pytest
from golden_data import read_golden
from surroundings import Golden, surroundings


@pytest.fixture
def golden():
    """A function that reads golden data, whose name is structure__descriptor."""

    def function(name):
        data = read_golden(f"descriptors/{name}")
        lists = np.split(data["neighbor_indices"], data["neighbor_offsets"][1:-1])
        centres = np.flatnonzero(data["particle_contributing"])
        return Golden(
            surroundings(data["coordinates"], data["species_codes"], centres, lists),
            tuple(data["species"].tolist()),
            float(data["cutoff"]),
            *(data[key] for key in ("descriptor", "weights", "vjp")),
        )

    return function
