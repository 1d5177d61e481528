# SPDX-License-Identifier: LGPL-2.1-or-later
"""Operators that torch does not protect from some numbers: they do no harm, and the same as ever with all others."""

import pytest
import torch
from exporting import exported_bytes
from fresh_python import run_python
from program_files import inputs_of, needs_export, opened
from torch.fx.experimental.proxy_tensor import make_fx
from trapped import Sound

from kim_torchml.engines.exported.guarded_calls import GUARDED
from kim_torchml.engines.exported.operators import find_operator

pytestmark = needs_export


def call(name, *arguments, **keywords):
    return find_operator(f"torch.ops.aten.{name}").function(*arguments, **keywords)


def of_torch(name, *arguments, **keywords):
    packet, overload = name.split(".")
    return getattr(getattr(torch.ops.aten, packet), overload)(*arguments, **keywords)


INTEGERS = [torch.int8, torch.int16, torch.int32, torch.int64]
NUMBERS, DIVISORS = torch.arange(-9, 9), torch.tensor([-7, -2, -1, 1, 2, 7])
TRUNC = {"rounding_mode": "trunc"}
SOUND = [
    *(("repeat_interleave.Tensor", (torch.tensor([2, 0, 3], dtype=dtype),), {}) for dtype in INTEGERS[2:]),
    ("repeat_interleave.Tensor", (torch.tensor([2, 0, 3]),), {"output_size": 5}),
    ("repeat_interleave.self_Tensor", (torch.rand(3, 2), torch.tensor([2, 0, 3]), 0), {"output_size": 5}),
    ("repeat_interleave.self_Tensor", (torch.rand(3, 2), torch.tensor([2])), {}),
    *(
        ("div.Tensor_mode", (NUMBERS.to(one)[:, None], DIVISORS.to(other)), {"rounding_mode": mode})
        for one in INTEGERS for other in INTEGERS for mode in ("trunc", "floor")
    ),
    *(("div.Scalar_mode", (NUMBERS, by), TRUNC) for by in (*DIVISORS.tolist(), -1.0, 0.3)),
    ("divide.Tensor_mode", (NUMBERS / 4, torch.tensor(-1)), TRUNC),
    ("div.Tensor_mode", (torch.arange(9).to(torch.uint8), torch.tensor([3], dtype=torch.uint8)), TRUNC),
    ("div.Tensor_mode", (NUMBERS, torch.tensor([-1, 1]).repeat(9)), {"rounding_mode": None}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments", "keywords"), SOUND, ids=range(len(SOUND)))
def test_results_are_those_of_torch(name, arguments, keywords):
    found, expected = call(name, *arguments, **keywords), of_torch(name, *arguments, **keywords)
    assert torch.equal(found, expected)
    assert found.dtype is expected.dtype


def test_the_smallest_integer_divided_by_minus_one_is_itself():
    """There is no other number for it in as many bits."""
    for dtype in INTEGERS:
        least = torch.tensor([torch.iinfo(dtype).min] * 40, dtype=dtype)
        for mode in ("trunc", "floor"):
            assert torch.equal(call("div.Tensor_mode", least, torch.full_like(least, -1), rounding_mode=mode), least)
            assert torch.equal(call("div.Scalar_mode", least, -1, rounding_mode=mode), least)


# Torch alone ends the process in each of these, or destroys its memory.
HARMFUL = """
    import sys
    import torch
    from kim_torchml.engines.exported.operators import find_operator

    def call(name, *arguments, **keywords):
        try:
            find_operator(f"torch.ops.aten.{name}").function(*arguments, **keywords)
        except RuntimeError as error:
            print(str(error).splitlines()[0])

    call("repeat_interleave.Tensor", torch.tensor([300000, -299995]), output_size=5)
    call("repeat_interleave.self_Tensor", torch.rand(2), torch.tensor([300000, -299995]), 0, output_size=5)
    call("repeat_interleave.Tensor", torch.tensor([2**62] * 4 + [5]), output_size=5)
    least = torch.full([40], -(2**63))
    for name in ("div.Tensor_mode", "divide.Tensor_mode"):
        call(name, least, torch.full([40], -1), rounding_mode="trunc")
    call("div.Scalar_mode", least, -1, rounding_mode="trunc")
    print("alive")
"""


def test_numbers_that_do_harm_in_torch():
    lines = run_python(HARMFUL).splitlines()
    assert lines == [*["allocated size does not match required size"] * 3, "alive"]


def test_every_guarded_operator_is_called_with_the_guard():
    for name in GUARDED:
        assert find_operator(f"torch.ops.{name}").function is GUARDED[name]


class Repeating(Sound):
    """Gives every row its own number of entries, and adds them up again."""

    def forward(self, species, edge_index, edge_vectors):
        energies = super().forward(species, edge_index, edge_vectors)
        rows = torch.repeat_interleave(species + 1)
        halves = torch.div(species * 2, species - 2, rounding_mode="trunc")
        return torch.zeros_like(energies).index_add(0, rows, energies[rows]) + halves


def test_a_program_with_guarded_operators_can_be_traced():
    content, inputs = exported_bytes(Repeating), inputs_of(9, 40)
    program = opened(content)
    expected = Repeating().double()(*inputs.arguments)
    assert torch.equal(program.run(inputs, wants_gradient=True).energies, expected)

    def energies(*arguments):
        return program._runner.run(program._stored.tensors, arguments)[0]

    traced = make_fx(energies, tracing_mode="symbolic", _allow_non_fake_inputs=True)(*inputs.arguments)
    assert torch.equal(traced(*inputs.arguments), expected)
