# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files of the bispectrum and of SOAP, in all layouts and with every contradiction."""

import re

import pytest
from descriptor_texts import (
    BISPECTRUM,
    FILE,
    ONE_SPECIES,
    SOAP,
    SOAP_WITHOUT_HEAD,
    TWO_SPECIES,
    read,
    read_one,
    refused,
)

from kim_torchml.errors import DriverError


def test_bispectrum():
    descriptor = read_one(ONE_SPECIES + BISPECTRUM.format(weights="1.0    "), "Bispectrum")
    parameters = descriptor.parameters
    assert (parameters.twojmax, parameters.rfac0, parameters.rmin0) == (4, 0.99363, 0.0)
    assert (parameters.diagonalstyle, parameters.switch_flag, parameters.bzero_flag) == (3, 1, 0)
    assert parameters.weights == (1.0,)
    assert parameters.cutoffs == ((3.0,),)


@pytest.mark.parametrize(("jmax", "twojmax"), [("3", 6), ("2.5", 5), ("1.0", 2), ("0", 0)])
def test_jmax_is_half_of_twojmax(jmax, twojmax):
    content = ONE_SPECIES + BISPECTRUM.format(weights="1.0").replace("jmax\n2", f"jmax\n{jmax}")
    assert read_one(content, "Bispectrum").parameters.twojmax == twojmax


@pytest.mark.parametrize(("switch", "bzero"), [("1", "0"), ("True", "False"), ("0", "1"), ("false", "TRUE")])
def test_flags_of_the_bispectrum(switch, bzero):
    content = BISPECTRUM.format(weights="1.0").replace("switch_flag\n1", f"switch_flag\n{switch}")
    content = content.replace("bzero_flag\n0", f"bzero_flag\n{bzero}")
    parameters = read_one(ONE_SPECIES + content, "Bispectrum").parameters
    assert parameters.switch_flag == (switch in ("1", "True"))
    assert parameters.bzero_flag == (bzero in ("1", "TRUE"))


@pytest.mark.parametrize(("species", "weights"), [(("C", "Si"), (1.0, 0.7)), (("Si", "C"), (0.7, 1.0))])
def test_weights_are_in_the_order_of_the_file(species, weights):
    content = TWO_SPECIES + BISPECTRUM.format(weights="1.0    0.7    ")
    descriptor = read_one(content, "Bispectrum", species, 3.4)
    assert descriptor.parameters.weights == weights
    assert descriptor.species == species


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "jmax\n2",
            "jmax\n2.3",
            "`jmax` must be 0, 0.5, 1, 1.5 or so on up to 10, got '2.3' (file descriptor.dat, line 13)",
        ),
        ("jmax\n2", "jmax\n-1", "`jmax` must be 0, 0.5, 1, 1.5 or so on up to 10, got '-1' (file descriptor.dat, line"),
        ("jmax\n2", "jmax\n99", "`jmax` must be 0, 0.5, 1, 1.5 or so on up to 10, got '99' (file descriptor.dat, line"),
        ("jmax\n2", "jmax\n1e300", "`jmax` must be 0, 0.5, 1, 1.5 or so on up to 10, got '1e300' (file descriptor.dat"),
        ("style\n3", "style\n4", "`diagonalstyle` must be 0, 1, 2 or 3, got '4' (file descriptor.dat, line 19)"),
        ("rmin0\n0", "rmin0\n3.0", "`rmin0` must be less than the smallest cutoff, 3 Å, got '3.0' (file descriptor"),
        (
            "flag\n1",
            "flag\n2",
            "`switch_flag` must be true or false, or 1 or 0, got '2' (file descriptor.dat, line 25)",
        ),
        ("1.0", "1.0  0.7", "`weights` must be one value on a line, got '1.0 0.7' (file descriptor.dat, line 31)"),
        ("1.0", "", "`weights` is missing (file descriptor.dat, after line 32): the file ends early; add what is"),
    ],
)
def test_bispectra_that_contradict(old, new, message):
    content = BISPECTRUM.format(weights="1.0").replace(old, new, 1)
    with pytest.raises(DriverError, match=f"^{re.escape(message)}") as refusal:
        read(ONE_SPECIES + content, "Bispectrum")
    assert FILE in str(refusal.value)


@pytest.mark.parametrize("species", [("Si", "C"), ("C", "Si")])
@pytest.mark.parametrize(
    "content",
    [
        TWO_SPECIES + SOAP.format(cutoff=3.4),
        SOAP_WITHOUT_HEAD.format(species="2\nSi C"),
        SOAP_WITHOUT_HEAD.format(species="2\nC Si"),
        SOAP_WITHOUT_HEAD.format(species="2\nC\nSi"),
        SOAP_WITHOUT_HEAD.format(species="2 C Si"),
    ],
)
def test_soap(content, species):
    parameters = read_one(content, "SOAP", species, 3.4).parameters
    assert (parameters.n_max, parameters.l_max, parameters.cutoff, parameters.eta) == (3, 2, 3.4, 0.5)
    assert parameters.radial_basis == "polynomial"
    assert parameters.species == species


@pytest.mark.parametrize("cutoff", [3.0, 3.4, 4.0])
def test_soap_has_a_cutoff_of_its_own(cutoff):
    """KLIFF writes 4.0 Å here whatever the cutoff of the pairs is, which decides which neighbours count."""
    descriptor = read_one(TWO_SPECIES + SOAP.format(cutoff=cutoff), "SOAP", ("Si", "C"), 3.4)
    assert (descriptor.cutoff, descriptor.parameters.cutoff, descriptor.parameters.neighbour_cutoff) == (
        3.4,
        cutoff,
        3.4,
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            TWO_SPECIES.replace("Si  Si  3.4", "Si  Si  3.0") + SOAP.format(cutoff=3.4),
            "`cutoff` must be 3.4 as on line 10, SOAP having one for all pairs of species, got '3.0' (file "
            "descriptor.dat, line 13); correct it, or refit the model with one cutoff",
        ),
        (
            TWO_SPECIES + SOAP.format(cutoff=1e50),
            "SOAP's `cutoff` must be from 0.01 to 1000 Å, got 1e+50 (file descriptor.dat)",
        ),
        (
            SOAP_WITHOUT_HEAD.format(species="2\nC Si").replace("3.4", "3.5"),
            "`cutoff` must be 3.4 Å, the parameter file's, where it is largest, got '3.5' (file descriptor.dat, line "
            "6); correct that of the two files that is wrong",
        ),
        (
            SOAP_WITHOUT_HEAD.format(species="2\nC Ge"),
            "`species` must be one of the parameter file's, Si C, got 'Ge' (file descriptor.dat, line 13); correct "
            "that of the two files that is wrong",
        ),
        (
            SOAP_WITHOUT_HEAD.format(species="2\nC C"),
            "`species` must be different from each other, got 'C' (file descriptor.dat, line 13); name each species "
            "once",
        ),
        (
            SOAP_WITHOUT_HEAD.format(species="1\nC"),
            "`number of species` must be 2, as in the parameter file (Si C), got '1' (file descriptor.dat, line 12); "
            "correct that of the two files that is wrong",
        ),
        (
            TWO_SPECIES + SOAP.format(cutoff=3.4).replace("polynomial", "gto"),
            "`radial_basis` must be polynomial, got 'gto' (file descriptor.dat, line 25); refit the model with it: "
            "there is no other",
        ),
        (
            TWO_SPECIES + SOAP.format(cutoff=3.4).replace("0.5", "0.0"),
            "`eta` must be above zero, got '0.0' (file descriptor.dat, line 28); correct the eta",
        ),
        (
            TWO_SPECIES + SOAP.format(cutoff=3.4).replace("n_max\n3", "n_max\n0"),
            "`n_max` must be a whole number, 1 or more, got '0' (file descriptor.dat, line 16); correct the n_max",
        ),
    ],
)
def test_soaps_that_contradict(content, message):
    refused(message, content, "SOAP", ("Si", "C"), 3.4)
