# SPDX-License-Identifier: LGPL-2.1-or-later
"""Results of exported programs have the types that they had at export, whatever default type the host has chosen."""

import pytest
import torch
from exporting import differentiated, exported_bytes, loaded_by_torch
from host import HOST_DEFAULTS, defaults
from program_files import argument, empty_program, inputs_of, opened
from torch import Tensor, nn

aten = torch.ops.aten

# What torch computes in its default type where it is given integers: operator, arguments, whether these hold species.
OF_INTEGERS = [
    ("div.Tensor", {"self": "species", "other": "more"}),
    ("div.Tensor_mode", {"self": "more", "other": "species", "rounding_mode": None}),
    ("true_divide.Tensor", {"self": "species", "other": "more"}),
    ("div.Scalar", {"self": "species", "other": 7}),
    ("div.Tensor", {"self": "is_first", "other": "more"}),
    ("mul.Tensor", {"self": "more", "other": 0.1}),
    ("add.Scalar", {"self": "more", "other": 0.1}),
    ("rsub.Scalar", {"self": "more", "other": 0.1}),
    ("pow.Tensor_Scalar", {"self": "more", "exponent": 0.3}),
    ("pow.Scalar", {"self": 0.3, "exponent": "more"}),
    ("exp.default", {"self": "species"}),
    ("sigmoid.default", {"self": "more"}),
    ("atan2.default", {"self": "species", "other": "more"}),
    ("xlogy.Tensor", {"self": "more", "other": "more"}),
    ("clamp.default", {"self": "species", "min": 0.1}),
    ("logsumexp.default", {"self": "species", "dim": [0]}),
    ("where.Scalar", {"condition": "is_first", "self": 0.1, "other": 0.7}),
    ("where.ScalarOther", {"condition": "is_first", "self": "more", "other": 0.7}),
    ("where.ScalarSelf", {"condition": "is_first", "self": 0.7, "other": "more"}),
]
ALWAYS_FLOAT64 = [
    ("float_power.Tensor_Tensor", {"self": "more", "exponent": "species"}),
    ("bincount.default", {"self": "species", "weights": "more", "minlength": 2}),
]
EXPLICIT = [
    ("to.dtype", {"self": "more", "dtype": torch.float64}),
    ("sum.default", {"self": "more", "dtype": torch.float64}),
    ("zeros_like.default", {"self": "more", "dtype": torch.float64}),
]


def values_of(inputs):
    """Return the tensors that the operators above are called with."""
    species = inputs.arguments[0]
    return {"species": species, "more": species + 3, "is_first": species == 0}


def expected_of(target, arguments, inputs, dtype):
    """Return what torch gives where `dtype` is its default."""
    values, (packet, overload) = values_of(inputs), target.split(".")
    given = {name: values.get(value, value) if isinstance(value, str) else value for name, value in arguments.items()}
    with defaults("cpu", dtype):
        return getattr(getattr(aten, packet), overload)(**given)


def program_of(target, arguments, dtype):
    """Return a program that returns what an operator gives, in a type that its file states."""
    program = empty_program()
    program.add_node("add.Tensor", "more", ["n"], torch.int64, self="species", other=3)
    program.add_node("eq.Scalar", "is_first", ["n"], torch.bool, self="species", other=0)
    program.add_node(target, "found", ["n"], dtype, **arguments)
    program.returns("found")
    return opened(program.content())


@pytest.mark.parametrize("host", HOST_DEFAULTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("target", "arguments"), OF_INTEGERS, ids=lambda each: each if isinstance(each, str) else "")
def test_what_is_made_of_integers(target, arguments, dtype, host):
    inputs = inputs_of(9, 4)
    expected = expected_of(target, arguments, inputs, dtype)
    assert expected.dtype is dtype
    program = program_of(target, arguments, dtype)
    with defaults(*host):
        found = program.run(inputs, wants_gradient=True).energies
    assert found.dtype is dtype
    assert torch.equal(found, expected)


@pytest.mark.parametrize("host", HOST_DEFAULTS)
@pytest.mark.parametrize(("target", "arguments"), ALWAYS_FLOAT64 + EXPLICIT)
def test_what_depends_on_no_default(target, arguments, host):
    inputs = inputs_of(9, 4)
    expected = expected_of(target, arguments, inputs, torch.float32)
    program = program_of(target, arguments, torch.float64)
    with defaults(*host):
        found = program.run(inputs, wants_gradient=True).energies
    assert found.dtype is expected.dtype is torch.float64
    assert torch.equal(found, expected)


def test_integers_with_a_size_as_number():
    """A size is no tensor, and stays a number."""
    program = empty_program()
    program.add_node("sym_size.int", [], self="species", dim=0)
    program.nodes[-1]["outputs"] = [{"as_sym_int": {"as_name": "n"}}]
    inputs = [
        {"name": name, "arg": each} for name, each in (("a", {"as_sym_int": {"as_name": "n"}}), ("b", argument(7)))
    ]
    share = [{"as_sym_float": {"as_name": "share"}}]
    program.nodes.append({"target": "_operator.truediv", "inputs": inputs, "outputs": share, "metadata": {}})
    other = {"as_sym_float": {"as_name": "share"}}
    program.add_node("mul.Tensor", "found", ["n"], torch.float32, self="species", other=other)
    program.returns("found")
    called = inputs_of(9, 4)
    with defaults("cpu", torch.float64):
        found = opened(program.content()).run(called, wants_gradient=True).energies
    assert torch.equal(found, called.arguments[0] * (9 / 7))
    assert found.dtype is torch.float32


class OfIntegers(nn.Module):
    """A network that computes with integers and truth values as numbers."""

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        count = torch.zeros_like(species).index_add(0, edge_index[0], torch.ones_like(edge_index[0]))
        share = count / count.sum().clamp(min=1) + (species + 1) / 3 + torch.where(species > 0, 0.1, 0.7)
        share = share + torch.where(species > 0, species, 0.3) + species * 0.1 + (species + 2).log() + count.sqrt()
        r = edge_vectors.square().sum(1)
        return share * torch.zeros(species.shape[0], dtype=r.dtype).index_add(0, edge_index[0], torch.exp(-r))


@pytest.mark.parametrize("host", HOST_DEFAULTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_network_that_computes_with_integers(dtype, host):
    content, inputs = exported_bytes(OfIntegers, dtype), inputs_of(23, 506, dtype)
    energies, gradient = differentiated(loaded_by_torch(content), inputs)
    program = opened(content, dtype)
    with defaults(*host):
        found = program.run(inputs, wants_gradient=True)
    assert torch.equal(found.energies, energies)
    assert torch.equal(found.gradient, gradient)
