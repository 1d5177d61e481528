# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files of symmetry functions, and what all descriptor files share, in every way to write them and contradict."""

import re

import pytest
from descriptor_texts import (
    FAMILIES,
    FILE,
    FUNCTIONS,
    NO_NORMALISATION,
    ONE_SPECIES,
    SYMMETRY_FUNCTIONS,
    all_ordered_pairs,
    head,
    read,
    read_one,
    refused,
)

from kim_torchml.descriptors import READERS
from kim_torchml.errors import DriverError


def test_the_published_model(shared):
    path = shared / "portable_models" / "TorchMLModel2_Desc" / "kim_descriptor.dat"
    descriptor = read_one(path.read_text())
    functions = descriptor.parameters.functions
    assert [family for family, _ in functions] == ["g2"] * 8 + ["g4"] * 43
    assert functions[1] == ("g2", (0.03571067672582813, 0.0))
    assert functions[8] == ("g4", (1.0, -1.0, 0.00035710676725828126))
    assert functions[50] == ("g4", (16.0, 1.0, 0.28568541380662504))
    assert (descriptor.width, descriptor.cutoff, descriptor.species) == (51, 3.0, ("Si",))


def test_symmetry_functions():
    parameters = read_one(SYMMETRY_FUNCTIONS).parameters
    assert parameters.functions == FUNCTIONS
    assert parameters.cutoffs == ((3.0,),)
    assert parameters.species == ("Si",)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "  \n"),
        lambda text: text.replace("    ", "\t"),
        lambda text: "".join(f"{line}  # remark\n\n" for line in text.splitlines()),
        lambda text: "\n".join(line for line in text.splitlines() if line and not line.startswith("#")),
        lambda text: text.replace("cos", "Cos").replace("g2", "G2").replace("False", "false"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace("center_and_normalize  False", ""),
        lambda text: text.replace("g1\n", "g1  1  0\n"),
        lambda text: text.replace("g1\n", "g1  1  1\n0.0\n"),
    ],
)
def test_ways_to_write_the_same(change):
    assert read_one(change(SYMMETRY_FUNCTIONS)).parameters.functions == FUNCTIONS


@pytest.mark.parametrize("separator", ["\x0c", "\x0b", "\x85", "\u2028", "\u2029", "\x1c"])
def test_only_line_ends_end_lines(separator):
    """Characters that only Python takes for the end of a line may be in a comment, and between numbers."""
    content = SYMMETRY_FUNCTIONS.replace("# eta  Rs", f"# eta{separator}Rs", 1).replace(
        "0.3    1.0", f"0.3{separator}1.0"
    )
    assert read_one(content).parameters.functions == FUNCTIONS
    refused_lines = content.replace("16    1    2e-1", "16    1    x")
    with pytest.raises(DriverError, match=r"`eta` must be a number, got 'x' \(file descriptor.dat, line 29\)"):
        read(refused_lines)


def test_lines_may_end_as_on_old_macintoshes():
    assert read_one(SYMMETRY_FUNCTIONS.replace("\n", "\r")).parameters.functions == FUNCTIONS


def test_a_family_may_come_twice():
    content = ONE_SPECIES + "2\ng2 1 2\n1 2\ng2 1 2\n3 4\n"
    assert read_one(content).parameters.functions == (("g2", (1.0, 2.0)), ("g2", (3.0, 4.0)))


@pytest.mark.parametrize("species", [("Si", "C"), ("C", "Si")])
@pytest.mark.parametrize(
    "pairs",
    [
        [("C", "C", 3.1), ("C", "Si", 3.2), ("Si", "C", 3.2), ("Si", "Si", 3.4)],
        [("Si", "C", "3.2000000e+00"), ("Si", "Si", 3.4), ("C", "C", 3.1), ("C", "Si", 3.2)],
        [("C", "C", 3.1), ("C", "Si", 3.2), ("Si", "Si", 3.4)],
        [("Si", "C", 3.2), ("C", "C", 3.1), ("Si", "Si", 3.4)],
    ],
)
def test_species_go_by_name(pairs, species):
    content = head(*pairs, n_species=2) + FAMILIES
    descriptor = read_one(content, species=species, cutoff=3.4)
    expected = {"C": {"C": 3.1, "Si": 3.2}, "Si": {"C": 3.2, "Si": 3.4}}
    assert descriptor.species == species
    assert descriptor.parameters.cutoffs == tuple(tuple(expected[i][j] for j in species) for i in species)
    assert descriptor.cutoff == 3.4


def test_cutoffs_are_equal_but_for_the_digits_written():
    assert read_one(all_ordered_pairs(["Si"], "2.9999999e+00") + FAMILIES).cutoff == 2.9999999


@pytest.mark.parametrize("name", ["SymmetryFunctions", "symmetryfunctions", "SYMMETRYFUNCTIONS"])
def test_names_in_any_case(name):
    assert read_one(SYMMETRY_FUNCTIONS, name).width == 7


def test_both_orders_of_a_pair_agree_but_for_the_digits_written():
    content = (
        head(("Si", "C", 3.2), ("C", "Si", 3.2000000001), ("Si", "Si", 3.0), ("C", "C", 3.0), n_species=2) + FAMILIES
    )
    assert read_one(content, species=("Si", "C"), cutoff=3.2).parameters.cutoffs == ((3.0, 3.2), (3.2, 3.0))


def test_unknown_descriptor():
    refused(
        "`descriptor` must be one that this version computes (SymmetryFunctions, Bispectrum, SOAP), got 'Xi'; correct "
        "the name in the parameter file, or update the driver when a version with it is out",
        "",
        "Xi",
    )
    assert list(READERS) == ["SymmetryFunctions", "Bispectrum", "SOAP"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "cos",
            "tanh",
            "`cutoff type` must be cos, the cosine cutoff, got 'tanh' (file descriptor.dat, line 5); refit the model "
            "with it: there is no other",
        ),
        (
            "1  # number",
            "2  # number",
            "`number of species` must be 1, as in the parameter file (Si), got '2' (file descriptor.dat, line 7); "
            "correct that of the two files that is wrong",
        ),
        (
            "1  # number",
            "one  # number",
            "`number of species` must be a whole number, 1 or more, got 'one' (file descriptor.dat, line 7); correct "
            "the number of species",
        ),
        (
            "Si  Si",
            "Si  Ge",
            "`species` must be one of the parameter file's, Si, got 'Ge' (file descriptor.dat, line 10); correct that "
            "of the two files that is wrong",
        ),
        (
            "Si  Si  3.0",
            "Si  Si",
            "`species pair` must be 3 values on a line, got 'Si Si' (file descriptor.dat, line 10); correct the line, "
            "or a number of lines above it",
        ),
        (
            "Si  Si  3.0",
            "",
            "`species pair` must be Si Si and their cutoff, which is missing, got '5' (file descriptor.dat, line 12); "
            "add the line",
        ),
        (
            "3.0",
            "3.1",
            "`cutoff` must be 3 Å, the parameter file's, where it is largest, got '3.1' (file descriptor.dat, line "
            "10); correct that of the two files that is wrong",
        ),
        (
            "3.0",
            "-3.0",
            "`cutoff` must be above zero, got '-3.0' (file descriptor.dat, line 10); correct the cutoff",
        ),
        (
            "5  # number",
            "4  # number",
            "`center_and_normalize` must be here, with True or False, after 6 columns, got 'g4 1 3' (file "
            "descriptor.dat, line 28); correct a number of lines above",
        ),
        (
            "5  # number",
            "6  # number",
            "`symmetry function type` must be one of g1, g2, g3, g4, g5, got 'center_and_normalize' (file "
            "descriptor.dat, line 34); correct the type, or a number of lines above it",
        ),
        (
            "g3    1    1",
            "g6    1    1",
            "`symmetry function type` must be one of g1, g2, g3, g4, g5, got 'g6' (file descriptor.dat, line 21); "
            "correct the type, or a number of lines above it",
        ),
        (
            "g5    2    3",
            "g5    3    3",
            "`g5` must be 3 rows of numbers, as line 24 says, got 'g4' (file descriptor.dat, line 28); correct the "
            "number, or add rows",
        ),
        (
            "g5    2    3",
            "g5    1    3",
            "`symmetry function type` must be one of g1, g2, g3, g4, g5, got '2' (file descriptor.dat, line 26); "
            "correct the type, or a number of lines above it",
        ),
        (
            "g5    2    3",
            "g5    2    2",
            "`g5 columns` must be 3 (zeta, lambda, eta), got '2' (file descriptor.dat, line 24); correct the number "
            "of columns",
        ),
        (
            "g5    2    3",
            "g5    2",
            "`g5` must be followed by its rows and columns, got 'g5' (file descriptor.dat, line 24); write them on "
            "the same line",
        ),
        (
            "2    1    0.03",
            "2    1",
            "`g5 row` must be 3 values on a line, got '2 1' (file descriptor.dat, line 26); correct the line, or a "
            "number of lines above it",
        ),
        (
            "2    1    0.03",
            "2    1    0_3",
            "`eta` must be a number, got '0_3' (file descriptor.dat, line 26); correct the eta",
        ),
        (
            "2    1    0.03",
            "0    1    0.03",
            "`zeta` must be above zero, got '0' (file descriptor.dat, line 26); correct the zeta",
        ),
        (
            "0.5 ",
            "nan ",
            "`kappa` must be a number, got 'nan' (file descriptor.dat, line 22); correct the kappa",
        ),
        (
            "0.5 ",
            "5D-1 ",
            "`kappa` must be a number, got '5D-1' (file descriptor.dat, line 22); correct the kappa",
        ),
        (
            "0.01    0.0",
            "inf    0.0",
            "`eta` must be a number, got 'inf' (file descriptor.dat, line 18); correct the eta",
        ),
        (
            "0.01    0.0",
            "0.01, 0.0",
            "`eta` must be a number, got '0.01,' (file descriptor.dat, line 18); correct the eta",
        ),
        (
            "0.01    0.0",
            "-0.01    0.0",
            "`eta` must be zero or more, got '-0.01' (file descriptor.dat, line 18); correct the eta",
        ),
        (
            "g3    1    1\n0.5 ",
            "g3    1    1\n#",
            "`g3` must be 1 row of numbers, as line 21 says, got 'g5' (file descriptor.dat, line 24); correct the "
            "number, or add rows",
        ),
        (
            "16    1    2e-1",
            "",
            "`g4` must be 1 row of numbers, as line 28 says, got 'center_and_normalize' (file descriptor.dat, line "
            "34); correct the number, or add rows",
        ),
        (
            "16    1    2e-1",
            "1e300    1    2e-1",
            "symmetry function 7, g4, must have a `zeta` above zero and at most 10000, got 1e+300; refit the model "
            "with another (file descriptor.dat)",
        ),
        (
            "g1\n",
            "g1  999999  0\n",
            "`g1 rows` must be 1, there being but one g1 for each cutoff, got '999999' (file descriptor.dat, line 15); "
            "write g1 once",
        ),
        (
            "0.5 ",
            "1e999 ",
            "`kappa` must be a number, got '1e999' (file descriptor.dat, line 22); correct the kappa",
        ),
        (
            "False",
            "Maybe",
            "`center_and_normalize` must be true or false, or 1 or 0, got 'Maybe' (file descriptor.dat, line 34); "
            "correct the center_and_normalize",
        ),
        (
            "False",
            "False\n7",
            "`end of file` must be here, got '7' (file descriptor.dat, line 35); remove the extra lines, or correct a "
            "number of lines above",
        ),
    ],
)
def test_symmetry_functions_that_contradict(old, new, message):
    content = SYMMETRY_FUNCTIONS.replace(old, new, 1)
    assert content != SYMMETRY_FUNCTIONS
    with pytest.raises(DriverError, match=f"^{re.escape(message)}"):
        read(content)


def test_files_that_end_early():
    lines = SYMMETRY_FUNCTIONS.splitlines()
    for n in range(lines.index(NO_NORMALISATION.splitlines()[0])):
        content = "\n".join(lines[:n])
        if "16    1" not in content:
            message = rf"is missing \(file {FILE}, after line {n}\): the file ends early; add what is missing$"
            with pytest.raises(DriverError, match=message):
                read(content)


def test_pairs_that_contradict():
    pairs = [("C", "C", 3.1), ("C", "Si", 3.2), ("Si", "C", 3.3), ("Si", "Si", 3.4)]
    refused(
        f"`cutoff` must be 3.2 as on line 11, got '3.3' (file {FILE}, line 12); give both orders of a pair one cutoff",
        head(*pairs, n_species=2) + FAMILIES,
        species=("Si", "C"),
        cutoff=3.4,
    )
    refused(
        f"`species pair` must be Si C and their cutoff, which is missing, got '5' (file {FILE}, line 13); add the line",
        head(pairs[0], pairs[3], n_species=2) + FAMILIES,
        species=("Si", "C"),
        cutoff=3.4,
    )
