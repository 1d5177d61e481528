# SPDX-License-Identifier: LGPL-2.1-or-later
"""Normalisation of descriptors and of their gradients, and its part of the files."""

import pytest
import torch
from descriptor_texts import BISPECTRUM, FAMILIES, NO_NORMALISATION, ONE_SPECIES, read, refused
from torch.utils._python_dispatch import TorchDispatchMode

from kim_torchml.descriptors import Normalisation

NORMALISATION = Normalisation(
    torch.tensor([1.0, -2.0, 0.0], dtype=torch.float64), torch.tensor([0.5, 4.0, 1.0], dtype=torch.float64)
)


def test_values_and_gradients():
    values = torch.tensor([[1.0, 2.0, 3.0], [0.0, -2.0, 1.0]], dtype=torch.float64, requires_grad=True)
    normalised = NORMALISATION(values)
    assert normalised.tolist() == [[0.0, 1.0, 3.0], [-2.0, 0.0, 1.0]]
    (gradient,) = torch.autograd.grad(normalised.sum(), values)
    assert gradient.tolist() == [[2.0, 0.25, 1.0]] * 2


def test_no_rows():
    assert NORMALISATION(torch.zeros(0, 3)).shape == (0, 3)


def test_dtypes_and_devices(device):
    for dtype in (torch.float32, torch.float64):
        normalised = NORMALISATION(torch.ones(2, 3, dtype=dtype, device=device))
        assert normalised.dtype == dtype
        assert normalised.device == device
        assert normalised.tolist() == [[0.0, 0.75, 1.0]] * 2


class Copies(TorchDispatchMode):
    """Counts the tensors that are made from another of another type or device."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        self.count += function is torch.ops.aten._to_copy.default
        return function(*arguments, **(options or {}))


def test_numbers_are_copied_to_a_device_once():
    """On a GPU each copy waits for all that was started before."""
    normalisation = Normalisation(NORMALISATION.mean, NORMALISATION.standard_deviation)
    for expected in (2, 0):
        with Copies() as copies:
            assert normalisation(torch.ones(2, 3, dtype=torch.float32)).tolist() == [[0.0, 0.75, 1.0]] * 2
        assert copies.count == expected


def normalised(numbers, size=7):
    block = NO_NORMALISATION.replace("False", "True\n")
    return ONE_SPECIES + FAMILIES + f"{block}\n{size}   # descriptor size\n{numbers}"


SEVEN = [0.5, -1.0, 2.0, 0.0, 1e-3, 7.0, 3.0]
SEVEN_LINES = "\n".join(map(str, SEVEN))
POSITIVE = [0.5, 1.0, 2.0, 4.0, 1e-3, 7.0, 3.0]
POSITIVE_LINES = "\n".join(map(str, POSITIVE))


@pytest.mark.parametrize(
    ("numbers", "mean", "deviation"),
    [
        (f"# mean\n{SEVEN_LINES}\n\n# standard deviation\n{POSITIVE_LINES}\n\n", SEVEN, POSITIVE),
        (f"{SEVEN_LINES}\n{POSITIVE_LINES}", SEVEN, POSITIVE),
        (f"{SEVEN_LINES} {POSITIVE_LINES}".replace("\n", " "), SEVEN, POSITIVE),
        ("# mean\n0.25 \n\n# standard deviation\n2.0 \n\n", [0.25] * 7, [2.0] * 7),
        (f"# mean\n{SEVEN_LINES}\n\n# standard deviation\n2.0\n", SEVEN, [2.0] * 7),
        (f"# mean\n0.25\n\n# standard deviation\n{POSITIVE_LINES}\n", [0.25] * 7, POSITIVE),
    ],
)
def test_normalisation(numbers, mean, deviation):
    _, normalisation = read(normalised(numbers))
    assert normalisation.mean.tolist() == mean
    assert normalisation.standard_deviation.tolist() == deviation
    assert normalisation.mean.dtype == torch.float64


def test_normalisation_that_changes_nothing():
    assert read(normalised("# mean\n0.0 \n\n# standard deviation\n1.0 \n"))[1] is None


def test_normalisation_of_other_descriptors():
    content = ONE_SPECIES + BISPECTRUM.format(weights="1.0").replace("jmax\n2", "jmax\n0")
    _, normalisation = read(content + "center_and_normalize True\n1\n0.5\n2.0\n", "Bispectrum")
    assert normalisation.mean.tolist() == [0.5]


@pytest.mark.parametrize(
    ("numbers", "size", "message"),
    [
        (
            "0\n2",
            8,
            "`descriptor size` must be 7, as the lines above make it, got '8' (file descriptor.dat, line 37); correct "
            "one of the two",
        ),
        (
            "0\n2\n3",
            7,
            "`mean and standard deviation` must be 7 numbers each, or one that stands for all, got '3 numbers' (file "
            "descriptor.dat, line 38); correct the numbers; a blank line sets the means apart from the standard "
            "deviations",
        ),
        (
            f"{SEVEN_LINES}\n1.0",
            7,
            "`mean and standard deviation` must be 7 numbers each, or one that stands for all, got '8 numbers' (file "
            "descriptor.dat, line 38); correct the numbers; a blank line sets the means apart from the standard "
            "deviations",
        ),
        (
            f"1.0\n# remark\n{POSITIVE_LINES}",
            7,
            "`mean and standard deviation` must be 7 numbers each, or one that stands for all, got '8 numbers' (file "
            "descriptor.dat, line 38); correct the numbers; a blank line sets the means apart from the standard "
            "deviations",
        ),
        (
            "",
            7,
            "`mean and standard deviation` must be 7 numbers each, or one that stands for all, got '0 numbers' (file "
            "descriptor.dat, line 37); correct the numbers; a blank line sets the means apart from the standard "
            "deviations",
        ),
        (
            "0.5\n0.0",
            7,
            "`standard deviation` must be above zero, got '0.0' (file descriptor.dat, line 39); correct the standard "
            "deviation",
        ),
        ("x\n1.0", 7, "`mean` must be a number, got 'x' (file descriptor.dat, line 38); correct the mean"),
    ],
)
def test_normalisations_that_contradict(numbers, size, message):
    refused(message, normalised(numbers, size))
