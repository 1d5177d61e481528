# SPDX-License-Identifier: LGPL-2.1-or-later
"""Modules of unusual forms as programs of torch.export, and what is said of those that cannot be."""

import re
import threading

import pytest
import torch
from program_files import inputs_of, needs_export, opened
from saving import left_in, stated_of
from torch import nn
from trapped import Sound

import kim_torchml
from kim_torchml.errors import DriverError
from kim_torchml.tools.package.code_lines import line_of_error

pytestmark = needs_export


def saved(module, folder, **changes):
    """Save a module of the kind edges as a program of torch.export."""
    return kim_torchml.save_model(module, folder, **stated_of(Sound, kind="edges", file_format="pt2", **changes))


class AddsInPlace(Sound):
    """Adds to the same tensor several times, as loops over layers or over the ends of edges do."""

    def forward(self, species, edge_index, edge_vectors):
        found = self.functions(edge_vectors)
        sums = edge_vectors.new_zeros([species.shape[0], 4])
        sums.index_add_(0, edge_index[0], found)
        sums.index_add_(0, edge_index[1], found)
        sums.mul_(self.widths)
        sums += 1.0
        return self.linear(sums).sum(1)


class TakesAnyNumber(Sound):
    def forward(self, *tensors):
        return super().forward(*tensors)


class KeepsTensors(Sound):
    """Keeps what it has computed once, in attributes and in containers."""

    def __init__(self):
        super().__init__()
        self.kept, self.by_name, self.calls = None, {}, []

    def forward(self, species, edge_index, edge_vectors):
        if self.kept is None:
            self.kept = torch.linspace(1.0, 2.0, 4, dtype=torch.float64)
            self.by_name["more"] = self.kept + 1.0
        self.calls.append(edge_vectors)
        self.last = edge_vectors
        return super().forward(species, edge_index, edge_vectors * (self.kept + self.by_name["more"]).mean())


@pytest.mark.parametrize("kind", [AddsInPlace, TakesAnyNumber, KeepsTensors], ids=lambda each: each.__name__)
def test_forms_that_can_be_exported(kind, tmp_path):
    module = kind()
    report = saved(module, tmp_path / "model")
    assert report.doubts == ()
    program = opened((tmp_path / "model" / "model.pt2").read_bytes())
    for n, n_edges in ((7, 40), (3, 0)):
        inputs = inputs_of(n, n_edges)
        energies = module(*inputs.arguments)
        (gradient,) = torch.autograd.grad(energies.sum(), inputs.leaf)
        result = program.run(inputs, wants_gradient=True)
        assert torch.allclose(result.energies, energies.detach(), rtol=1e-12)
        assert torch.allclose(result.gradient, gradient, rtol=1e-12)


def test_attributes_are_those_from_before_the_export(tmp_path):
    """Those of the export have no values, and would make every later call fail."""

    class Branches(KeepsTensors):
        def forward(self, species, edge_index, edge_vectors):
            energies = super().forward(species, edge_index, edge_vectors)
            return energies if energies.sum() > 0.0 else -energies

    module = Branches()
    with pytest.raises(DriverError, match="what it does next depends on the values in a tensor"):
        saved(module, tmp_path / "model")
    assert (module.kept, module.by_name, module.calls) == (None, {}, [])
    assert not hasattr(module, "last")


class WithoutGradient(Sound):
    def forward(self, species, edge_index, edge_vectors):
        with torch.no_grad():
            n = torch.ones_like(species).sum()  # the trap
        return super().forward(species, edge_index, edge_vectors) * (n / n)


class Autocasts(Sound):
    def forward(self, species, edge_index, edge_vectors):
        with torch.autocast("cpu", enabled=False):
            scaled = edge_vectors * 1.0  # the trap
        return super().forward(species, edge_index, scaled)


class Rounds(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class HasOwnBackward(Sound):
    def forward(self, species, edge_index, edge_vectors):
        return Rounds.apply(super().forward(species, edge_index, edge_vectors))


class TakesCharges(Sound):
    def forward(self, species, edge_index, edge_vectors, charges):
        return super().forward(species, edge_index, edge_vectors) * charges


class HasScriptedPart(Sound):
    def __init__(self):
        super().__init__()
        self.part = torch.jit.script(nn.Linear(4, 4, dtype=torch.float64))

    def forward(self, species, edge_index, edge_vectors):
        sums = self.sums(species.shape[0], edge_index, edge_vectors)
        if int(species.sum()) >= 0:
            sums = self.part(sums)
        return sums.sum(1)


class ReturnsDictionary(Sound):
    def forward(self, species, edge_index, edge_vectors):
        return {"energy": super().forward(species, edge_index, edge_vectors)}


REFUSED = [
    (WithoutGradient, r"wrap_with_set_grad_enabled', .* \(.*odd_modules\.py, line \d+: n = torch\.ones"
     r".*\): that is torch\.no_grad\(\) or torch\.enable_grad\(\); call \.detach\(\) on tensors instead$"),
    (Autocasts, r"wrap_with_autocast', .*line \d+: scaled = edge_vectors \* 1\.0.*\): that is torch\.autocast"),
    (HasOwnBackward, r"the gradients of the exported program differ by .*; torch\.export drops the `backward` of"),
    (TakesCharges, r"as model\.pt2: missing a required argument: 'charges'$"),
    (HasScriptedPart, r"; its part part is TorchScript, which torch\.export may not take: leave it in Python$"),
    (ReturnsDictionary, r"the module ReturnsDictionary must return a tensor, the energies, got a dict; return"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "reason"), REFUSED, ids=[each[0].__name__ for each in REFUSED])
@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
def test_forms_that_cannot_be_exported(kind, reason, tmp_path):
    with pytest.raises(DriverError, match=reason):
        saved(kind(), tmp_path / "model")
    assert left_in(tmp_path) == []


def test_a_number_made_of_a_size(tmp_path):
    class Counts(Sound):
        def forward(self, species, edge_index, edge_vectors):
            scale = int(species.shape[0] + 1)
            return super().forward(species, edge_index, edge_vectors) * scale / scale

    with pytest.raises(
        DriverError, match=r"== 24 alone .*; make no number of Python out of a size, as int\(\.\.\), math"
    ):
        saved(Counts(), tmp_path / "model")


def test_a_module_without_sizes_yet(tmp_path):
    module = Sound()
    module.linear = nn.LazyLinear(4, dtype=torch.float64)
    with pytest.raises(
        DriverError, match=r"^`module` must have all of its tensors, got linear\.weight, which has no size yet; call"
    ):
        saved(module, tmp_path / "model")


def test_the_standard_library_is_not_the_authors():
    with pytest.raises(re.error) as raised:
        re.compile("(")
    assert "test_exporting_odd_modules.py" in line_of_error(raised.value)


def test_several_threads(tmp_path):
    """Torch's export changes what belongs to the process, and fails where it runs twice at once."""
    failed = []

    def save(number):
        try:
            saved(Sound(), tmp_path / f"model_{number}")
        except DriverError as error:
            failed.append(error)

    threads = [threading.Thread(target=save, args=(number,)) for number in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert failed == []
    assert len({(tmp_path / f"model_{number}" / "model.pt2").read_bytes() for number in range(3)}) == 1


class DividesCounts(Sound):
    def forward(self, species, edge_index, edge_vectors):
        return super().forward(species, edge_index, edge_vectors) * (1 / (species + 3))


def test_energies_do_not_change_with_the_default_type(tmp_path):
    """Whole numbers that are divided become what they were for the author, not what a simulator's process has."""
    module = DividesCounts()
    inputs = inputs_of(9, 40)
    torch.set_default_dtype(torch.float64)
    try:
        report = saved(module, tmp_path / "model")
        assert torch.get_default_dtype() is torch.float64
        expected = module(*inputs.arguments)
    finally:
        torch.set_default_dtype(torch.float32)
    assert report.doubts == ()
    found = opened((tmp_path / "model" / "model.pt2").read_bytes()).run(inputs, wants_gradient=False).energies
    torch.testing.assert_close(found, expected.detach(), rtol=1e-14, atol=0.0)
    assert not torch.allclose(module(*inputs.arguments), expected, rtol=1e-12, atol=0.0)


class Expanded(Sound):
    """Holds one number as if it were four."""

    def __init__(self):
        super().__init__()
        self.register_buffer("factor", torch.ones(1, dtype=torch.float64).expand(4))


def test_a_tensor_whose_entries_are_one_is_no_parameter(tmp_path):
    with pytest.raises(
        DriverError, match=r"must name dense parameters .* got 'factor': .*, whose entries share memory;"
    ):
        saved(Expanded(), tmp_path / "model", parameters={"factor": "of all functions"})
    assert left_in(tmp_path) == []
