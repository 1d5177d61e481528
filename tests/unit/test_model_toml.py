# SPDX-License-Identifier: LGPL-2.1-or-later
"""model.toml: files of every kind can be read, and every mistake is named with its key and what to do."""

import re

import pytest

from kim_torchml.errors import DriverError
from kim_torchml.inputs import FILE_FORMATS
from kim_torchml.model_files.description import Limits, ModelDescription
from kim_torchml.model_files.model_toml import parse_model_toml

DIGEST = "0123456789abcdef" * 4
EDGES = f"""\
# Anything may be said here.
format = 2

[model]
file = "model.pt"
sha256 = "{DIGEST}"
kind = "edges"
dtype = "float32"
species = ["H", "O"]
species_as = "codes"
cutoff = 5.0
layers = 3
energy = "per particle"
returns_forces = false
where = "store"

[parameters]
scale = "factor of all energies"
"layers.0.weight" = ""

[limits]
smallest_distance = 0.7
most_neighbours = 120
stop = true

[about]
title = "Water"
authors = ["Ada Lovelace", "Emmy Noether"]
doi = "10.1000/1"
licence = "CC0"
description = "Two lines,\\nin quotes: \\"Å\\""
trained_on = "ice"

[made_with]
torch = "2.13.0"
"kim-torchml" = "0.2.0"
"""
NONE = f"""\
format = 2
[model]
file = "model.pt"
sha256 = "{DIGEST}"
kind = "none"
dtype = "float64"
species = ["Si"]
species_as = "codes"
cutoff = 4
energy = "total"
returns_forces = true
"""
GRAPH = NONE.replace('"none"', '"graph"') + "layers = 2\n"
DESCRIPTOR = NONE.replace('"none"', '"descriptor"') + '[descriptor]\nname = "soap"\nfile = "soap.dat"\n'
TEXTS = {"none": NONE, "graph": GRAPH, "descriptor": DESCRIPTOR, "edges": EDGES}
ALWAYS = "file sha256 kind dtype species species_as cutoff energy returns_forces".split()


def read(text):
    return parse_model_toml(text.encode() if isinstance(text, str) else text, "model.toml", FILE_FORMATS)


def changed(old, new, text=EDGES):
    assert text.count(old) == 1
    return text.replace(old, new)


def error_of(text):
    with pytest.raises(DriverError) as raised:
        read(text)
    message = str(raised.value)
    assert message.isprintable()
    assert "model.toml" in message
    assert len(message) < 500
    return message


def test_everything_that_can_be_said():
    assert read(EDGES) == ModelDescription(
        file_name="model.toml",
        format=2,
        model_file="model.pt",
        sha256=DIGEST,
        kind="Edges",
        dtype="float32",
        species=("H", "O"),
        atomic_numbers=False,
        cutoff=5.0,
        n_layers=3,
        has_layers=True,
        energy_per_particle=True,
        returns_forces=False,
        in_store=True,
        inputs_stated='model.toml says (kind = "edges")',
        returns_stated="model.toml says (returns_forces = false)",
        coding_advice='write species_as = "atomic numbers" in model.toml',
        parameters={"scale": "factor of all energies", "layers.0.weight": ""},
        limits=Limits(0.7, 120, stop=True),
        about={
            "title": "Water",
            "authors": ["Ada Lovelace", "Emmy Noether"],
            "doi": "10.1000/1",
            "licence": "CC0",
            "description": 'Two lines,\nin quotes: "Å"',
            "trained_on": "ice",
        },
        made_with={"torch": "2.13.0", "kim-torchml": "0.2.0"},
    )


def test_what_need_not_be_said():
    found = read(NONE)
    assert (found.kind, found.cutoff, found.n_layers, found.has_layers) == ("None", 4.0, 1, False)
    assert (found.energy_per_particle, found.returns_forces, found.in_store) == (False, True, False)
    assert (found.descriptor, found.descriptor_file, found.limits) == (None, None, None)
    # No tensor is published unless the file names it.
    assert (found.parameters, found.about, found.made_with) == ({}, {}, {})


def test_the_other_kinds():
    found = read(GRAPH)
    assert (found.kind, found.n_layers, found.has_layers) == ("Graph", 2, True)
    assert found.inputs_stated == 'model.toml says (kind = "graph", layers = 2)'
    found = read(DESCRIPTOR)
    assert (found.kind, found.descriptor, found.descriptor_file) == ("Descriptor", "soap", "soap.dat")
    assert found.coding_advice == ""


@pytest.mark.parametrize("word", ["codes", "atomic numbers"])
def test_species_as(word):
    assert read(changed('"codes"', f'"{word}"')).atomic_numbers == (word == "atomic numbers")


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_floating_types(dtype):
    assert read(changed('"float32"', f'"{dtype}"')).dtype == dtype


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "   # note\n"),
        lambda text: text.replace(DIGEST, DIGEST.upper()),
        lambda text: text.replace("5.0", "5").replace("120", "0x78"),
        lambda text: text.replace("5.0", "50e-1"),
        lambda text: text.replace('"model.pt"', "'model.pt'").replace("layers = 3", '"layers" = 3'),
        lambda text: text.replace('"layers.0.weight"', "'layers.0.weight'"),
    ],
    ids="crlf mark comments digits whole exponent quotes keys".split(),
)
def test_how_it_is_written_does_not_matter(change):
    assert change(EDGES) != EDGES
    assert read(change(EDGES)) == read(EDGES)


def without(key, text, count=1):
    """Return a text without the lines of a key, by default without the first."""
    shorter = re.sub(rf"^{key} = .*\n", "", text, count=count, flags=re.MULTILINE)
    assert shorter != text
    return shorter


@pytest.mark.parametrize(
    ("kind", "key"), [*((kind, key) for kind in TEXTS for key in ALWAYS), ("graph", "layers"), ("edges", "layers")]
)
def test_keys_that_are_missing(kind, key):
    message = rf"^`{key}` in \[model\] is missing \(file model\.toml\): it must be .+; .+"
    assert re.match(message, error_of(without(key, TEXTS[kind])))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "",
            "`format` is missing (file model.toml): it must be 2; write format = 2, or update kim-torchml for a newer",
        ),
        ("format = 2\n", "`model` is missing (file model.toml): it must be a table, [model]; write the line [model]"),
        (
            NONE.replace('"none"', '"descriptor"'),
            "`descriptor` is missing (file model.toml): it must be a table, [descriptor]; write the line [descriptor]",
        ),
        (without("name", DESCRIPTOR), "`name` in [descriptor] is missing (file model.toml): it must be the name of a"),
        (
            DESCRIPTOR.replace('file = "soap.dat"\n', ""),
            "`file` in [descriptor] is missing (file model.toml): it must be the name of a file in the model's own",
        ),
    ],
)
def test_what_else_is_missing(text, message):
    assert error_of(text).startswith(message)


MODEL_KEYS = "file, sha256, kind, dtype, species, species_as, cutoff, layers, energy, returns_forces, where"
ABOUT = "title, doi, licence, description, trained_on, authors"
LIMITS = "smallest_distance, most_neighbours, stop"
UNKNOWN = [
    # Each case: a text, what replaces it, the table, the known keys, what was found, the advice.
    ("cutoff", "cutof", "model", MODEL_KEYS, "cutof", "did you mean `cutoff`?"),
    ("species =", "elements =", "model", MODEL_KEYS, "elements", "remove it"),
    ("species_as", "speces_As", "model", MODEL_KEYS, "speces_As", "did you mean `species_as`?"),
    ("sha256", "SHA256", "model", MODEL_KEYS, "SHA256", "did you mean `sha256`?"),
    ("stop", "stops", "limits", LIMITS, "stops", "did you mean `stop`?"),
    ("most_neigh", "most_neig", "limits", LIMITS, "most_neigbours", "did you mean `most_neighbours`?"),
    ("trained_on", "colour", "about", ABOUT, "colour", "remove it"),
    ("licence", "license", "about", ABOUT, "license", "`licence`?"),
]


@pytest.mark.parametrize(("old", "new", "table", "known", "found", "advice"), UNKNOWN)
def test_keys_that_are_unknown(old, new, table, known, found, advice):
    message = error_of(changed(old, new))
    assert message.startswith(f"the keys in [{table}] must be among {known}, got `{found}` (file model.toml); ")
    assert message.endswith(advice)


@pytest.mark.parametrize(
    ("text", "found", "advice"),
    [
        (EDGES.replace("[limits]", "[limit]"), "limit", "did you mean `limits`?"),
        (EDGES.replace("[made_with]", "[made-with]"), "made-with", "did you mean `made_with`?"),
        (EDGES.replace("format = 2", 'format = 2\nfile = "x"'), "file", "remove it"),
        (NONE + "[" + "x" * 5000 + "]\n", "x" * 60 + " ...", "remove it"),
    ],
)
def test_tables_that_are_unknown(text, found, advice):
    expected = "format, model, descriptor, parameters, limits, about, made_with"
    assert error_of(text) == f"the keys must be among {expected}, got `{found}` (file model.toml); {advice}"


def test_an_unknown_key_of_the_descriptor():
    text = DESCRIPTOR + "width = 3\n"
    assert error_of(text) == (
        "the keys in [descriptor] must be among name, file, got `width` (file model.toml); remove it"
    )


def test_a_newer_format_is_not_called_a_file_of_unknown_keys():
    assert error_of(EDGES.replace("format = 2", "format = 3\nshape = 1")) == (
        "`format` must be 2, got 3 (file model.toml); write format = 2, or update kim-torchml for a newer one"
    )


@pytest.mark.parametrize("kind", ["none", "graph", "descriptor"])
def test_programs_of_torch_export_are_of_the_kind_edges(kind):
    assert error_of(TEXTS[kind].replace("model.pt", "model.pt2")) == (
        f'`file` in [model] must be a TorchScript file (.pt) for the kind {kind}, got "model.pt2" (file model.toml); '
        "export the model as one of the kind edges, or save it with torch.jit.script(...).save(...)"
    )
    assert read(EDGES.replace("model.pt", "model.pt2")).model_file == "model.pt2"


FILE = "`file` in [model] must be the name of a .pt or .pt2 file in the model's own folder, got "
KIND = '`kind` in [model] must be "none", "descriptor", "graph" or "edges", got '
DTYPE = '`dtype` in [model] must be "float64", "float32", "float16" or "bfloat16", got '
SYMBOLS = "`species` in [model] must be symbols of chemical elements, in the order of their codes, got "
AS = '`species_as` in [model] must be "codes" or "atomic numbers", got '
CUTOFF = "`cutoff` in [model] must be a number from 0.001 to 1000000 (Å), got "
LAYERS = "`layers` in [model] must be a whole number from 1 to 1000, got "
NEIGHBOURS = "`most_neighbours` in [limits] must be a whole number from 1 to 1000000, got "
DISTANCE = "`smallest_distance` in [limits] must be a number from 0.001 to the cutoff, 5 (Å), got "
DATE = "1979-05-27T07:32:00Z"
MISTAKES = [
    # Each case: a text, what replaces it, the beginning of the message, the advice.
    ("format = 2", "format = 1", "`format` must be 2, got 1", "write format = 2, or update"),
    ("format = 2", "format = 2.0", "`format` must be 2, got 2.0", "write format = 2"),
    ("format = 2", "format = true", "`format` must be 2, got true", "write format = 2"),
    ("format = 2", 'format = "2"', '`format` must be 2, got "2"', "write format = 2"),
    ('"model.pt"', '"model.pth"', FILE + '"model.pth"', "give the name alone, without a folder"),
    ('"model.pt"', '"sub/model.pt"', FILE + '"sub/model.pt"', "give the name alone"),
    ('"model.pt"', '"../model.pt"', FILE + '"../model.pt"', "give the name alone"),
    ('"model.pt"', '"/model.pt"', FILE + '"/model.pt"', "give the name alone"),
    ('"model.pt"', "'sub\\model.pt'", FILE + '"sub\\model.pt"', "give the name alone"),
    ('"model.pt"', '"a\\u0000.pt"', FILE + '"a\\x00.pt"', "give the name alone"),
    ('"model.pt"', '".pt"', FILE + '".pt"', "give the name alone"),
    ('"model.pt"', '".."', FILE + '".."', "give the name alone"),
    ('"model.pt"', '""', FILE + '""', "give the name alone"),
    ('"model.pt"', f'"{"x" * 5000}.pt"', FILE + f'"{"x" * 60} ..."', "give the name alone"),
    ('"model.pt"', "7", FILE + "7", "give the name alone"),
    ('"model.pt"', '".pt2"', FILE + '".pt2"', "give the name alone"),
    ('"model.pt"', '"model.pt3"', FILE + '"model.pt3"', "give the name alone"),
    (DIGEST, DIGEST[1:], "`sha256` in [model] must be 64 hexadecimal digits, got ", "sha256sum"),
    (DIGEST, DIGEST + "0", "`sha256` in [model] must be 64 hexadecimal digits, got ", "sha256sum"),
    (DIGEST, "g" + DIGEST[1:], "`sha256` in [model] must be 64 hexadecimal digits, got ", "sha256sum"),
    (DIGEST, "٣" + DIGEST[1:], "`sha256` in [model] must be 64 hexadecimal digits, got ", "sha256sum"),
    (f'"{DIGEST}"', "12", "`sha256` in [model] must be 64 hexadecimal digits, got 12", "sha256sum"),
    ('"edges"', '"Edges"', KIND + '"Edges"', "name the kind that the model was made for"),
    ('"edges"', '"graf"', KIND + '"graf"', "name the kind"),
    ('"edges"', '["edges"]', KIND + '["edges"]', "name the kind"),
    ('"float32"', '"float"', DTYPE + '"float"', "name the floating type of the model's inputs"),
    ('"float32"', '"torch.float32"', DTYPE + '"torch.float32"', "name the floating type"),
    ('"float32"', "32", DTYPE + "32", "name the floating type"),
    ('["H", "O"]', '"H"', SYMBOLS + '"H"', 'such as species = ["H", "O"]'),
    ('["H", "O"]', "[]", SYMBOLS + "[]", 'such as species = ["H", "O"]'),
    ('["H", "O"]', '["H", 8]', SYMBOLS + '["H", 8]', 'such as species = ["H", "O"]'),
    ('["H", "O"]', '["H", "si"]', SYMBOLS + '"si"', "correct the symbol; did you mean 'Si'?"),
    ('["H", "O"]', '["H", "O "]', SYMBOLS + '"O "', "correct the symbol; did you mean 'O'?"),
    ('["H", "O"]', '["H", "Xx"]', SYMBOLS + '"Xx"', "correct the symbol"),
    ('["H", "O"]', '["H", "O", "H"]', '`species` in [model] must be different from each other, got "H"', "once"),
    ('"codes"', '"numbers"', AS + '"numbers"', "say what the model gets as species"),
    ('"codes"', "true", AS + "true", "say what the model gets as species"),
    ("5.0", '"5.0"', CUTOFF + '"5.0"', "give the model's cutoff"),
    ("5.0", "0", CUTOFF + "0", "give the model's cutoff"),
    ("5.0", "-5.0", CUTOFF + "-5.0", "give the model's cutoff"),
    ("5.0", "nan", CUTOFF + "nan", "give the model's cutoff"),
    ("5.0", "-inf", CUTOFF + "-inf", "give the model's cutoff"),
    ("5.0", "1e400", CUTOFF + "inf", "give the model's cutoff"),
    ("5.0", "1e-400", CUTOFF + "0.0", "give the model's cutoff"),
    ("5.0", "1" + "0" * 400, CUTOFF + "an integer of many digits", "give the model's cutoff"),
    ("5.0", "0x" + "f" * 6000, CUTOFF + "an integer of many digits", "give the model's cutoff"),
    ("5.0", "true", CUTOFF + "true", "give the model's cutoff"),
    ("5.0", DATE, CUTOFF + "a date or time", "give the model's cutoff"),
    ("5.0", "[5.0, 6.0]", CUTOFF + "[5.0, 6.0]", "give the model's cutoff"),
    ("5.0", "{ a = 5.0 }", CUTOFF + "a table", "give the model's cutoff"),
    ("layers = 3", "layers = 0", LAYERS + "0", "give the number of message-passing layers; 1 is strictly local"),
    ("layers = 3", "layers = -1", LAYERS + "-1", "give the number of message-passing layers"),
    ("layers = 3", "layers = 3.0", LAYERS + "3.0", "give the number of message-passing layers"),
    ("layers = 3", "layers = 1001", LAYERS + "1001", "give the number of message-passing layers"),
    ("layers = 3", "layers = " + "9" * 400, LAYERS + "an integer of many digits", "give the number"),
    ("layers = 3", "layers = true", LAYERS + "true", "give the number of message-passing layers"),
    (
        '"per particle"',
        '"total"',
        '`energy` in [model] must be "per particle" for the kind edges, got "total"',
        "each row",
    ),
    ('"per particle"', '"all"', '`energy` in [model] must be "per particle" or "total", got "all"', "say what"),
    ("returns_forces = false", "returns_forces = 0", "`returns_forces` in [model] must be true or false, got 0", "say"),
    (
        "returns_forces = false",
        "returns_forces = true",
        "`returns_forces` in [model] must be false for the kind edges, got true",
        "let the model return energies: forces come from them",
    ),
    ('"store"', '"shop"', '`where` in [model] must be "folder" or "store", got "shop"', "say where the model file is"),
    ("[parameters]", "[[parameters]]", "`parameters` must be a table, [parameters], got an array", "below it"),
    (
        '"layers.0.weight"',
        "layers.0.weight",
        "`layers` in [parameters] must be a description of the parameter, got a table",
        "a name with dots stands in quotes",
    ),
    ("0.7", "0.0", DISTANCE + "0.0", "give a distance of two particles"),
    ("0.7", "5.1", DISTANCE + "5.1", "give a distance of two particles"),
    ("0.7", "nan", DISTANCE + "nan", "give a distance of two particles"),
    ("120", "0", NEIGHBOURS + "0", "give a number of neighbours within the cutoff"),
    ("120", "1.5", NEIGHBOURS + "1.5", "give a number of neighbours"),
    ("stop = true", 'stop = "yes"', '`stop` in [limits] must be true or false, got "yes"', "say whether"),
    ('"Water"', "3", "`title` in [about] must be a text, got 3", "correct or remove it"),
    ('"Water"', '" "', '`title` in [about] must be a text, got " "', "correct or remove it"),
    (
        '["Ada Lovelace", "Emmy Noether"]',
        '"Ada Lovelace"',
        '`authors` in [about] must be an array of names, got "Ada Lovelace"',
        'such as authors = ["Marie Curie"]',
    ),
    ('torch = "2.13.0"', "torch = 2.13", "`torch` in [made_with] must be a version, as text, got 2.13", "such as"),
    ('torch = "2.13.0"', "x" * 5000 + " = 2", f"`{'x' * 60} ...` in [made_with] must be a version, as text", "such as"),
    ("scale =", "x" * 5000 + " = 2\nscale =", f"`{'x' * 60} ...` in [parameters] must be a description", "quotes"),
]


@pytest.mark.parametrize(("old", "new", "message", "advice"), MISTAKES)
def test_mistakes(old, new, message, advice):
    found = error_of(changed(old, new))
    assert found.startswith(message)
    place, _, told = found.partition(" (file model.toml); ")
    assert place
    assert advice in told


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (NONE + "layers = 1\n", "`layers` in [model] must be left out for the kind none, got 1"),
        (
            DESCRIPTOR.replace("[descriptor]", "layers = 1\n[descriptor]"),
            "`layers` in [model] must be left out for the kind descriptor, got 1",
        ),
        (GRAPH.replace("layers = 2", "layers = 0"), LAYERS + "0"),
        (GRAPH + '[descriptor]\nname = "soap"\n', "`descriptor` must be left out for the kind graph, got a table"),
        (
            DESCRIPTOR.replace('"codes"', '"atomic numbers"'),
            '`species_as` in [model] must be "codes" for the kind descriptor, got "atomic numbers"',
        ),
        (DESCRIPTOR.replace('"soap"', '""'), '`name` in [descriptor] must be the name of a descriptor, got ""'),
        (
            DESCRIPTOR.replace('"soap.dat"', '"../soap.dat"'),
            '`file` in [descriptor] must be the name of a file in the model\'s own folder, got "../soap.dat"',
        ),
        (DESCRIPTOR.replace('"soap.dat"', '".."'), "`file` in [descriptor] must be the name of a file"),
        (NONE + "[limits]\n", "`limits` must be a table with smallest_distance or most_neighbours, got a table"),
        (NONE + "[limits]\nstop = true\n", "`limits` must be a table with smallest_distance or most_neighbours"),
        ("format = 2\nmodel = 3\n", "`model` must be a table, [model], got 3"),
    ],
)
def test_mistakes_in_other_kinds(text, message):
    assert error_of(text).startswith(message)
