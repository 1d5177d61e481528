# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs of torch.export give what torch's own loader gives, and what TorchScript files of the same models give."""

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from archives import members
from exporting import Splitting, differentiated, exported_bytes, loaded_by_torch
from fresh_python import run_python
from models import PARAMETERS, Edges1, Edges3, script_bytes
from opening import assert_close, compute, open_described, outputs_of, toml_text
from particles import Configuration, cluster, interleaved
from program_files import (
    CPU,
    EDGES,
    empty_program,
    inputs_of,
    layered_program,
    meta,
    needs_export,
    opened,
    saved_inputs,
    signature_of,
)
from test_parameters import set_values
from torch.fx.experimental.proxy_tensor import make_fx
from trapped import Sound

from kim_torchml.driver import open_model as open_by_driver
from kim_torchml.engines import open_program
from kim_torchml.engines.contract import Table
from kim_torchml.errors import DriverError
from kim_torchml.inputs import Argument, ModelInputs

SIZES = [(23, 506), (5, 17), (2, 2), (4, 0), (1, 0), (0, 0)]
MODELS = {
    "float64": lambda: (exported_bytes(Splitting), torch.float64),
    "float32": lambda: (exported_bytes(Splitting, torch.float32), torch.float32),
    "three layers": lambda: (exported_bytes(Edges3), torch.float64),
}


@pytest.fixture(scope="module", params=MODELS)
def both(request):
    """Return a program, what torch's own loader makes of its file, and the floating type of its inputs."""
    content, dtype = MODELS[request.param]()
    return opened(content, dtype), loaded_by_torch(content), dtype


def assert_equal(program, module, inputs):
    """Compare energies and gradient bit for bit."""
    result = program.run(inputs, wants_gradient=True)
    energies, gradient = differentiated(module, inputs)
    assert torch.equal(result.energies, energies)
    assert result.energies.dtype is energies.dtype
    assert (result.gradient is None) == (gradient is None)
    if gradient is not None:
        assert torch.equal(result.gradient, gradient)


@pytest.mark.parametrize(("n", "n_edges"), SIZES)
def test_results_are_those_of_torchs_own_loader(both, n, n_edges):
    program, module, dtype = both
    for contributing in (None, n // 2):
        assert_equal(program, module, inputs_of(n, n_edges, dtype, contributing=contributing))


def test_without_a_gradient(both):
    program, _, dtype = both
    inputs = inputs_of(5, 17, dtype)
    result = program.run(inputs, wants_gradient=False)
    assert result.gradient is None
    assert torch.equal(result.energies, program.run(inputs, wants_gradient=True).energies)
    assert not result.energies.requires_grad


def test_names_dtype_and_tables(both):
    program, _, dtype = both
    assert program.dtype is dtype
    assert program.argument_names() == ["species", "edge_index", "edge_vectors"]
    assert program.attribute("kim_parameters") is None
    has_table = "embedding.weight" in program.tensors()
    assert program.tables() == ([Table("embedding.weight", 3)] if has_table else [])


def test_tensors_are_parameters_and_buffers():
    program, model = opened(exported_bytes(Splitting)), Splitting().double()
    held = {**dict(model.named_parameters(remove_duplicate=False)), **dict(model.named_buffers())}
    assert set(program.tensors()) == set(held)
    for name, tensor in program.tensors().items():
        assert torch.equal(tensor, held[name].detach()), name
        assert not tensor.requires_grad
        assert tensor.stride() == held[name].stride(), name


def test_shared_weights_stay_shared():
    program = opened(exported_bytes(Splitting))
    new = torch.full((8, 8), 0.125, dtype=torch.float64)
    changed = program.with_tensors({"second.weight": new})
    assert torch.equal(changed.tensors()["tied.weight"], new)
    assert not torch.equal(program.tensors()["tied.weight"], new)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_written_file_is_read_by_torchs_own_loader(dtype):
    """With new weights, and with all else that was in it."""
    original = exported_bytes(Splitting, dtype)
    new = {"second.weight": torch.rand(8, 8, dtype=dtype), "not_saved": torch.tensor([2.0, 0.25], dtype=dtype)}
    changed = opened(original, dtype).with_tensors(new)
    content = changed.file_content(original)
    assert_equal(changed, loaded_by_torch(content), inputs_of(23, 506, dtype))
    assert_equal(opened(content, dtype), loaded_by_torch(content), inputs_of(23, 506, dtype))
    before, after = members(original), members(content)
    assert list(after) == list(before)
    differing = [name for name in before if before[name] != after[name]]
    assert len(differing) == 2
    assert all("/data/weights/weight_" in name or "/data/constants/tensor_" in name for name in differing)


def test_an_unchanged_program_is_written_as_it_was():
    original = exported_bytes(Splitting)
    assert members(opened(original).file_content(original)) == members(original)


@pytest.fixture(scope="module")
def long_file():
    """Return the content of a file of 1,410 nodes."""
    program = layered_program(200)
    assert len(program.nodes) >= 1400
    program.entries["data/sample_inputs/model.pt"] = saved_inputs(*inputs_of(5, 9).arguments)
    return program.content()


def test_a_program_of_1400_nodes(long_file):
    assert_equal(opened(long_file), loaded_by_torch(long_file), inputs_of(23, 506, contributing=20))


def test_results_that_are_an_input_or_a_weight_are_the_callers_own():
    program = empty_program()
    program.add_weight("shift", torch.arange(4.0, dtype=torch.float64))
    program.returns("p_shift")
    found = opened(program.content())
    first = found.run(inputs_of(4, 2), wants_gradient=True)
    assert first.gradient is None
    first.energies.zero_()
    assert found.run(inputs_of(4, 2), wants_gradient=True).energies.tolist() == [0.0, 1.0, 2.0, 3.0]


def test_what_a_program_makes_is_of_the_type_that_it_was_exported_with():
    """A host's own default type changes nothing."""
    program = empty_program()
    program.add_node("sym_size.int", [], self="species", dim=0)
    program.nodes[-1]["outputs"] = [{"as_sym_int": {"as_name": "n"}}]
    program.add_node("ones.default", "ones", ["n"], size={"as_sym_ints": [{"as_name": "n"}]})
    program.returns("ones")
    found = opened(program.content())
    assert torch.get_default_dtype() is torch.float32
    assert found.run(inputs_of(3, 2), wants_gradient=False).energies.dtype is torch.float64


def test_a_program_can_be_traced():
    """Compiling needs that: operators with sizes as symbols, out of any call."""
    content = exported_bytes(Splitting)
    program, module = opened(content), loaded_by_torch(content)
    inputs = inputs_of(23, 506)

    def energies(*arguments):
        return program._runner.run(program._stored.tensors, arguments)[0]

    traced = make_fx(energies, tracing_mode="symbolic", _allow_non_fake_inputs=True)(*inputs.arguments)
    others = inputs_of(7, 31)
    assert torch.equal(traced(*others.arguments), module(*others.arguments))


def test_opening_and_running_import_nothing_of_torchs_compilers(tmp_path):
    """They need half a second and more, and what they have evaluates texts of files."""
    (tmp_path / "x.pt2").write_bytes(exported_bytes(Splitting))
    (tmp_path / "long.pt2").write_bytes(layered_program(3).content())
    code = """
        import sys
        from pathlib import Path
        import torch
        from kim_torchml.engines import open_program
        from kim_torchml.engines.exported.operators import SIZE_FUNCTIONS
        from kim_torchml.inputs import Argument, ModelInputs, Signature
        before = set(sys.modules)
        arguments = Argument("species", ("n",)), Argument("edge_index", (2, "E")), Argument("vectors", ("E", 3), None)
        signature = Signature(arguments, "vectors", False, "", "", torch.float64)
        for name in sys.argv[1:]:
            program = open_program(Path(name).read_bytes(), name, torch.device("cpu"), signature)
            leaf = torch.ones(2, 3, dtype=torch.float64, requires_grad=True)
            tensors = torch.zeros(2, dtype=torch.int64), torch.tensor([[0, 1], [1, 0]]), leaf
            result = program.run(ModelInputs(tensors, leaf, 2, slice(0, 1), None, 2), wants_gradient=True)
            assert result.gradient.abs().max() > 0
            program.with_tensors(program.tensors()).file_content(Path(name).read_bytes())
            program.tables()
        for function, count in SIZE_FUNCTIONS.values():
            function(*(7, 2)[:count])
        print(*(name for name in sys.modules if name.startswith(("sympy", "torch._dynamo", "torch._inductor"))))
        new = set(sys.modules) - before
        print(*(name for name in new if name.startswith(("torch.export", "torch._export", "torch.fx"))))
    """
    assert run_python(code, arguments=[tmp_path / "x.pt2", tmp_path / "long.pt2"]).split() == []


EVERYTHING = outputs_of(Edges3)
CONFIGURATIONS = {
    "some contribute": interleaved(cluster(20, 4.4, n_contributing=7)),
    "one alone": Configuration([[1.0, 2.0, 3.0]], [0], [1]),
    "none contributes": Configuration([[1.0, 2.0, 3.0]], [0], [0]),
}


def described(folder, content, kind, model_file, dtype="float64", **changes):
    stated = {"kind": "edges", "layers": PARAMETERS[kind]["n_layers"], "dtype": dtype} | changes
    return open_described(folder, content, model_file, **stated)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
@pytest.mark.parametrize("kind", [Edges1, Edges3])
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_models_give_what_those_of_torchscript_give(kind, dtype, tolerance, name, tmp_path):
    word = str(dtype).removeprefix("torch.")
    model = described(tmp_path / "a", exported_bytes(kind, dtype), kind, "model.pt2", word)
    other = described(tmp_path / "b", script_bytes(kind, dtype), kind, "model.pt", word)
    found, expected = (compute(each, CONFIGURATIONS[name], EVERYTHING) for each in (model, other))
    assert_close(found, expected, tolerance)


def test_a_model_is_written_with_its_parameters(tmp_path):
    tables = '[parameters]\nweight = "strength of messages"'
    model = described(tmp_path / "a", exported_bytes(Edges3), Edges3, "model.pt2", tables=tables)
    before = compute(model, CONFIGURATIONS["some contribute"], EVERYTHING)
    set_values(model, "weight", [0.45])
    expected = compute(model, CONFIGURATIONS["some contribute"], EVERYTHING)
    assert expected["partialEnergy"] != before["partialEnergy"]
    folder = tmp_path / "written"
    folder.mkdir()
    names = model.write(str(folder))
    assert sorted(names) == ["model.pt2", "model.toml"]
    again = open_by_driver(str(folder), names)
    again.prepare()
    for output, array in compute(again, CONFIGURATIONS["some contribute"], EVERYTHING).items():
        np.testing.assert_array_equal(array, expected[output], err_msg=output)
    written = (folder / "model.pt2").read_bytes()
    layers = PARAMETERS[Edges3]["n_layers"]
    assert toml_text(written, layers=layers).splitlines()[3] in (folder / "model.toml").read_text()


class OneOfSeveral(Sound):
    """Chooses a row of a table by indices that have nothing of the species but their number."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(5, 4, dtype=torch.float64)
        self.register_buffer("head", torch.tensor([2], dtype=torch.int64))

    def forward(self, species, edge_index, edge_vectors):
        chosen = self.head[torch.zeros_like(species)].to(edge_vectors.dtype)
        return super().forward(species, edge_index, edge_vectors) * chosen + self.embedding(species).sum(1)


@needs_export
def test_indices_of_the_shape_of_species_are_no_species():
    program = opened(exported_bytes(OneOfSeveral))
    assert program.tables() == [Table("embedding.weight", 5)]


class Totals(torch.nn.Module):
    """The total energy of particles that do not see each other, of the kind none."""

    def forward(self, species, coordinates, n_neighbours, neighbours, contributing):
        own = coordinates.square().sum(1) * (1 + species.to(coordinates.dtype))
        return (own * contributing).sum() + 0 * (n_neighbours.sum() + neighbours.sum())


@needs_export
def test_a_program_of_the_kind_none():
    names = ("species", "coordinates", "n_neighbours", "neighbours", "contributing")
    example = (
        torch.zeros(7, dtype=torch.int64),
        torch.rand(7, 3, dtype=torch.float64),
        torch.ones(5, dtype=torch.int32),
        torch.zeros(11, dtype=torch.int32),
        torch.ones(7, dtype=torch.int64),
    )
    n = torch.export.Dim("n", min=0)
    sizes = ({0: n}, {0: n}, {0: torch.export.Dim("c", min=0)}, {0: torch.export.Dim("p", min=0)}, {0: n})
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(Totals(), example, dynamic_shapes=sizes), buffer)
    shapes = (("n",), ("n", 3), ("contributing",), ("pairs",), ("n",))
    dtypes = (torch.int64, None, torch.int32, torch.int32, torch.int64)
    arguments = tuple(map(Argument, names, shapes, dtypes))
    program = opened(buffer.getvalue(), arguments=arguments, leaf="coordinates")
    leaf = torch.tensor([[1.0, 2.0, 3.0], [0.0, 1.0, 1.0]], dtype=torch.float64, requires_grad=True)
    tensors = (torch.tensor([0, 1]), leaf, torch.zeros(1, dtype=torch.int32), torch.zeros(0, dtype=torch.int32))
    inputs = ModelInputs((*tensors, torch.tensor([1, 0])), leaf, 2, slice(0, 1), None, 0)
    result = program.run(inputs, wants_gradient=True)
    assert result.energies == 14.0
    assert result.gradient.tolist() == [[2.0, 4.0, 6.0], [0.0, 0.0, 0.0]]


WRONG_CALLS = [
    (
        EDGES[:2],
        torch.float64,
        r"^the model in x\.pt2 must take 2 inputs, as model\.toml says, but its forward takes 3;",
    ),
    (
        EDGES,
        torch.float32,
        r"is called with edge_vectors \[E, 3\] of torch\.float32, .* exported for edge_vectors \[s1, 3\]",
    ),
    ((*EDGES[:2], Argument("v", ("E", 4), None)), torch.float64, r"with v \[E, 4\], but .* for edge_vectors \[s1, 3\]"),
    ((*EDGES[:2], Argument("v", ("E",), None)), torch.float64, r"with v \[E\] of torch\.float64, as .* \[s1, 3\] of"),
    ((*EDGES[:2], Argument("v", ("m", 3), None)), torch.float64, r"v \[m, 3\], .*; export it with dynamic_shapes that"),
    ((Argument("species", ("n",), torch.int32), *EDGES[1:]), torch.float64, r"species \[n\] of torch\.int32, as"),
]


@pytest.mark.parametrize(("arguments", "dtype", "message"), WRONG_CALLS)
def test_a_program_for_other_tensors(arguments, dtype, message):
    with pytest.raises(DriverError, match=message):
        open_program(layered_program(1).content(), "x.pt2", CPU, signature_of(dtype, arguments))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ([23], r"called with species \[n\], but was exported for species \[23\]; export it with dynamic_shapes that"),
        (["2*s0"], r"called with species \[n\], but was exported for species \[an expression\]; export it with"),
        (["s1"], r"called with edge_index \[2, E\], but was exported for edge_index \[2, s1\]; export it with"),
    ],
)
def test_a_program_for_fixed_sizes(sizes, message):
    """Its arithmetic may hold them, so that it would be silently wrong for others."""
    program = layered_program(1)
    program.graph["tensor_values"]["species"] = meta(torch.int64, sizes)
    with pytest.raises(DriverError, match=message):
        opened(program.content())


def test_an_error_of_an_operator_names_it():
    program = layered_program(1)
    message = (
        r"^the model in x\.pt2 raised an error in aten\.embedding\.default: index out of range in self; call it with "
        r"the same tensors in Python to see more$"
    )
    inputs = inputs_of(5, 7)
    inputs.arguments[0][2] = 99
    with pytest.raises(DriverError, match=message):
        opened(program.content()).run(inputs, wants_gradient=True)


def test_several_threads_run_one_program():
    program = opened(exported_bytes(Splitting))
    calls = [inputs_of(5 + k, 40 + k, seed=k) for k in range(8)]
    expected = [program.run(each, wants_gradient=True) for each in calls]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda each: program.run(each, wants_gradient=True), calls * 3))
    for one, other in zip(found, expected * 3, strict=True):
        assert torch.equal(one.energies, other.energies)
        assert torch.equal(one.gradient, other.gradient)


class ChangesWhatItMade(Sound):
    """Changes in place what it has made, with weights as the numbers to change it by."""

    def forward(self, species, edge_index, edge_vectors):
        sums = self.sums(species.shape[0], edge_index, edge_vectors)
        factors = torch.zeros_like(sums)
        factors += self.widths
        factors *= 2.0
        return (sums * factors).sum(1)


def test_a_program_may_change_what_it_has_made_by_its_weights():
    inputs = inputs_of(5, 20)
    found = opened(exported_bytes(ChangesWhatItMade)).run(inputs, wants_gradient=True)
    assert torch.equal(found.energies, ChangesWhatItMade()(*inputs.arguments))
