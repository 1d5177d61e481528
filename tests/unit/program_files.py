# SPDX-License-Identifier: LGPL-2.1-or-later
"""Write .pt2 files by hand, entry by entry and node by node, and read what torch.export.save has written."""

import copy
import io
import json
import zipfile
from dataclasses import dataclass, field

import pytest
import torch

from kim_torchml.engines.exported.program import open_exported
from kim_torchml.inputs import Argument, ModelInputs, Signature
from kim_torchml.process.oldest_versions import OLDEST_EXPORTING_TORCH, is_older

# An older torch runs programs, but writes them into other files.
CANNOT_EXPORT = (
    f"torch {torch.__version__} is older than {OLDEST_EXPORTING_TORCH}, the first whose exported programs are read"
    if is_older(str(torch.__version__), OLDEST_EXPORTING_TORCH)
    else ""
)
needs_export = pytest.mark.skipif(bool(CANNOT_EXPORT), reason=CANNOT_EXPORT)
CPU = torch.device("cpu")
NUMBERS = {torch.int64: 5, torch.float32: 7, torch.float64: 8, torch.bool: 12}
EDGES = (
    Argument("species", ("n",)),
    Argument("edge_index", (2, "E"), below="n"),
    Argument("edge_vectors", ("E", 3), None),
)
CALL = [("species", torch.int64, ["n"]), ("edge_index", torch.int64, [2, "E"]), ("edge_vectors", None, ["E", 3])]
SYMBOLS = {"n": "s0", "E": "s1"}


def signature_of(dtype=torch.float64, arguments=EDGES, **changes):
    """Return what a program of the kind edges is called with; dtype None leaves the floating type open."""
    stated = {"leaf": arguments[-1].name, "returns_forces": False, "source": "model.toml says", "dtype": dtype}
    return Signature(arguments, returns_stated="model.toml says so", **{**stated, **changes})


def opened(content, dtype=torch.float64, **changes):
    """Open the content of a .pt2 file."""
    return open_exported(content, "x.pt2", CPU, signature_of(dtype, **changes))


def inputs_of(n, n_edges, dtype=torch.float64, seed=1, contributing=None):
    """Return inputs of the kind edges: two species, edges between any rows; all rows contribute unless it is said."""
    random = torch.Generator().manual_seed(seed)
    vectors = torch.randn(n_edges, 3, dtype=dtype, generator=random).requires_grad_(True)
    edge_index = torch.randint(0, max(n, 1), (2, n_edges), generator=random)
    species = torch.randint(0, 2, (n,), generator=random)
    return ModelInputs((species, edge_index, vectors), vectors, n, slice(0, contributing), None, n_edges)


def size(said):
    """Return a size as files have it: a number, or a word for one that changes."""
    return {"as_int": said} if isinstance(said, int) else {"as_expr": {"expr_str": SYMBOLS.get(said, said)}}


def meta(dtype, sizes, strides=None, offset=0):
    """Return what a file says of a tensor."""
    if strides is None:
        strides = [1] * len(sizes)
        for place in range(len(sizes) - 2, -1, -1):
            strides[place] = strides[place + 1] * sizes[place + 1] if isinstance(sizes[place + 1], int) else 1
    return {
        "dtype": NUMBERS[dtype],
        "sizes": [size(each) for each in sizes],
        "requires_grad": False,
        "device": {"type": "cpu", "index": None},
        "strides": [size(each) for each in strides],
        "storage_offset": size(offset),
        "layout": 7,
    }


def argument(value):
    """Return an argument as files have it: a name stands for a tensor, and an object for itself."""
    kinds = {bool: "as_bool", int: "as_int", float: "as_float", torch.dtype: "as_scalar_type"}
    if isinstance(value, dict):
        return value
    if value is None:
        return {"as_none": True}
    if isinstance(value, str):
        return {"as_tensor": {"name": value}}
    if isinstance(value, list):
        names = [{"name": each} for each in value if isinstance(each, str)]
        return {"as_tensors": names} if names else {"as_ints": value}
    return {kinds[type(value)]: NUMBERS[value] if isinstance(value, torch.dtype) else value}


def node(target, outputs, /, **arguments):
    """Return a node of an operator of ATen; more than one output is a list of tensors."""
    inputs = [{"name": name, "arg": argument(value), "kind": 1} for name, value in arguments.items()]
    if isinstance(outputs, str):
        returned = [{"as_tensor": {"name": outputs}}]
    else:
        returned = outputs if not outputs or isinstance(outputs[0], dict) else [argument(outputs)]
    return {"target": f"torch.ops.aten.{target}", "inputs": inputs, "outputs": returned, "metadata": {}}


@dataclass
class ProgramFile:
    """The parts of a .pt2 file, for tests to change.

    Attributes:
        model: JSON of the program.
        weights: JSON of what is said of its weights.
        constants: JSON of what is said of its constants.
        entries: contents of all other entries, by names without a folder.
        folder: folder that all entries are in.
    """

    model: dict
    weights: dict = field(default_factory=lambda: {"config": {}})
    constants: dict = field(default_factory=lambda: {"config": {}})
    entries: dict = field(default_factory=dict)
    folder: str = "x"

    @property
    def graph(self):
        return self.model["graph_module"]["graph"]

    @property
    def nodes(self):
        return self.graph["nodes"]

    @property
    def signature(self):
        return self.model["graph_module"]["signature"]

    def copy(self):
        return copy.deepcopy(self)

    def add_weight(self, name, tensor):
        """Add a parameter; nodes name it by its name with underscores."""
        path = f"weight_{len(self.weights['config'])}"
        short = "p_" + name.replace(".", "_")
        said = meta(tensor.dtype, list(tensor.shape), list(tensor.stride()), tensor.storage_offset())
        self.weights["config"][name] = {"path_name": path, "is_param": True, "use_pickle": False, "tensor_meta": said}
        stored = torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage())
        self.entries[f"data/weights/{path}"] = stored.numpy().tobytes()
        self.graph["tensor_values"][short] = said
        specs = self.signature["input_specs"]
        at = sum("user_input" not in each for each in specs)
        specs.insert(at, {"parameter": {"arg": {"name": short}, "parameter_name": name}})
        self.graph["inputs"].insert(at, argument(short))
        return short

    def add_node(self, target, outputs, sizes=("n",), dtype=torch.float64, /, **arguments):
        """Add a node, and say of which sizes and type its results are."""
        self.nodes.append(node(target, outputs, **arguments))
        for name in [outputs] if isinstance(outputs, str) else outputs:
            self.graph["tensor_values"][name] = meta(dtype, list(sizes))
        return outputs

    def returns(self, name):
        """Let the program return a tensor."""
        self.signature["output_specs"] = [{"user_output": {"arg": argument(name)}}]
        self.graph["outputs"] = [argument(name)]

    def content(self, **options):
        """Return the file's content; options are those of zipfile.ZipFile."""
        entries = {
            "models/model.json": json.dumps(self.model),
            "data/weights/model_weights_config.json": json.dumps(self.weights),
            "data/constants/model_constants_config.json": json.dumps(self.constants),
            "archive_format": "pt2",
            "archive_version": "0",
            "byteorder": "little",
            ".data/version": "3\n",
            **self.entries,
        }
        return zipped({f"{self.folder}/{name}": text for name, text in entries.items() if text is not None}, **options)


def zipped(entries, **options):
    """Return a zip file of entries by name; some may stand twice, in a list of pairs."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as archive:
        for name, content in entries.items() if isinstance(entries, dict) else entries:
            archive.writestr(name, content)
    return buffer.getvalue()


def empty_program(dtype=torch.float64, call=CALL):
    """Return a program that is called with the tensors of the kind edges, and has no nodes yet."""
    values = {name: meta(each or dtype, sizes) for name, each, sizes in call}
    inputs = [argument(name) for name, *_ in call]
    leaves = ", ".join('{"type": null, "context": null, "children_spec": []}' for _ in call)
    arguments = f'{{"type": "builtins.tuple", "context": "null", "children_spec": [{leaves}]}}'
    keywords = '{"type": "builtins.dict", "context": "[]", "children_spec": []}'
    call_signature = {
        "inputs": [],
        "outputs": [],
        "in_spec": f'[1, {{"type": "builtins.tuple", "context": "null", "children_spec": [{arguments}, {keywords}]}}]',
        "out_spec": '[1, {"type": null, "context": null, "children_spec": []}]',
        "forward_arg_names": [name for name, *_ in call],
    }
    graph = {
        "inputs": list(inputs),
        "outputs": [],
        "nodes": [],
        "tensor_values": values,
        "sym_int_values": {},
        "sym_bool_values": {},
        "is_single_tensor_return": False,
        "custom_obj_values": {},
        "sym_float_values": {},
    }
    module = {
        "graph": graph,
        "signature": {"input_specs": [{"user_input": {"arg": each}} for each in inputs], "output_specs": []},
        "module_call_graph": [{"fqn": "", "signature": call_signature}],
        "metadata": {},
        "treespec_namedtuple_fields": {},
    }
    return ProgramFile(
        {
            "graph_module": module,
            "opset_version": {"aten": 10},
            "range_constraints": {symbol: {"min_val": 0, "max_val": None} for symbol in SYMBOLS.values()},
            "schema_version": {"major": 8, "minor": 14},
            "verifiers": ["TRAINING"],
            "torch_version": "2.9.0",
            "guards_code": [],
        }
    )


def layered_program(n_layers, dtype=torch.float64):
    """Return a message-passing network of seven nodes a layer, after eight nodes and before two."""
    program = empty_program(dtype)
    generator = torch.Generator().manual_seed(7)
    table = program.add_weight("table.weight", torch.rand(12, 1, dtype=dtype, generator=generator))
    scale = program.add_weight("scale", torch.tensor([0.3], dtype=dtype))

    def add(target, outputs, sizes, dtype=dtype, /, **arguments):
        return program.add_node(target, outputs, sizes, dtype, **arguments)

    centre = add("select.int", "centre", ["E"], torch.int64, self="edge_index", dim=0, index=0)
    neighbour = add("select.int", "neighbour", ["E"], torch.int64, self="edge_index", dim=0, index=1)
    add("mul.Tensor", "squares", ["E", 3], self="edge_vectors", other="edge_vectors")
    add("sum.dim_IntList", "square", ["E"], self="squares", dim=[1])
    add("neg.default", "negative", ["E"], self="square")
    factors = add("exp.default", "factors", ["E"], self="negative")
    add("embedding.default", "strengths", ["n", 1], weight=table, indices="species")
    features = add("squeeze.dim", "features", ["n"], self="strengths", dim=1)
    for k in range(n_layers):
        add("index.Tensor", f"a{k}", ["E"], self=features, indices=[neighbour])
        add("mul.Tensor", f"b{k}", ["E"], self=f"a{k}", other=factors)
        add("tanh.default", f"c{k}", ["E"], self=f"b{k}")
        add("zeros_like.default", f"d{k}", ["n"], self=features)
        add("index_add.default", f"e{k}", ["n"], self=f"d{k}", dim=0, index=centre, source=f"c{k}")
        add("mul.Tensor", f"f{k}", ["n"], self=f"e{k}", other=scale)
        features = add("add.Tensor", f"g{k}", ["n"], self=features, other=f"f{k}")
    add("square.default", "last", ["n"], self=features)
    program.returns(add("mul.Tensor", "energies", ["n"], self="last", other=0.5))
    return program


def saved_inputs(*tensors):
    """Return examples of inputs as torch.export.save keeps them."""
    buffer = io.BytesIO()
    torch.save((tensors, {}), buffer)
    return buffer.getvalue()
