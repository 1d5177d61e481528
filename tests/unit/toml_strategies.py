# SPDX-License-Identifier: LGPL-2.1-or-later
"""Strategies of hypothesis: descriptions of models as model.toml gives them, and TOML that may be anything."""

import json
import re

from file_strategies import ELEMENTS, FILE_NAMES
from hypothesis import strategies as st

from kim_torchml.inputs import FILE_FORMATS
from kim_torchml.model_files.description import Limits, ModelDescription

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
TEXT = ANY_TEXT.filter(str.strip)
KEYS = st.one_of(
    ANY_TEXT, st.sampled_from(["weight", "layers.0.weight", "kim-torchml", "", ".", '"', "\\", "é", "a\nb"])
)


@st.composite
def limits(draw, cutoff):
    distance = draw(st.one_of(st.just(0.0), st.floats(1e-3, cutoff)))
    most = draw(st.one_of(st.none(), st.integers(1, 10**6)) if distance else st.integers(1, 10**6))
    return Limits(distance, most, draw(st.booleans()))


@st.composite
def descriptions(draw, digest, model_files=FILE_NAMES, descriptor_files=FILE_NAMES):
    """Draw a description; what it says for messages alone is left out."""
    kind = draw(st.sampled_from(list(FILE_FORMATS)))
    known = FILE_FORMATS[kind]
    cutoff = draw(st.floats(1e-3, 1e6))
    about = st.fixed_dictionaries(
        {}, optional=dict.fromkeys(["title", "doi", "licence", "description", "trained_on"], TEXT)
    )
    authors = st.one_of(st.just({}), st.fixed_dictionaries({"authors": st.lists(ANY_TEXT, min_size=1, max_size=3)}))
    return ModelDescription(
        file_name="model.toml",
        format=2,
        model_file=draw(model_files),
        sha256=digest,
        kind=kind,
        dtype=draw(st.sampled_from(["float64", "float32", "float16", "bfloat16"])),
        species=draw(ELEMENTS),
        atomic_numbers=draw(st.booleans()) and not known.names_descriptor,
        cutoff=cutoff,
        n_layers=draw(st.integers(1, 1000)) if known.has_layers else 1,
        has_layers=known.has_layers,
        energy_per_particle=draw(st.booleans()) or known.one_energy_per_row,
        returns_forces=draw(st.booleans()) and not known.one_energy_per_row,
        in_store=draw(st.booleans()),
        inputs_stated="",
        returns_stated="",
        coding_advice="",
        descriptor=draw(st.one_of(TEXT, st.just("SymmetryFunctions"))) if known.names_descriptor else None,
        descriptor_file=draw(descriptor_files) if known.names_descriptor else None,
        parameters=draw(st.dictionaries(KEYS, ANY_TEXT, max_size=2)),
        limits=draw(st.one_of(st.none(), limits(cutoff))),
        about=draw(about) | draw(authors),
        made_with=draw(st.dictionaries(KEYS, TEXT, max_size=2)),
    )


VALUES = st.one_of(
    st.sampled_from(
        [
            *'0 1 -1 2 3.0 1e400 -0.0 inf -inf nan 0x10 0b1 1_000 1e-400 true false \' " """ #'.split(),
            *"[] [[]] {} [1,2] [nan] [{a=1}] {a={b=[1,{c=2}]}} {a.b=1}".split(),
            *"1979-05-27 07:32:00 1979-05-27T07:32:00Z 1979-05-27T07:32:00+25:00".split(),
            *('"edges"', '"none"', '"total"', '"codes"', '"../x.pt"', '"/etc/passwd"', '".."', '"store"', "'float64'"),
            *('["Si"]', '["Si", "Si"]', '["Si", 3]', '[["Si"], "C"]', '["\\u0000"]', '"\\uD800"', '"""a\nb"""', ""),
            *("9" * 400, "9" * 5000, "0x" + "f" * 5000, json.dumps("a" * 300), json.dumps(["b" * 300] * 9)),
        ]
    ),
    ANY_TEXT.map(json.dumps),
)

# What the words of a TOML file may be mutated into, beside those of any text file.
TOML_WORDS = [
    *"= . , [ ] { } ' \" [[ ]] ''' [model] [[model]] [limits] [descriptor] [parameters] [about] [a.b]".split(),
    *'kind file sha256 stop layers a.b.c=1 \'a\'=1 "a"=1 where="store" format=2 {a=1} [1,2] \\ \\u0041 \\uD800'.split(),
    '"""',
    "'''",
    '"model.pt"',
    "x = 1",
    "\n[model]\n",
    "\n[limits]\nstop = true\n",
    "[" * 50_000,
    "{a=" * 50_000,
    "a." * 50_000 + "a = 1",
    "[" + "a." * 400 + "a]",
]


def with_values(text, places, values):
    """Return the text with some of its values replaced, one after the other."""
    keys = list(re.finditer(r"^(\S+ = ).*$", text, flags=re.MULTILINE))
    texts = []
    for place, value in zip(places, values, strict=False):
        chosen = keys[place % len(keys)]
        texts.append(text[: chosen.end(1)] + value + text[chosen.end() :])
    return texts
