# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files of torch.export that attack, or are damaged: one sentence that names what was found, and nothing is done."""

import io
import json
import pickle
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from guards import bounded
from program_files import argument, inputs_of, layered_program, meta, needs_export, node, opened, zipped

from kim_torchml.errors import DriverError
from kim_torchml.tools.package.exporting import without_traces

pytestmark = needs_export


class Canary:
    """An object that writes a file when it is unpickled; so does its text when it is evaluated."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.write_text, (self.path, "unpickled")

    @property
    def text(self):
        return f"__import__('pathlib').Path('{self.path}').write_text('evaluated')"


@pytest.fixture
def canary(tmp_path):
    """Return an object that writes a file, and check afterwards that the file is not there."""
    path = tmp_path / "canary"
    yield Canary(path)
    assert not path.exists()


def pickled(value):
    """Return a value as torch.save writes it."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def refused(content, message, seconds=10.0):
    """Check that a file is refused soon, in one sentence."""
    with bounded(seconds), pytest.raises(DriverError, match=message) as raised:
        opened(content)
    assert "x.pt2" in str(raised.value)
    assert len(str(raised.value)) < 700
    assert str(raised.value).isprintable()


def test_the_canary_works(tmp_path):
    canary = Canary(tmp_path / "canary")
    pickle.loads(pickle.dumps(canary))
    assert canary.path.read_text() == "unpickled"
    eval(canary.text)
    assert canary.path.read_text() == "evaluated"


def test_pickled_weights(canary):
    program = layered_program(1)
    program.weights["config"]["scale"]["use_pickle"] = True
    program.entries["data/weights/weight_1"] = pickled(canary)
    refused(program.content(), r"holds scale as a pickle, which is never unpickled; export a model whose parameters")


def test_pickled_constants(canary):
    program = layered_program(1)
    program.constants["config"]["c"] = {"path_name": "tensor_0", "is_param": False, "use_pickle": True}
    program.entries["data/constants/tensor_0"] = pickled(canary)
    refused(program.content(), r"holds c as a pickle, which is never unpickled")


PICKLES = {
    "data/weights/model.pt": r"holds 'x/data/weights/model\.pt', a pickle, which torch 2\.8 writes; .* 2\.9 or newer",
    "data/constants/model.pt": r"holds 'x/data/constants/model\.pt', a pickle, which torch 2\.8 writes; export",
    "data/constants/custom_obj_0": r"custom_obj_0', a pickled object, which is never unpickled; export a model whose",
    "data/constants/opaque_obj_0": r"opaque_obj_0', a pickled object, which is never unpickled; export a model whose",
    "data.pkl": r"holds 'x/data\.pkl', which TorchScript and torch\.save write; name a TorchScript file \.pt",
    "data/aotinductor/model/code.so": r"native code, which a model file must not bring along; export the model with",
    "data/aotinductor/model/wrapper.cpp": r"holds 'x/data/aotinductor/model/wrapper\.cpp', native code",
    "data/weights/weight_0.py": r"must hold nothing but a program and its weights, got 'data/weights/weight_0\.py'",
    "evil": r"must hold nothing but a program and its weights, got 'evil'",
}


@pytest.mark.parametrize("name", PICKLES)
def test_entries_that_run_code(name, canary):
    program = layered_program(1)
    program.entries[name] = pickled(canary)
    refused(program.content(), PICKLES[name])


def test_the_layout_of_older_versions(canary):
    entries = {"version": "5", "serialized_exported_program.json": "{}", "serialized_state_dict.pt": pickled(canary)}
    refused(
        zipped(entries), r"holds 'serialized_exported_program\.json', which torch before 2\.8 writes; export the model"
    )


@pytest.mark.parametrize("place", ["size", "stride", "offset", "sym_int_values", "sym_bool_values"])
@pytest.mark.parametrize("symbol", ["{}", "Symbol('s0') + {}", "Max(1, {})"])
def test_code_in_a_size(place, symbol, canary):
    program = layered_program(1)
    text = {"as_expr": {"expr_str": symbol.format(canary.text)}}
    said = program.graph["tensor_values"]["factors"]
    if place.startswith("sym"):
        program.graph[place]["x"] = text
    elif place == "offset":
        said["storage_offset"] = text
    else:
        said[f"{place}s"] = [text]
    refused(
        program.content(), r"has the size .*, which is no arithmetic of sizes; it has not been evaluated\. Use this"
    )


WRITTEN = [
    *("s0", "Symbol('s28', positive=True, integer=True)", "Mul(Integer(2), Symbol('s0', integer=True))", "2*s0 + 1"),
    *("Max(1, s0)", "(s0 + 1)//2", "s0**2", "Eq(s0, 1)", "u0 >= 0", "Mod(s0, 2)", "-s0", "ToFloat(s0)/0.5"),
]
NOT_WRITTEN = [
    *(
        "",
        "s0.real",
        "s0[0]",
        "'s0'.format",
        "lambda: 0",
        "exec(s0)",
        "eval",
        "__import__",
        "s0; s1",
        "s0\n",
        "1 if s0",
    ),
    *("chr(97)", "Symbol('s0 or 1')", 'Symbol("s0")', "Function('f')(s0)", "open('s0')", "S0", "s0:=1", "@s0", "{s0}"),
]


@pytest.mark.parametrize("expression", WRITTEN)
def test_sizes_that_torch_writes(expression):
    program = layered_program(1)
    program.graph["tensor_values"]["factors"]["sizes"] = [{"as_expr": {"expr_str": expression}}]
    opened(program.content())


@pytest.mark.parametrize("expression", NOT_WRITTEN)
def test_sizes_that_torch_does_not_write(expression):
    program = layered_program(1)
    program.graph["tensor_values"]["factors"]["sizes"] = [{"as_expr": {"expr_str": expression}}]
    refused(program.content(), r"which is no arithmetic of sizes; it has not been evaluated")


TARGETS = """
    torch.ops.aten.from_file.default torch.ops.aten.segment_reduce.default torch.ops.aten._print.default
    torch.ops.aten._sparse_coo_tensor_unsafe.default torch.ops.aten.manual_seed.default torch.ops.aten.rand.default
    torch.ops.aten.as_strided.default torch.ops.aten.set_.source_Tensor torch.ops.aten.empty.memory_format
    torch.ops.image.read_file.default torch.ops.higher_order.cond torch.ops.higher_order.map_impl os.system
    builtins.eval builtins.exec torch.load torch.ops.load_library torch.ops.aten.add torch.ops.aten.add.out
    torch.ops.aten.add.__class__ torch.ops.aten.__class__.mro torch.ops.aten.add.Tensor.__call__ aten.add.Tensor
    _operator.attrgetter _operator.getitem _operator.imul _operator.call math.factorial torch.ops.aten.add.Tensor\x00
    torch.ops.aten._native_batch_norm_legit_no_training.default torch.ops.aten.polygamma.default
    torch._C._set_grad_enabled torch.ops.profiler._record_function_enter_new.default torch.ops.prims.add.default
""".split()


@pytest.mark.parametrize("target", TARGETS)
def test_an_operator_that_is_not_listed(target):
    program = layered_program(1)
    program.nodes[2]["target"] = target
    refused(
        program.content(), r"uses '.*', which is not among the operators that programs may use; it has not been run"
    )


def test_an_argument_that_the_operator_does_not_have():
    program = layered_program(1)
    program.nodes[2]["inputs"].append({"name": "out", "arg": argument("edge_vectors"), "kind": 2})
    refused(program.content(), r"nodes\[2\] must give aten\.mul\.Tensor what it takes, got 'out'")


CODE = '", true); system("touch canary"); //'
TEXTS = [
    ("searchsorted.Tensor", {"sorted_sequence": "squares", "self": "squares"}, "side", r"None or 'left' or 'right'"),
    ("gelu.default", {"self": "squares"}, "approximate", "'none' or 'tanh'"),
    ("div.Tensor_mode", {"self": "squares", "other": "squares"}, "rounding_mode", "None or 'trunc' or 'floor'"),
    ("pad.default", {"self": "squares", "pad": [1, 1]}, "mode", "'constant' or 'reflect' or 'replicate' or 'circular'"),
    ("meshgrid.indexing", {"tensors": ["squares"]}, "indexing", "'ij' or 'xy'"),
    ("einsum.default", {"tensors": ["squares"]}, "equation", "of letters, dots, commas and an arrow"),
]


@pytest.mark.parametrize(("operator", "arguments", "name", "expected"), TEXTS, ids=lambda each: str(each)[:20])
@pytest.mark.parametrize("text", [CODE, "left\0", "", "L3FT", "a" * 5000])
def test_a_text_that_is_not_listed(operator, arguments, name, expected, text):
    program = layered_program(1)
    program.nodes.insert(3, node(operator, "extra", **arguments, **{name: {"as_string": text}}))
    refused(program.content(), rf"gives aten\.{operator} the argument {name} = '.*, which must be {expected}; export")


STATISTICS = ("weight", "bias", "running_mean", "running_var")
BATCH_NORM = {"input": "squares", **dict.fromkeys(STATISTICS), "momentum": 0.1, "eps": 1e-5, "cudnn_enabled": False}


@pytest.mark.parametrize(
    ("operator", "arguments", "name", "value"),
    [
        ("dropout.default", {"input": "squares", "p": 0.5}, "train", True),
        ("batch_norm.default", BATCH_NORM, "training", True),
        ("gather.default", {"self": "squares", "dim": 0, "index": "edge_index"}, "sparse_grad", True),
    ],
)
def test_a_value_that_is_not_listed(operator, arguments, name, value):
    program = layered_program(1)
    program.nodes.insert(3, node(operator, "extra", **arguments, **{name: value}))
    refused(
        program.content(),
        rf"gives aten\.{operator} the argument {name} = .*, which must be False; export a model without",
    )


KINDS = {
    "as_graph": {"name": "g", "graph": {}},
    "as_operator": "torch.ops.aten.add.Tensor",
    "as_custom_obj": {"name": "o", "class_fqn": "os.system"},
    "as_strings": ["a"],
    "as_string": CODE,
    "as_string_to_argument": {},
    "as_scalar_type": 8,
    "as_anything": 1,
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_argument_of_another_kind(kind):
    program = layered_program(1)
    program.nodes[2]["inputs"][1]["arg"] = {kind: KINDS[kind]}
    message = rf"gives aten\.mul\.Tensor the argument other of the kind '{kind}', which must be as_tensor or as_int or "
    refused(program.content(), message)


@pytest.mark.parametrize(
    ("parameter", "value", "expected"),
    [
        ("dtype", -1, "as_scalar_type"),
        ("dtype", 9999, "as_scalar_type"),
        ("layout", -1, "as_layout"),
        ("memory_format", 99, "as_memory_format"),
        ("device", 3, "as_device"),
    ],
)
def test_numbers_of_types_that_torch_does_not_check(parameter, value, expected):
    """A wrong one ends the process."""
    program = layered_program(1)
    program.nodes.insert(3, node("zeros_like.default", "extra", self="squares", **{parameter: value}))
    refused(
        program.content(), rf"the argument {parameter} of the kind 'as_int', which must be {expected} or as_none; ex"
    )


@pytest.mark.parametrize("kind", ["custom_obj", "token", "constant_input", "anything"])
def test_inputs_that_are_no_tensors(kind):
    program = layered_program(1)
    program.signature["input_specs"].append({kind: {"arg": {"name": "o"}, "name": "o"}})
    refused(program.content(), rf"must be called with tensors alone, got an input of the kind '{kind}'; export a model")


@pytest.mark.parametrize(
    "kind", ["buffer_mutation", "parameter_mutation", "user_input_mutation", "loss_output", "token"]
)
def test_outputs_that_are_no_results(kind):
    program = layered_program(1)
    program.signature["output_specs"].append({kind: {"arg": {"name": "last"}, "buffer_name": "b"}})
    refused(program.content(), rf"must return energies alone, got an output of the kind '{kind}'; export a model in")


@pytest.mark.parametrize("changed", ["p_scale", "edge_vectors", "viewed"])
def test_a_program_that_changes_its_weights_or_inputs(changed):
    """Directly, or what shares memory with them."""
    program = layered_program(1)
    program.nodes.insert(0, node("reshape.default", "viewed", self="p_table_weight", shape=[-1]))
    program.nodes.insert(1, node("add_.Tensor", "changed", self=changed, other=1.0))
    refused(program.content(), r"changes with aten\.add_\.Tensor what may be an input or a weight of the model; change")


def test_a_program_may_change_what_it_has_made():
    program = layered_program(1)
    program.nodes.insert(-2, node("mul_.Tensor", "changed", self="g0", other=2.0))
    inputs = inputs_of(5, 20)
    found = opened(program.content()).run(inputs, wants_gradient=True)
    assert torch.equal(found.energies, 4 * opened(layered_program(1).content()).run(inputs, True).energies)


def plain_and_hostile(canary):
    """Yield names and programs whose texts attack in places that are never read."""
    for name in ("range_constraints", "guards_code", "verifiers", "torch_version", "opset_version"):
        program = layered_program(1)
        program.model[name] = {canary.text: {"min_val": canary.text}} if name == "range_constraints" else [canary.text]
        yield name, program
    program = layered_program(1)
    program.entries["data/sample_inputs/model.pt"] = pickled(canary)
    yield "sample inputs", program
    program = layered_program(1)
    program.entries["extra/code.py"] = canary.text
    yield "extra files", program
    program = layered_program(1)
    for place, target in enumerate(("_assert_scalar.default", "_assert_async.msg")):
        checked = {"self": "factors", "assert_msg": {"as_string": canary.text}, "of": {"as_graph": 1}}
        program.nodes.insert(6 + place, node(target, [], **checked))
    yield "assertions", program
    program = layered_program(1)
    for each in program.nodes:
        each["metadata"] = {"stack_trace": canary.text, "nn_module_stack": canary.text}
        each["name"] = canary.text
    module = program.model["graph_module"]
    module["module_call_graph"] = [{"fqn": canary.text, "signature": {"in_spec": canary.text}}]
    module["metadata"] = {canary.text: canary.text}
    yield "metadata", program
    program = layered_program(1)
    text = json.dumps(program.model)
    for each in ("factors", "species", "p_scale"):
        text = text.replace(f'"{each}"', json.dumps(canary.text + each))
    program.model = json.loads(text)
    yield "names", program


def test_texts_that_do_nothing(canary):
    inputs = inputs_of(5, 20)
    expected = opened(layered_program(1).content()).run(inputs, wants_gradient=True)
    for name, program in plain_and_hostile(canary):
        result = opened(program.content()).run(inputs, wants_gradient=True)
        assert torch.equal(result.energies, expected.energies), name
        assert torch.equal(result.gradient, expected.gradient), name


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
    program.entries["models/model.json"] = bytes(2**27 + 1)
    refused(program.content(), r"the entry models/model\.json .* must have at most 134217728 bytes, got 134217729")


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


ENTRIES = {
    "archive_format": ("pt1", r"the entry archive_format of the model file x\.pt2 must be pt2, got 'pt1'"),
    "archive_version": ("1", r"the entry archive_version of the model file x\.pt2 must be 0, got '1'"),
    "byteorder": ("big", r"the entry byteorder of the model file x\.pt2 must be little, got 'big'"),
    "models/other.json": ("{}", r"must hold one program, models/NAME\.json, got those of 'model', 'other'"),
    "models/model.json": (None, r"must hold one program, models/NAME\.json, got none"),
    "data/weights/model_weights_config.json": (
        None,
        r"must hold data/weights/model_weights_config\.json, which is miss",
    ),
    "data/constants/model_constants_config.json": (
        "[]",
        r"model_constants_config\.json must be an object, got a list of",
    ),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_entries_that_are_missing_or_wrong(name):
    program = layered_program(1)
    text, message = ENTRIES[name]
    program.entries[name] = text
    refused(program.content(), message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no JSON"),
        ("{", "is no JSON"),
        ('{"a": 1}}', "is no JSON"),
        (b"\xff\xfe\xfd", "is no JSON"),
        ("9" * 5000, "is no JSON"),
        ("[" * 100_000, "has lists or objects nested too deeply"),
        ('{"a":' * 100_000, "has lists or objects nested too deeply"),
        ("NaN", r"must be an object, got NaN"),
        ('"text"', r"must be an object, got 'text'"),
    ],
    ids=range(9),
)
def test_texts_that_are_no_program(text, message):
    program = layered_program(1)
    program.entries["models/model.json"] = text
    refused(program.content(), message)


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "x/../y",
        "/x",
        "x//y",
        "x/./y",
        "x\\..\\y",
        "x/a\nb",
        "x/\u202e",
        "x/a\0b",
        "x/",
        "alone",
        "C:/x",
        "x/..",
        "x/extra/" + "a" * 1000,
    ],
)
def test_names_that_are_not_plain(name):
    entries = dict(zip_entries(layered_program(1).content()))
    refused(
        zipped([*entries.items(), (name, b"")]), r"must (hold entries with plain names|hold nothing but|have its ent)"
    )


def zip_entries(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_entries_of_one_name():
    entries = zip_entries(layered_program(1).content())
    refused(zipped([*entries, entries[0]]), r"must hold each entry once, got '.*' twice")


WRONG_NODES = {
    "a number": (3, r"graph\.nodes must be a list, got 3"),
    "a text": ("abc", r"graph\.nodes must be a list, got 'abc'"),
    "an object": ({"a": 1}, r"graph\.nodes must be a list, got an object of 1"),
    "numbers": ([3], r"graph\.nodes\[0\] must be an object, got 3"),
    "lists": ([[1]], r"graph\.nodes\[0\] must be an object, got a list of 1"),
}


@pytest.mark.parametrize("nodes", WRONG_NODES)
def test_a_program_that_is_packaged(nodes):
    """Its text is changed before it is looked at as a whole."""
    program = layered_program(1)
    program.graph["nodes"], message = WRONG_NODES[nodes]
    with pytest.raises(DriverError, match=message):
        without_traces(program.content(), "x.pt2")
    program.model["graph_module"] = None
    with pytest.raises(DriverError, match=r"graph_module must be an object, got null"):
        without_traces(program.content(), "x.pt2")


def test_a_packaged_file_has_no_folder_of_a_strangers_name():
    """The name of a program may be two dots, where it is a part of other names."""
    entries = zip_entries(layered_program(1).content())
    renamed = [(name.replace("/model.json", "/...json").replace("model_", ".._"), text) for name, text in entries]
    written = without_traces(zipped(renamed), "x.pt2")
    assert {name.split("/")[0] for name, _ in zip_entries(written)} == {"model"}
    inputs = inputs_of(5, 20)
    expected = opened(layered_program(1).content()).run(inputs, wants_gradient=False)
    assert torch.equal(opened(written).run(inputs, wants_gradient=False).energies, expected.energies)


def test_two_folders():
    entries = zip_entries(layered_program(1).content())
    refused(zipped([*entries, ("y/extra/a", b"")]), r"must have its entries in one folder, got 'x', 'y'")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed_entries(method):
    program = layered_program(1)
    program.entries["extra/zeros"] = bytes(2**21)
    content = program.content(compression=method)
    assert len(content) < 2**16
    refused(content, r"must hold plain entries, as torch writes them, got x/\S+, compressed")


def with_sizes(content, name, **sizes):
    """Return a zip file in which the directory says other sizes of an entry, or another place."""
    found, at = bytearray(content), content.index(b"PK\x01\x02")
    while found[at : at + 4] == b"PK\x01\x02":
        lengths = struct.unpack("<3H", found[at + 28 : at + 34])
        if found[at + 46 : at + 46 + lengths[0]].decode() == name:
            for field, place in (("compressed", 20), ("size", 24), ("header", 42)):
                if field in sizes:
                    found[at + place : at + place + 4] = struct.pack("<L", sizes[field])
            return bytes(found)
        at += 46 + sum(lengths)
    raise AssertionError(name)


def test_two_gigabytes_declared_and_few_there():
    content = with_sizes(layered_program(1).content(), "x/data/weights/weight_0", compressed=2**31, size=2**31)
    refused(content, r"has \d+ bytes, but its entries have \d{10} together")


def test_a_size_that_is_not_that_of_the_entry():
    content = layered_program(1).content()
    refused(
        with_sizes(content, "x/data/weights/weight_0", size=90),
        r"is damaged: (its entry x/data/weights/weight_0 does not|.+); copy it",
    )


def test_entries_that_share_their_bytes():
    """A small file may declare many times its size that way."""
    program = layered_program(1)
    program.entries.update({f"data/weights/weight_{k}": bytes(100_000 if k == 9 else 1) for k in range(5, 10)})
    content = program.content()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        start = archive.getinfo("x/data/weights/weight_9").header_offset
    for k in range(5, 9):
        sizes = {"compressed": 100_000, "size": 100_000, "header": start}
        content = with_sizes(content, f"x/data/weights/weight_{k}", **sizes)
    refused(content, r"has \d+ bytes, but its entries have 51\d{4} together")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file(share):
    content = layered_program(1).content()
    refused(
        content[: int(share * len(content))], r"(is damaged: .* truncated\?\); copy|must be a program of torch\.export)"
    )


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x02}q\x00.", b"PK\x05\x06" + bytes(18), bytes(100)])
def test_a_file_of_another_kind(content):
    found = "a file of another kind" if content else "an empty file"
    refused(content, rf"the model file x\.pt2 must be a program of torch\.export, got {found}; export the model with")


def test_one_changed_bit_in_a_weight():
    program = layered_program(1)
    program.entries["data/weights/weight_1"] = b"\0\0\0\0\0\0\xf0\x3f"
    content = program.content()
    place = content.index(b"\0\0\0\0\0\0\xf0\x3f")
    damaged = content[:place] + b"\x01" + content[place + 1 :]
    refused(damaged, r"is damaged: its entry x/data/weights/weight_1 does not match its checksum; copy it")
