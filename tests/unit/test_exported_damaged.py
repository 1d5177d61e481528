# SPDX-License-Identifier: LGPL-2.1-or-later
"""Damaged programs and weights in files of torch.export are refused in one sentence that names what was found."""

import json

import pytest
import torch
from program_files import argument, inputs_of, layered_program, meta, node, opened
from refusals import refused

from kim_torchml.errors import DriverError


def with_weight(**changes):
    program = layered_program(1)
    program.weights["config"]["scale"].update(changes)
    return program


def with_meta(**changes):
    program = layered_program(1)
    said = program.weights["config"]["scale"]
    said["tensor_meta"] = {**meta(torch.float64, [1]), **changes}
    return program


def ints(*numbers):
    return [{"as_int": number} for number in numbers]


DAMAGED_WEIGHTS = [
    (with_meta(sizes=ints(2)), r"scale\.tensor_meta must lie within the 8 bytes that are there, got sizes \[2\] with"),
    (
        with_meta(storage_offset={"as_int": 1}),
        r"must lie within the 8 bytes that are there, got sizes \[1\] .* from 1 on",
    ),
    (with_meta(sizes=ints(268435456)), r"must lie within the 8 bytes that are there, got sizes \[268435456\]"),
    (with_meta(sizes=ints(2), strides=ints(1 << 62)), r"must lie within the 8 bytes"),
    (with_meta(dtype=4, sizes=ints(3)), r"must lie within the 8 bytes .* of torch\.int32"),
    (with_meta(strides=ints(-1)), r"tensor_meta\.strides must not be negative, got -1"),
    (with_meta(sizes=ints(-1)), r"tensor_meta\.sizes must not be negative, got -1"),
    (with_meta(storage_offset={"as_int": -8}), r"tensor_meta\.storage_offset must not be negative, got -8"),
    (with_meta(sizes=ints(1 << 62, 1 << 62), strides=ints(0, 0)), r"must have at most 1099511627776 entries, got 2126"),
    (with_meta(sizes=ints(1 << 64)), r"sizes must be an integer of 64 bits, got 18446744073709551616"),
    (with_meta(sizes=ints(*[1] * 65), strides=ints(*[1] * 65)), r"one stride for each of at most 64 sizes, got \[1, 1"),
    (with_meta(sizes=ints(1, 1)), r"must have one stride for each of at most 64 sizes, got \[1, 1\], \[1\]"),
    (with_meta(sizes=[{"as_expr": {"expr_str": "s0"}}]), r"tensor_meta\.sizes must be an integer of 64 bits, got null"),
    (with_meta(sizes=[True]), r"tensor_meta\.sizes must be an integer of 64 bits, got null"),
    (with_meta(sizes=ints(True)), r"tensor_meta\.sizes must be an integer of 64 bits, got true"),
    (with_meta(sizes=3), r"tensor_meta\.sizes must be a list, got 3"),
    (with_meta(layout=1), r"tensor_meta\.layout must be 7, a dense tensor, got 1"),
    (with_meta(dtype=11), r"tensor_meta\.dtype must be the number of a type of .*, got 11"),
    (with_meta(dtype="os"), r"tensor_meta\.dtype must be an integer of 64 bits, got 'os'"),
    (with_weight(path_name="weight_7"), r"path_name must be the name of an entry in data/weights/, got 'weight_7'"),
    (with_weight(path_name="../weights/weight_0"), r"must be the name of an entry in data/weights/, got '\.\./weights"),
    (with_weight(path_name="/etc/passwd"), r"must be the name of an entry in data/weights/, got '/etc/passwd'"),
    (with_weight(use_pickle=None), r"use_pickle must be true or false, got null"),
    (with_weight(tensor_meta=None), r"config\.scale\.tensor_meta must be an object, got null"),
]


@pytest.mark.parametrize(("program", "message"), DAMAGED_WEIGHTS, ids=range(len(DAMAGED_WEIGHTS)))
def test_damaged_weights(program, message):
    refused(program.content(), message)


def test_a_weight_that_is_missing():
    program = layered_program(1)
    del program.weights["config"]["scale"]
    refused(program.content(), r"needs the tensor scale, which the file does not hold; export the model again")


def changed(function):
    program = layered_program(1)
    function(program)
    return program


def set_(place, key, value):
    return changed(lambda program: place(program).__setitem__(key, value))


def with_like(**arguments):
    like = node("zeros_like.default", "extra", self="squares", **arguments)
    return changed(lambda program: program.nodes.insert(3, like))


DAMAGED_GRAPHS = [
    (
        set_(lambda p: p.nodes[2]["inputs"][0], "arg", argument("later")),
        r"must name what has been computed before, got",
    ),
    (set_(lambda p: p.nodes[2]["inputs"][0], "arg", argument("energies")), r"must name what has been computed before"),
    (set_(lambda p: p.nodes[3], "outputs", [argument("squares")]), r"must give each name once, got 'squares' again"),
    (set_(lambda p: p.nodes[3], "outputs", [argument("species")]), r"must give each name once, got 'species' again"),
    (set_(lambda p: p.nodes[3], "outputs", []), r"nodes\[3\] must have 1 outputs of aten\.sum\.dim_IntList, got 0"),
    (set_(lambda p: p.nodes[3], "outputs", [{"as_sym_int": {"as_name": "k"}}]), r"must be as_tensor, got as_sym_int"),
    (set_(lambda p: p.nodes[3], "outputs", [{}]), r"outputs\[0\] must have one key, got 0"),
    (set_(lambda p: p.nodes[3], "inputs", []), r"nodes\[3\] must give aten\.sum\.dim_IntList the argument self"),
    (
        changed(lambda p: p.nodes[3]["inputs"].append(p.nodes[3]["inputs"][0])),
        r"must give each argument once, got 'self'",
    ),
    (set_(lambda p: p.nodes, 3, None), r"graph_module\.graph\.nodes\[3\] must be an object, got null"),
    (set_(lambda p: p.graph, "nodes", {}), r"graph\.nodes must be a list, got an object of 0"),
    (changed(lambda p: p.graph.pop("nodes")), r"graph\.nodes is missing"),
    (changed(lambda p: p.model.pop("graph_module")), r"models/model\.json\.graph_module is missing"),
    (set_(lambda p: p.nodes[3], "target", 3), r"nodes\[3\]\.target must be a text, got 3"),
    (
        changed(lambda p: p.signature["input_specs"].append(p.signature["input_specs"][0])),
        r"each name once, got 'p_table",
    ),
    (
        set_(lambda p: p.signature, "output_specs", [{"user_output": {"arg": argument("x")}}]),
        r"computed before, got 'x'",
    ),
    (
        set_(lambda p: p.signature, "output_specs", [{"user_output": {"arg": argument(1)}}]),
        r"must be as_tensor, got 'as_i",
    ),
    (changed(lambda p: p.graph["tensor_values"].pop("species")), r"must be described in tensor_values, got 'species'"),
    (
        set_(lambda p: p.nodes[0]["inputs"][1], "arg", argument(1 << 63)),
        r"as_int must be an integer of 64 bits, got 922",
    ),
    (
        set_(lambda p: p.nodes[0]["inputs"][1], "arg", {"as_int": 0.5}),
        r"as_int must be an integer of 64 bits, got 0\.5",
    ),
    (
        with_like(device={"as_device": {"type": "meta"}}),
        r"as_device\.type must be one of cpu, cuda, mps, xpu, got 'meta'",
    ),
    (with_like(layout={"as_layout": 2}), r"as_layout must be 7, dense tensors, got 2"),
    (with_like(dtype={"as_scalar_type": 9}), r"as_scalar_type must be the number of a type of .*, got 9"),
    (with_like(memory_format={"as_memory_format": 7}), r"as_memory_format must be one of \[1, 2, 3, 4\], got 7"),
    (
        set_(lambda p: p.model, "schema_version", {"major": 7, "minor": 3}),
        r"the version 8 of torch's format, got 7\.3, wr",
    ),
    (
        set_(lambda p: p.model, "schema_version", {"major": 9, "minor": 0}),
        r"9\.0, written by torch '2\.9\.0'; export the m",
    ),
    (set_(lambda p: p.model, "schema_version", None), r"schema_version must be an object, got null"),
]


@pytest.mark.parametrize(("program", "message"), DAMAGED_GRAPHS, ids=range(len(DAMAGED_GRAPHS)))
def test_damaged_graphs(program, message):
    refused(program.content(), message)


def test_a_million_nodes():
    program = layered_program(1)
    program.graph["nodes"] = [{}] * 1_000_000
    refused(program.content(), r"graph\.nodes must have at most 100000 nodes, got 1000000; export the model", 60)


def test_a_text_of_many_bytes():
    program = layered_program(1)
    program.entries["models/model.json"] = bytes(2**25 + 1)
    refused(program.content(), r"the entry models/model\.json .* must have at most 33554432 bytes, got 33554433")


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_a_list_of_another_length(n_outputs):
    program = layered_program(1)
    names = [f"part{k}" for k in range(n_outputs)]
    program.nodes[:2] = [node("unbind.int", names, self="edge_index", dim=0)]
    if n_outputs == 1:
        program.nodes[0]["outputs"] = [argument(names)]
    text = json.dumps(program.model).replace('"centre"', '"part0"').replace('"neighbour"', f'"part{n_outputs - 1}"')
    program.model = json.loads(text)
    message = rf"error in aten\.unbind\.int: it returns 2 tensors, and the program takes {n_outputs} of them"
    with pytest.raises(DriverError, match=message):
        opened(program.content()).run(inputs_of(5, 20), wants_gradient=True)


@pytest.mark.parametrize(
    ("target", "given", "message"),
    [
        ("_operator.floordiv", [1, 0], "division"),
        ("_operator.pow", [7, 65], "the exponent of a size must be at most 64, got 65"),
        ("_operator.mul", [1 << 62, 1 << 62], "a size does not fit 64 bits"),
    ],
)
def test_sizes_that_no_tensor_has(target, given, message):
    program = layered_program(1)
    inputs = [{"name": name, "arg": argument(value)} for name, value in zip("ab", given, strict=True)]
    outputs = [{"as_sym_int": {"as_name": "k"}}]
    program.nodes.insert(0, {"target": target, "inputs": inputs, "outputs": outputs, "metadata": {}})
    size = {"as_sym_ints": [{"as_name": "k"}]}
    program.nodes.insert(-1, node("view.default", "viewed", self="last", size=size))
    program.nodes[-1]["inputs"][0]["arg"] = argument("viewed")
    with pytest.raises(DriverError, match=rf"error in {target}: .*{message}"):
        opened(program.content()).run(inputs_of(5, 20), wants_gradient=True)
