# SPDX-License-Identifier: LGPL-2.1-or-later
"""The parameter file: published ones can be read, and every mistake is named with its place and what to do."""

import re

import pytest
from opening import read_parameter_file

from kim_torchml.errors import DriverError
from kim_torchml.inputs import FILE_FORMATS

# The parameter files of three published models, unchanged.
PUBLISHED_RAW = """\
# Num of elements
1
Si

# Preprocessing
None

# Influence Distance
3.77118

# Model name
SW_energy_and_forces.pt

# Return Forces
true

# Number of Inputs
5

# Name of descriptor if any
None
"""
PUBLISHED_DESCRIPTOR = """\
# Number of elements
1
Si

# Preprocessing kind
Descriptor

# Cutoff distance
3.0

# Model
model.pt

# Returns Forces
False
# Number of inputs
1

# Any descriptors?
SymmetryFunctions
"""
PUBLISHED_GRAPH = """\
# Num of elements
1
Si

# Preprocessing Number of Conv layers
Graph

# Cutoff Distance (Infl. dist = cutoff x n_conv_layers) and n_conv_layer
3.0
3

# Model name
model_exp.pt

# Return Forces
False

# Number of Inputs (n_conv_layers + other inputs)
# 3 conv layers  + 1 element embedding
6

# Name of descriptor if any
None"""
GRAPH = "2\nSi C\nGraph\n3.5\n2\nmodel.pt\nfalse\n5\nNone\n"
RAW = "1\nSi\nNone\n3.5\nmodel.pt\nfalse\n5\nNone\n"


def n_inputs_of(found):
    return FILE_FORMATS[found.kind].count_inputs(found.n_layers)


@pytest.fixture
def read(tmp_path):
    def function(text):
        path = tmp_path / "kim_model.param"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return read_parameter_file(path)

    return function


def test_published_raw(read):
    found = read(PUBLISHED_RAW)
    assert (found.species, found.kind, found.cutoff) == (("Si",), "None", 3.77118)
    assert (found.n_layers, found.model_file, found.returns_forces) == (1, "SW_energy_and_forces.pt", True)
    assert (n_inputs_of(found), found.descriptor) == (5, None)


def test_published_descriptor(read):
    found = read(PUBLISHED_DESCRIPTOR)
    assert (found.species, found.kind, found.cutoff) == (("Si",), "Descriptor", 3.0)
    assert (found.n_layers, found.model_file, found.returns_forces) == (1, "model.pt", False)
    assert (n_inputs_of(found), found.descriptor) == (1, "SymmetryFunctions")


def test_published_graph(read):
    found = read(PUBLISHED_GRAPH)
    assert (found.species, found.kind, found.cutoff) == (("Si",), "Graph", 3.0)
    assert (found.n_layers, found.model_file, found.returns_forces) == (3, "model_exp.pt", False)
    assert (n_inputs_of(found), found.descriptor) == (6, None)


@pytest.mark.parametrize("name", ["TorchMLModel1_SW", "TorchMLModel2_Desc", "TorchMLModel3_Graph"])
def test_the_texts_above_are_the_published_ones(name, shared):
    (path,) = (shared / "portable_models" / name).glob("*.param")
    text = {"1": PUBLISHED_RAW, "2": PUBLISHED_DESCRIPTOR, "3": PUBLISHED_GRAPH}[name[12]]
    assert path.read_text().rstrip() == text.rstrip()


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", " \t \n"),
        lambda text: text.replace("\n", "\n\n  \n"),
        lambda text: text.replace("\n", "\n# one\n   # two\n#\n"),
        lambda text: text.replace("\n", "   # what this is\n"),
        lambda text: "\n" + text.rstrip(),
        lambda text: text.replace("\n", "\r\n# Å\r\n\r\n"),
        lambda text: "  " + text.replace("\n", "\n\t"),
        lambda text: text.replace("Graph", "gRAPH").replace("false", "FALSE").replace("None", "none"),
        lambda text: text.replace("Si C", "Si\nC"),
        lambda text: text.replace("Si C", "Si \t C"),
        lambda text: text.removesuffix("None\n"),
    ],
    ids="crlf blanks empty comments tails ends all indented case lines tabs no_descriptor".split(),
)
def test_how_it_is_laid_out_does_not_matter(read, change):
    changed = change(GRAPH)
    assert changed != GRAPH
    assert read(changed) == read(GRAPH)
    assert read(GRAPH).species == ("Si", "C")


@pytest.mark.parametrize("word", ["true", "True", "TRUE"])
def test_true_in_any_case(read, word):
    assert read(RAW.replace("false", word)).returns_forces is True


@pytest.mark.parametrize("word", ["none", "None", "NONE"])
def test_preprocessing_in_any_case(read, word):
    assert read(RAW.replace("None", word)).kind == "None"


def test_a_byte_order_mark_is_no_value(read):
    assert read("\ufeff" + RAW).species == ("Si",)


def test_a_hash_within_a_name_is_part_of_it(read):
    assert read(RAW.replace("model.pt", "model#2.pt")).model_file == "model#2.pt"


def test_cutoff_in_scientific_notation(read):
    assert read(RAW.replace("3.5", "35.0e-1")).cutoff == 3.5


NAME = "`model file name` must be the name of a .pt file in the model's own folder, got "
COUNT = "`number of elements` must be a whole number, 1 or more, got "
SYMBOLS = "`element symbols` must be symbols of chemical elements, got "
MISTAKES = [
    # Each case: a text, what replaces it, the beginning of the message, the line, the advice.
    ("1\nSi", "one\nSi", COUNT + "'one'", 1, "give the number"),
    ("1\nSi", "0\nSi", COUNT + "'0'", 1, "give the number"),
    ("1\nSi", "-1\nSi", COUNT + "'-1'", 1, "give the number"),
    ("1\nSi", "1.0\nSi", COUNT + "'1.0'", 1, "give the number"),
    ("1\nSi", "٣\nSi", COUNT + "'٣'", 1, "give the number"),
    ("Si", "Sj", SYMBOLS + "'Sj'", 2, "correct the symbol"),
    ("Si", "si", SYMBOLS + "'si'", 2, "did you mean 'Si'?"),
    ("Si", "X1", SYMBOLS + "'X1'", 2, "correct the symbol"),
    ("1\nSi", "2\nSi", SYMBOLS + "'None'", 3, "correct the symbol"),
    ("Si", "Si C", "`element symbols` must be 1 symbols, as the number of elements says, got 'Si C'", 2, "correct"),
    ("1\nSi", "2\nSi Si", "`element symbols` must be different from each other, got 'Si'", 2, "name each element once"),
    ("None\n3.5", "Graf\n3.5", "`preprocessing` must be None, Descriptor or Graph, got 'Graf'", 3, "choose the kind"),
    ("3.5", "three", "`cutoff` must be a positive number (Å), got 'three'", 4, "give the model's cutoff"),
    ("3.5", "0", "`cutoff` must be a positive number (Å), got '0'", 4, "give the model's cutoff"),
    ("3.5", "-3.5", "`cutoff` must be a positive number (Å), got '-3.5'", 4, "give the model's cutoff"),
    ("3.5", "nan", "`cutoff` must be a positive number (Å), got 'nan'", 4, "give the model's cutoff"),
    ("3.5", "inf", "`cutoff` must be a positive number (Å), got 'inf'", 4, "give the model's cutoff"),
    ("3.5", "3.5 4.0", "`cutoff` must be a positive number (Å), got '3.5 4.0'", 4, "give the model's cutoff"),
    ("3.5", "3,5", "`cutoff` must be a positive number (Å), got '3,5'", 4, "give the model's cutoff"),
    ("3.5", "3_5", "`cutoff` must be a positive number (Å), got '3_5'", 4, "give the model's cutoff"),
    ("model.pt", "model.pt2", "`model file name` must be a TorchScript file (.pt), got 'model.pt2'", 5, "model.toml"),
    ("model.pt", "model.pth", NAME + "'model.pth'", 5, "give the name"),
    ("model.pt", ".pt", NAME + "'.pt'", 5, "give the name"),
    ("model.pt", "../x.pt", NAME + "'../x.pt'", 5, "without a folder"),
    ("model.pt", "/x.pt", NAME + "'/x.pt'", 5, "without a folder"),
    ("model.pt", "a\\x.pt", NAME + "'a\\x.pt'", 5, "without a folder"),
    ("model.pt", "a\0.pt", NAME + "'a\\x00.pt'", 5, "without a folder"),
    ("false", "no", "`returns forces` must be true or false, got 'no'", 6, "say whether the model itself"),
    ("5\nNone", "five\nNone", "`number of inputs` must be a whole number, 1 or more, got 'five'", 7, "give the number"),
    ("5\nNone", "6\nNone", "`number of inputs` must be 5 for the preprocessing None, got '6'", 7, "correct the number"),
    ("5\nNone", "4\nNone", "`number of inputs` must be 5 for the preprocessing None, got '4'", 7, "correct the number"),
    ("5\nNone", "5\nSOAP", "`descriptor` must be None for the preprocessing None, got 'SOAP'", 8, "write None"),
    ("5\nNone", "5\nNone\n7", "`end of file` must be reached after the descriptor's name, got '7'", 9, "remove"),
]


@pytest.mark.parametrize(("old", "new", "message", "line", "advice"), MISTAKES)
def test_mistakes(read, old, new, message, line, advice):
    assert RAW.count(old) == 1
    pattern = re.escape(message) + rf".* \(file kim_model\.param, line {line}\); .*" + re.escape(advice)
    with pytest.raises(DriverError, match="^" + pattern):
        read(RAW.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "message", "line"),
    [
        ("3.5\n2\n", "3.5\n0\n", "`number of layers` must be a whole number, 1 or more, got '0'", 5),
        ("3.5\n2\n", "3.5\n1\n", "`number of inputs` must be 4 for the preprocessing Graph with 1 layers, got '5'", 8),
        ("3.5\n2\n", "3.5\n3\n", "`number of inputs` must be 6 for the preprocessing Graph with 3 layers, got '5'", 8),
        ("3.5\n2\n", "3.5\n", "`number of layers` must be a whole number, 1 or more, got 'model.pt'", 5),
        ("\n5\n", "\n6\n", "`number of inputs` must be 5 for the preprocessing Graph with 2 layers, got '6'", 8),
        ("\n5\n", "\n4\n", "`number of inputs` must be 5 for the preprocessing Graph with 2 layers, got '4'", 8),
    ],
)
def test_mistakes_in_the_layers(read, old, new, message, line):
    assert GRAPH.count(old) == 1
    with pytest.raises(DriverError, match=re.escape(f"{message} (file kim_model.param, line {line}); ")):
        read(GRAPH.replace(old, new))


def test_lines_are_counted_with_comments_and_blank_lines(read):
    with pytest.raises(DriverError, match=r"got 'three' \(file kim_model\.param, line 9\)"):
        read(PUBLISHED_RAW.replace("3.77118", "three"))


@pytest.mark.parametrize(
    ("values", "missing"),
    list(
        enumerate(
            "number of elements,element symbols,preprocessing,cutoff,number of layers,model file name,returns forces,"
            "number of inputs".split(",")
        )
    ),
)
def test_a_file_that_ends_early(read, values, missing):
    text = "".join(line + "\n" for line in GRAPH.splitlines()[:values]) + "# the end\n"
    message = rf"^`{missing}` is missing \(file kim_model\.param, after line {values + 1}\): .*; add the missing line$"
    with pytest.raises(DriverError, match=message):
        read(text)


@pytest.mark.parametrize("end", ["None\n", ""])
def test_a_descriptor_model_names_its_descriptor(read, end):
    text = "1\nSi\nDescriptor\n3.5\nmodel.pt\nfalse\n1\n" + end
    with pytest.raises(
        DriverError, match=r"`descriptor` must be the name of one .* got 'None' \(file kim_model\.param, line \d"
    ):
        read(text)


def test_a_file_that_is_not_text(read):
    with pytest.raises(DriverError, match=r"cannot read the parameter file kim_model\.param: .*must be plain text"):
        read(b"1\nSi\xff\n")
