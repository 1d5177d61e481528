# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is found out of a network of any family before it is exported."""

import pytest
import torch
from trapped import Sound

from kim_torchml.errors import DriverError
from kim_torchml.tools.convert.network_checks import check_runs, floating_type_of


def test_the_floating_type_is_the_only_one():
    codes = torch.zeros(2, dtype=torch.int64)
    assert floating_type_of([codes, torch.zeros(2, dtype=torch.float32)]) == torch.float32
    with pytest.raises(DriverError, match="must be of one type, float32 or float64, got float32, float64; say --dtype"):
        floating_type_of([torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float32)])
    with pytest.raises(DriverError, match="must be of one type, float32 or float64, got none"):
        floating_type_of([codes])
    with pytest.raises(DriverError, match="float32 or float64, got float16; say --dtype"):
        floating_type_of([torch.zeros(1, dtype=torch.float16)])


class Charged(Sound):
    """Needs what the kind edges does not have."""

    def forward(self, species, edge_index, edge_vectors):
        return {"species": species}["total_charge"]


class OfAnotherVersion(Sound):
    """Lacks an attribute, as an object does that another version of its class has saved."""

    def forward(self, species, edge_index, edge_vectors):
        return self.radial_type


def test_a_network_runs_with_species_and_edges_alone():
    check_runs(Sound(), torch.float64, "numpy")
    with pytest.raises(DriverError, match="needs 'total_charge' beside species and edges"):
        check_runs(Charged(), torch.float64, "numpy")
    with pytest.raises(
        DriverError, match=r"does not run with numpy \d.*no attribute 'radial_type'.*; install the vers"
    ):
        check_runs(OfAnotherVersion(), torch.float64, "numpy")
