# SPDX-License-Identifier: LGPL-2.1-or-later
"""The golden data are there, all of them are used, and they are bit for bit the files that they were made from."""

import numpy as np
import pytest
from golden_data import GOLDEN, read_golden

NAMES = sorted(str(path.relative_to(GOLDEN).with_suffix("")) for path in GOLDEN.glob("*/*.json"))
STRUCTURES = ("si8_periodic", "sic8_periodic", "sic32_cluster")
DESCRIPTORS = (
    *("symmetry_functions_g1g2g3", "symmetry_functions_g2g4", "symmetry_functions_g5"),
    *("bispectrum_2jmax4", "bispectrum_2jmax6", "bispectrum_2jmax4_diag0_noswitch"),
    *("soap_n3_l3", "soap_n4_l2_eta0.5"),
)


def test_every_structure_has_every_descriptor():
    expected = [f"descriptors/{structure}__{descriptor}" for structure in STRUCTURES for descriptor in DESCRIPTORS]
    assert sorted([*expected, "portable_models/si64"]) == NAMES


@pytest.mark.parametrize("structure", STRUCTURES)
def test_periodic_structures_interleave_contributing_and_other_particles(structure):
    contributing = read_golden(f"descriptors/{structure}__soap_n3_l3")["particle_contributing"]
    if structure.endswith("_periodic"):
        assert contributing.sum() == 8 < len(contributing)
        assert not contributing[:8].all()
    else:
        assert contributing.all()


def test_the_files_hold_the_numbers_of_the_originals(shared):
    for name in NAMES:
        found = read_golden(name)
        with np.load(shared / "golden" / f"{name}.npz") as originals:
            assert set(found) == set(originals)
            for key, original in originals.items():
                np.testing.assert_array_equal(found[key], original, err_msg=f"{name}: {key}")
