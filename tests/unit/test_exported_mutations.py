# SPDX-License-Identifier: LGPL-2.1-or-later
"""Mutated .pt2 files give our error or a program that runs or gives our error, soon, in little memory, and alone.

By default the tests try 2,000 files, always the same ones, made from one that is written by hand. KIM_TORCHML_FUZZ=20
tries 20 times as many, other ones in every run, and as many made from a file of torch.export.save.
"""

import codecs
import copy
import json
import random
import warnings
from collections import Counter

import pytest
import torch
from archives import members
from effort import IS_RANDOM, seed, times
from exporting import Splitting, exported_bytes
from guards import bounded, confined_to
from program_files import CANNOT_EXPORT, argument, inputs_of, layered_program, node, opened, zipped

from kim_torchml.engines.exported.operators import IN_PLACE, NEW, SIZE_FUNCTIONS, VIEWS_AND_COMPOSITES
from kim_torchml.errors import DriverError

ROUNDS, FILES = 10, 200
BASES = {"by hand": lambda: varied_program().content()}
if IS_RANDOM and not CANNOT_EXPORT:
    BASES["by torch"] = lambda: exported_bytes(Splitting)
TARGETS = [f"torch.ops.{name}" for name in sorted(NEW | VIEWS_AND_COMPOSITES | IN_PLACE)] + sorted(SIZE_FUNCTIONS)
ODD = [
    *(None, True, False, -1, 0, 1, 2, 3, 7, 64, 2**31, 2**40, 2**63 - 1, 2**63, -(2**63), 10**30, 0.5, -1e300),
    *(float("inf"), float("nan"), "", "s0", "x" * 500, "\0", "\ud800", "é", [], {}, [[]], [0], [1, -1], ["a"], [None]),
    *({"as_int": 3}, {"as_name": "n"}, {"as_int": -1}, {"as_none": True}, {"as_ints": [0, 0]}, {"as_string": "sum"}),
    *(argument("species"), argument("edge_vectors"), argument("p_scale"), argument(["factors", "square"])),
    *({"as_optional_tensors": [{"as_none": True}, argument("centre")]}, {"as_sym_ints": [{"as_name": "n"}]}),
    *("as_tensor", "as_tensors", "as_sym_int", "as_scalar_type", "weight_0", "../weight_0", "torch.ops.aten.add.out"),
]
OUTCOMES: Counter[str] = Counter()


def varied_program():
    """Return a program with sizes, lists and several outputs beside what a network has."""
    program = layered_program(2)
    size = {"target": "torch.ops.aten.sym_size.int", "metadata": {}, "outputs": [{"as_sym_int": {"as_name": "n"}}]}
    size["inputs"] = node("sym_size.int", "n", self="species", dim=0)["inputs"]
    shape = {"as_sym_ints": [{"as_name": "n"}, {"as_int": 1}]}
    program.nodes[-2:-2] = [
        size,
        node("zeros.default", "zeros", size=shape, dtype=torch.float64, device={"as_device": {"type": "cpu"}}),
        node("cat.default", "joined", tensors=["zeros", "strengths"], dim=1),
        node("split.Tensor", ["part_1", "part_2"], self="joined", split_size=1, dim=1),
        node("max.dim", [argument("largest"), argument("places")], self="joined", dim=1),
        node("add_.Tensor", "summed", self="zeros", other="part_2"),
        node("einsum.default", "product", equation={"as_string": "nk,nk->n"}, tensors=["summed", "strengths"]),
    ]
    return program


def places_in(value, found):
    """Add every (container, key) in a JSON value to a list."""
    for key in value if isinstance(value, dict) else range(len(value)):
        found.append((value, key))
        if isinstance(value[key], dict | list):
            places_in(value[key], found)
    return found


def odd(rng, kind=object):
    """Return an odd value of its own, which later changes may change."""
    return copy.deepcopy(rng.choice([each for each in ODD if isinstance(each, kind)]))


def mutate_json(value, rng):
    """Change a JSON value in a few places."""
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        places = places_in(value, [])
        if not places:
            return
        container, key = rng.choice(places)
        other, other_key = rng.choice(places)
        change = rng.randrange(6)
        if change == 0:
            del container[key]
        elif change == 1:
            here, there = json.loads(json.dumps([container[key], other[other_key]]))
            container[key], other[other_key] = there, here
        elif change == 2:
            container[key] = json.loads(json.dumps(other[other_key]))
        elif change == 3 and isinstance(container, list):
            container.insert(key, json.loads(json.dumps(container[key])))
        else:
            container[key] = odd(rng)


def mutate_nodes(program, rng):
    """Change what nodes call, and with what; most of such programs are accepted."""
    for _ in range(rng.choice((1, 1, 2))):
        chosen = rng.choice(program["graph_module"]["graph"]["nodes"])
        if rng.random() < 0.5 or not chosen["inputs"]:
            chosen["target"] = rng.choice(TARGETS)
        else:
            rng.choice(chosen["inputs"])["arg"] = odd(rng, dict)


def mutate_entries(entries, rng):
    """Change, lose, rename or double entries."""
    name = rng.choice(sorted(entries))
    other = rng.choice(sorted(entries))
    change = rng.randrange(5)
    if change == 0:
        del entries[name]
    elif change == 1:
        entries[name] = entries[other]
    elif change == 2:
        entries[name.replace("0", "../0").replace("x/", rng.choice(("y/", "", "/", "x/x/")))] = entries.pop(name)
    elif change == 3:
        entries[name] = entries[name][: rng.randrange(len(entries[name]) + 1)]
    else:
        entries[f"{name}{rng.choice(('0', '.pt', '/a', chr(0)))}"] = b"x"


def mutate_bytes(content, rng):
    """Change, lose or double bytes."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 3))):
        place, length = rng.randrange(len(changed)), rng.choice((1, 1, 4, 100))
        # The directory, at the end, is what tells where everything is.
        place = place if rng.random() < 0.5 else max(0, len(changed) - 1 - rng.randrange(3000))
        change = rng.randrange(4)
        if change == 0:
            changed[place] ^= 1 << rng.randrange(8)
        elif change == 1:
            del changed[place : place + length]
        elif change == 2:
            changed[place:place] = changed[place : place + length]
        else:
            changed[place : place + 4] = rng.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"PK\x01\x02", b"PK\x05\x06"))
    return bytes(changed)


def mutated(content, rng):
    """Return a mutation of a file."""
    kind = rng.choice(("json", "json", "nodes", "nodes", "weights", "entries", "bytes"))
    if kind == "bytes":
        return mutate_bytes(content, rng)
    entries = members(content)
    if kind == "entries":
        mutate_entries(entries, rng)
        return zipped(entries)
    suffix = {"weights": "_config.json"}.get(kind, "models/model.json")
    name = rng.choice([each for each in entries if each.endswith(suffix)])
    value = json.loads(entries[name])
    if kind == "nodes":
        mutate_nodes(value, rng)
    else:
        mutate_json(value, rng)
    entries[name] = json.dumps(value)
    return zipped(entries)


def try_file(content, inputs):
    """Open a file and, if it is accepted, run it; nothing but our error, or a lack of memory, may be raised."""
    try:
        program = opened(content)
    except DriverError as error:
        assert str(error).isprintable()
        assert len(str(error)) < 1500
        return "refused"
    try:
        result = program.run(inputs, wants_gradient=True)
        assert result.energies.is_floating_point()
        program.tables()
        program.file_content(content)
    except (DriverError, MemoryError):
        return "failed"
    return "ran"


@pytest.mark.parametrize("number", range(ROUNDS))
@pytest.mark.parametrize("base", BASES)
def test_mutated_files(base, number, tmp_path):
    content, chosen = BASES[base](), seed(number)
    rng = random.Random(chosen)
    inputs = inputs_of(5, 20)
    assert try_file(content, inputs) == "ran"
    # Torch imports some of its modules when it first writes a tensor into one of its messages, and Python loads what it
    # needs for names in zip files that are not in UTF-8, and for messages that quote them.
    assert repr(inputs.leaf)
    assert all(map(codecs.lookup, ("cp437", "unicode_escape")))
    with warnings.catch_warnings(), bounded(seconds=times(30)), confined_to(tmp_path):
        # Torch warns of sizes and types that it converts.
        warnings.simplefilter("ignore")
        for count in range(times(FILES)):
            try:
                OUTCOMES[try_file(mutated(content, rng), inputs)] += 1
            except Exception as error:
                raise AssertionError(f"file {count} of the seed {chosen}: {error!r}") from error


def test_so_many_files_were_tried(request):
    """What is promised above, and all that can come of a file, where all tests of this file have run."""
    mine = [item for item in request.session.items if item.path == request.path]
    if len(mine) < len(BASES) * ROUNDS + 1:
        pytest.skip("only some of the tests of this file run")
    assert sum(OUTCOMES.values()) >= times(ROUNDS * FILES)
    assert min(OUTCOMES[each] for each in ("refused", "failed", "ran")) >= times(20)
