# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fixtures for the descriptors' tests."""

import numpy as np
import pytest
from surroundings import Golden, surroundings


@pytest.fixture
def golden(shared):
    """A function that reads golden data, whose name is structure__descriptor."""

    def function(name):
        path = shared / "golden" / "descriptors" / f"{name}.npz"
        if not path.is_file():
            pytest.skip(f"there are no golden data {path}")
        with np.load(path) as data:
            lists = np.split(data["neighbor_indices"], data["neighbor_offsets"][1:-1])
            return Golden(
                surroundings(
                    data["coordinates"], data["species_codes"], np.flatnonzero(data["particle_contributing"]), lists
                ),
                tuple(data["species"].tolist()),
                float(data["cutoff"]),
                *(data[key] for key in ("descriptor", "weights", "vjp")),
            )

    return function
