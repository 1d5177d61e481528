# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tensors of a model as KIM parameters: chosen, read, set, refused, written."""

import io

import numpy as np
import pytest
import torch
from models import Pair, script_bytes
from opening import energy
from particles import cluster
from torch import Tensor, nn

from kim_torchml.driver.parameters import LARGEST_UNNAMED
from kim_torchml.errors import DriverError

CLUSTER = cluster(7, 2.6)
# Sums on a GPU come in any order; eV.
ROUNDING = 1e-12


class Layers(nn.Module):
    """Tensors in submodules, of several types and sizes."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
        self.register_buffer("large", torch.zeros(LARGEST_UNNAMED + 1))
        self.register_buffer("largest", torch.zeros(LARGEST_UNNAMED))
        self.register_buffer("counts", torch.tensor([3, 4]))
        self.register_buffer("nothing", torch.zeros(0))
        self.register_buffer("flag", torch.tensor([True]))

    def forward(self, a: Tensor, coordinates: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        return self.layers(coordinates).squeeze(1) * float(self.counts[0]) + self.largest[0]


class Chosen(Layers):
    kim_parameters: dict[str, str]

    def __init__(self, choice):
        super().__init__()
        self.kim_parameters = dict(choice)


class ChosenBadly(Layers):
    kim_parameters: list[str]

    def __init__(self):
        super().__init__()
        self.kim_parameters = ["large"]


class Colliding(Layers):
    def __init__(self):
        super().__init__()
        self.register_buffer("layers_0_weight", torch.zeros(1))


class Elements(Layers):
    def __init__(self):
        super().__init__()
        self.register_buffer("n_elements", torch.zeros(1))


class LargeIntegers(Chosen):
    def __init__(self):
        super().__init__({"ids": ""})
        self.register_buffer("ids", torch.tensor([1, 2**40]))


class PairWithMask(Pair):
    """A model whose buffer holds an infinity, as masks do."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mask", torch.tensor([0.0, -float("inf")], dtype=torch.float64))

    def forward(
        self, species: Tensor, coordinates: Tensor, n_neighbours: Tensor, neighbours: Tensor, contributing: Tensor
    ) -> Tensor:
        return self.site_energies(species, coordinates, n_neighbours, neighbours) + self.mask[0]


def chosen(choice):
    """Return the TorchScript file of a model with this choice of parameters."""
    return script_bytes(Chosen, choice=tuple(choice.items()))


def by_name(model):
    return {parameter.name: parameter for parameter in model.parameters}


def index_of(model, name):
    return [parameter.name for parameter in model.parameters].index(name)


def set_values(model, name, values):
    """Set values as KIM and the shim do: overwrite them, then say which parameter was changed."""
    by_name(model)[name].values[:] = values
    model.take_parameters([index_of(model, name)])


def test_a_model_that_chooses_none_publishes_its_small_floating_tensors(opened):
    found = by_name(opened(script_bytes(Layers)))
    names = ["n_elements", "layers_0_weight", "layers_0_bias", "layers_1_weight", "layers_1_bias", "largest"]
    assert list(found) == names
    assert found["layers_0_weight"].values.shape == (6,)
    assert found["layers_0_weight"].values.dtype == np.float64
    assert (
        found["layers_0_weight"].description
        == "Tensor layers.0.weight, shape [2, 3], in the model's own units (Å, eV)."
    )
    assert found["n_elements"].values.tolist() == [1]
    assert found["n_elements"].values.dtype == np.int32
    assert found["n_elements"].description.endswith("Read-only.")


def test_a_model_that_chooses(opened):
    choice = {"layers.1.bias": "shift of all energies.", "counts": "", "large": "much"}
    found = by_name(opened(chosen(choice)))
    assert list(found) == ["n_elements", "layers_1_bias", "counts", "large"]
    assert found["layers_1_bias"].description == (
        "shift of all energies. Tensor layers.1.bias, shape [1], in the model's own units (Å, eV)."
    )
    assert found["counts"].values.dtype == np.int32
    assert found["counts"].values.tolist() == [3, 4]
    assert found["large"].values.size == LARGEST_UNNAMED + 1


def test_a_model_that_chooses_nothing(opened):
    assert list(by_name(opened(chosen({})))) == ["n_elements"]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            lambda: chosen({"layers.2.bias": ""}),
            r"^`kim_parameters` of the model in model\.pt must name dense parameters or buffers of numbers, got "
            r"'layers\.2\.bias': nothing of that name; there are: layers\.0\.weight, .*",
        ),
        (lambda: chosen({"flag": ""}), r"got 'flag': a tensor of torch\.bool, torch\.strided, shape \[1\]; "),
        (lambda: chosen({"nothing": ""}), r"'nothing': a tensor of torch\.float64, torch\.strided, shape \[0\]"),
        (
            lambda: script_bytes(ChosenBadly),
            r"^`kim_parameters` of the model in model\.pt must be of the type Dict\[str, str\], .*, got list; annotate",
        ),
        (
            lambda: script_bytes(Colliding),
            r"^the tensors of the model in model\.pt must have different names as KIM parameters, got "
            r"'layers_0_weight' for layers\.0\.weight and for layers_0_weight; rename one of them",
        ),
        (lambda: script_bytes(Elements), r"got 'n_elements' for the number of elements and for n_elements; rename"),
        (
            lambda: script_bytes(LargeIntegers),
            r"^the tensor ids of the model in model\.pt must hold 32-bit integers .* from 1 to 1099511627776; leave it",
        ),
    ],
)
def test_choices_that_cannot_be(script, message, opened):
    with pytest.raises(DriverError, match=message):
        opened(script(), prepare=False)


def test_a_changed_parameter_changes_the_energy(opened):
    model = opened(script_bytes(Pair1))
    before = energy(model, CLUSTER)
    set_values(model, "bond", 1.5)
    assert energy(model, CLUSTER) == pytest.approx(energy(opened(script_bytes(Pair1, bond=1.5)), CLUSTER), abs=ROUNDING)
    assert energy(model, CLUSTER) != pytest.approx(before, abs=1e-3)
    set_values(model, "bond", 1.3)
    assert energy(model, CLUSTER) == pytest.approx(before, abs=ROUNDING)


class Pair1(Pair):
    def __init__(self, bond=1.3):
        super().__init__()
        self.bond[0] = bond

    def forward(
        self, species: Tensor, coordinates: Tensor, n_neighbours: Tensor, neighbours: Tensor, contributing: Tensor
    ) -> Tensor:
        return self.site_energies(species, coordinates, n_neighbours, neighbours)


def test_another_model_of_the_same_files_keeps_its_own(opened):
    first, second = (opened(script_bytes(Pair1)) for _ in range(2))
    before = energy(second, CLUSTER)
    set_values(first, "decay", 1.0)
    assert energy(second, CLUSTER) == pytest.approx(before, abs=ROUNDING)
    assert by_name(second)["decay"].values.tolist() == [1.7]
    assert energy(first, CLUSTER) != before
    assert energy(opened(script_bytes(Pair1)), CLUSTER) == pytest.approx(before, abs=ROUNDING)


def test_only_what_changed_is_pushed(opened):
    """A value that the simulator has overwritten but not announced does not reach the model."""
    model = opened(script_bytes(Pair1))
    expected = energy(opened(script_bytes(Pair1, bond=1.5)), CLUSTER)
    by_name(model)["decay"].values[:] = 9.9
    set_values(model, "bond", 1.5)
    assert energy(model, CLUSTER) == pytest.approx(expected, abs=ROUNDING)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("n_elements", 2, r"^the parameter `n_elements` is read-only: it must be 1, got 2; all .* set back$"),
        (
            "mask",
            [np.nan, -np.inf],
            r"^the parameter `mask` must be finite .* fit torch\.float64, got nan at index 0; all .*set back$",
        ),
        ("mask", [0.0, np.inf], r"got inf at index 1"),
    ],
)
def test_values_that_are_refused(name, value, message, opened):
    model = opened(script_bytes(PairWithMask))
    before = energy(model, CLUSTER)
    with pytest.raises(DriverError, match=message):
        set_values(model, name, value)
    assert energy(model, CLUSTER) == pytest.approx(before, abs=ROUNDING)


def test_an_infinity_that_was_there_may_stay(opened):
    model = opened(script_bytes(PairWithMask))
    before = energy(model, CLUSTER)
    set_values(model, "mask", [0.5, -np.inf])
    assert energy(model, CLUSTER) == pytest.approx(before + 0.5 * 7, abs=1e-12)


class PairWithNaN(PairWithMask):
    def __init__(self):
        super().__init__()
        self.mask[1] = float("nan")


def test_what_was_not_a_number_may_stay(opened):
    model = opened(script_bytes(PairWithNaN))
    before = energy(model, CLUSTER)
    set_values(model, "mask", [0.5, np.nan])
    assert energy(model, CLUSTER) == pytest.approx(before + 0.5 * 7, abs=1e-12)


class Odd(Layers):
    """A module with a sparse buffer, and with names that are no identifiers."""

    def __init__(self):
        super().__init__()
        self.register_buffer("sparse", torch.eye(2).to_sparse())
        self.pairs = nn.ParameterDict({"Si-Si": nn.Parameter(torch.ones(1)), "Si-C": nn.Parameter(torch.ones(1))})


class OddChosen(Odd):
    kim_parameters: dict[str, str]

    def __init__(self):
        super().__init__()
        self.kim_parameters = {"sparse": ""}


def test_tensors_that_cannot_be_published_do_not_keep_a_model_from_working(opened):
    names = list(by_name(opened(script_bytes(Odd))))
    assert {"pairs_Si_Si", "pairs_Si_C", "layers_0_weight"} < set(names)
    assert "sparse" not in names
    with pytest.raises(
        DriverError, match=r"got 'sparse': a tensor of torch\.float64, torch\.sparse_coo, shape \[2, 2\]; "
    ):
        opened(script_bytes(OddChosen))


def test_descriptions_are_one_printable_line(opened):
    choice = {"layers.1.bias": "one\n\x1b[31mtwo   three" + 1000 * "x"}
    text = by_name(opened(chosen(choice)))["layers_1_bias"].description
    assert text.startswith("one [31mtwo threexxx")
    assert text.isprintable()
    assert len(text) < 400


def test_float32_parameters(opened):
    model = opened(script_bytes(Pair1, torch.float32))
    assert by_name(model)["decay"].values.tolist() == [float(np.float32(1.7))]
    set_values(model, "decay", 1.9)
    # KIM gives the value that the model has, rounded to float32.
    assert by_name(model)["decay"].values.tolist() == [float(np.float32(1.9))]
    with pytest.raises(DriverError, match=r"must be finite numbers that fit torch\.float32, got 1e-50 at index 0"):
        set_values(model, "decay", 1e-50)
    with pytest.raises(DriverError, match=r"must be finite numbers that fit torch\.float32, got 1e\+40 at index 0"):
        set_values(model, "decay", 1e40)


def test_bfloat16_parameters(opened):
    """numpy does not know this type."""
    model = opened(script_bytes(Pair1, torch.bfloat16))
    set_values(model, "decay", 1.9)
    assert by_name(model)["decay"].values.tolist() == [float(torch.tensor(1.9, dtype=torch.bfloat16))]


class Overlapping(Layers):
    kim_parameters: dict[str, str]

    def __init__(self, choice):
        super().__init__()
        self.kim_parameters = choice
        whole = torch.zeros(4)
        self.register_buffer("whole", whole)
        self.register_buffer("head", whole[:2])
        self.register_buffer("tail", whole[2:])


def overlapping(choice):
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(Overlapping(choice)), buffer)
    return buffer.getvalue()


def test_tensors_that_share_part_of_their_memory(opened):
    """A changed copy of one would not change the other."""
    message = (
        r"^`kim_parameters` of the model in model\.pt must name tensors with memory of their own, got 'whole', which "
        r"shares some with head; clone one of them before the model is saved$"
    )
    with pytest.raises(DriverError, match=message):
        opened(overlapping({"whole": ""}), prepare=False)
    with pytest.raises(DriverError, match=r"got 'tail', which shares some with whole"):
        opened(overlapping({"tail": ""}), prepare=False)


def test_what_a_model_supports_is_that_of_its_parameters_now(opened):
    """Whether this model has a derivative depends on one of its parameters."""
    model = opened(script_bytes(Switched), prepare=False)
    assert "partialForces" in model.prepare()
    set_values(model, "switch", 0.0)
    assert "partialForces" not in model.prepare()


class Switched(Pair1):
    def __init__(self):
        super().__init__()
        self.register_buffer("switch", torch.ones(1, dtype=torch.float64))

    def forward(
        self, species: Tensor, coordinates: Tensor, n_neighbours: Tensor, neighbours: Tensor, contributing: Tensor
    ) -> Tensor:
        energies = self.site_energies(species, coordinates, n_neighbours, neighbours)
        return energies if float(self.switch) > 0.5 else energies.detach()


@pytest.mark.parametrize(("dtype", "value"), [(torch.uint8, -1), (torch.int8, 128), (torch.int16, 40000)])
def test_integers_that_do_not_fit(dtype, value, opened):
    buffer = io.BytesIO()
    module = Chosen({"counts": ""}).double()
    module.counts = module.counts.to(dtype)
    torch.jit.save(torch.jit.script(module), buffer)
    model = opened(buffer.getvalue())
    set_values(model, "counts", [5, 4])
    with pytest.raises(DriverError, match=rf"numbers that fit {dtype}, got {value} at index 1"):
        set_values(model, "counts", [5, value])
