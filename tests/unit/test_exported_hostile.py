# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files of torch.export that attack: one sentence that names what was found, and nothing is done."""

import io
import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from program_files import argument, inputs_of, layered_program, node, opened, zipped
from refusals import refused


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


LIBRARY = """
#include <stdio.h>
__attribute__((constructor)) static void start(void) {
    FILE *file = fopen("CANARY", "w");
    if (file) fclose(file);
}
"""


def test_a_library(tmp_path):
    """One that runs code as soon as it is loaded, which is what torch's own loader of such files does with it."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    marker, source, library = tmp_path / "marker", tmp_path / "x.c", tmp_path / "x.so"
    source.write_text(LIBRARY.replace("CANARY", str(marker)))
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    program = layered_program(1)
    program.entries["data/aotinductor/model/x.so"] = library.read_bytes()
    refused(
        program.content(), r"holds 'x/data/aotinductor/model/x\.so', native code, which a model file must not bring"
    )
    assert not marker.exists()
    subprocess.run([sys.executable, "-c", f"import ctypes; ctypes.CDLL({str(library)!r})"], check=True)
    assert marker.exists()


def test_the_layout_of_older_versions(canary):
    entries = {"version": "5", "serialized_exported_program.json": "{}", "serialized_state_dict.pt": pickled(canary)}
    refused(
        zipped(entries), r"holds 'serialized_exported_program\.json', which torch before 2\.8 writes; export the model"
    )


PLACES = ["size", "stride", "offset", "sym_int_values", "sym_bool_values", "sym_float_values"]


@pytest.mark.parametrize("place", PLACES)
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
    "Add(ToFloat(Symbol('s0', integer=True)), Float('-1.0', precision=53), Float('1.0e-5', precision=53))",
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
    *("Float('1.0+s0')", "Float('1' 'x')", "Float('0x1')", "Float('1e')", "'1.0'.real"),
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


def test_a_program_may_change_what_it_has_made_by_its_inputs():
    """Several times, one after the other."""
    program = layered_program(1)
    last = node("index_add_.default", "added", self="g0", dim=0, index="centre", source="factors")
    program.nodes[-2:-2] = [last, node("mul_.Tensor", "times", self="added", other="p_scale")]
    program.nodes[-2]["inputs"][0]["arg"] = argument("times")
    inputs = inputs_of(5, 20)
    found = opened(program.content()).run(inputs, wants_gradient=False).energies
    before = opened(layered_program(1).content()).run(inputs, wants_gradient=False).energies
    factors = torch.exp(-inputs.leaf.detach().square().sum(1))
    changed = ((2 * before).sqrt().index_add(0, inputs.arguments[1][0], factors) * 0.3).square() / 2
    assert torch.allclose(found, changed, rtol=1e-14)


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
    program = layered_program(1)
    program.weights["config"] = {f"{canary.text}{name}": said for name, said in program.weights["config"].items()}
    for each in program.signature["input_specs"][:2]:
        each["parameter"]["parameter_name"] = canary.text + each["parameter"]["parameter_name"]
    yield "names of weights", program


def test_texts_that_do_nothing(canary):
    inputs = inputs_of(5, 20)
    expected = opened(layered_program(1).content()).run(inputs, wants_gradient=True)
    for name, program in plain_and_hostile(canary):
        result = opened(program.content()).run(inputs, wants_gradient=True)
        assert torch.equal(result.energies, expected.energies), name
        assert torch.equal(result.gradient, expected.gradient), name
