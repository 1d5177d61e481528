# SPDX-License-Identifier: LGPL-2.1-or-later
"""TorchScript without branches as graphs of torch.fx, and what packages print kept off the terminal."""

import logging
import os
import warnings

import pytest
import torch
from torch import Tensor, nn

from kim_torchml.errors import DriverError
from kim_torchml.tools.convert.quiet import quiet
from kim_torchml.tools.convert.unscripted import unscripted, unscripted_parts


class Product(nn.Module):
    """Calls operators as e3nn's code does: on sizes, lists of them, and with an optional argument left out."""

    def __init__(self):
        super().__init__()
        self.register_buffer("coupling", torch.linspace(0.0, 1.0, 12, dtype=torch.float64, device="cpu").reshape(3, 4))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        rows = x.reshape(-1, 2, 3)
        first = torch.broadcast_tensors(rows.narrow(1, 0, 1), w.reshape(-1, 1, 1))[0]
        second = torch.tensordot(rows, self.coupling, dims=([2], [0]))
        joined = torch.cat([torch.einsum("zui,ij->zuj", first, self.coupling), second * 0.25], dim=1)
        return joined.permute(0, 2, 1).reshape(x.size()[:-1] + [12])  # noqa: RUF005


class Outer(nn.Module):
    def __init__(self):
        super().__init__()
        self.part = torch.jit.script(Product())

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        return self.part(x, w).sum(1)


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 1.0 if x.shape[0] > 2 else x


class Raising(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise AssertionError("not made")


def inputs(n):
    random = torch.Generator().manual_seed(n)
    return (
        torch.randn(n, 6, dtype=torch.float64, device="cpu", generator=random),
        torch.randn(n, dtype=torch.float64, device="cpu", generator=random),
    )


@pytest.mark.parametrize("n", [0, 1, 7])
def test_a_graph_gives_what_torchscript_gives(n):
    script = torch.jit.script(Product())
    assert torch.equal(unscripted(script)(*inputs(n)), script(*inputs(n)))


def test_a_graph_shares_tensors():
    script = torch.jit.script(Product())
    graph = unscripted(script)
    script.coupling.zero_()
    assert not graph(*inputs(3)).any()


def test_a_module_can_be_exported_for_any_size():
    module = Outer()
    n = torch.export.Dim("n", min=0)
    with unscripted_parts(module):
        assert isinstance(module.part, torch.fx.GraphModule)
        program = torch.export.export(module, inputs(23), dynamic_shapes=({0: n}, {0: n}), strict=False)
    assert isinstance(module.part, torch.jit.ScriptModule)
    for count in (0, 1, 40):
        assert torch.equal(program.module()(*inputs(count)), module(*inputs(count)))


def test_parts_come_back_after_an_error():
    module = Outer()
    with pytest.raises(ValueError, match="mine"), unscripted_parts(module):
        raise ValueError("mine")
    assert isinstance(module.part, torch.jit.ScriptModule)


def test_a_branch_is_refused():
    with pytest.raises(DriverError, match="that is TorchScript uses prim::If, which its conversion does not know"):
        unscripted(torch.jit.script(Branching()))


def test_a_part_that_only_raises_is_no_reason_to_refuse():
    module = nn.ModuleDict({"part": torch.jit.script(Raising())})
    with unscripted_parts(module), pytest.raises(NotImplementedError, match="this part of the network was not made"):
        module["part"](torch.zeros(1, device="cpu"))
    assert isinstance(module["part"], torch.jit.ScriptModule)


def test_quiet(capfd):
    environment = dict(os.environ)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with quiet():
            print("of no use")
            warnings.warn("nor this", stacklevel=1)
            logging.getLogger("package").warning("nor that")
            os.environ["KIM_TORCHML_TEST_OF_QUIET"] = "1"
    assert not caught
    assert capfd.readouterr() == ("", "")
    assert dict(os.environ) == environment
