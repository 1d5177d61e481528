# SPDX-License-Identifier: LGPL-2.1-or-later
"""Descriptors give the same bits whatever device and dtype a host has made torch's defaults."""

import pytest
import torch
from descriptor_texts import BISPECTRUM, FAMILIES, NO_NORMALISATION, SOAP, TWO_SPECIES, read
from host import HOST_DEFAULTS, defaults
from surroundings import random_cluster

from kim_torchml.descriptors import READERS

TEXTS = {
    "SymmetryFunctions": TWO_SPECIES + FAMILIES + NO_NORMALISATION,
    "Bispectrum": TWO_SPECIES + BISPECTRUM.format(weights="1.0    0.7    "),
    "Bispectrum, shifted": TWO_SPECIES + BISPECTRUM.format(weights="1.0 0.7").replace("bzero_flag\n0", "bzero_flag\n1"),
    "Bispectrum, normalised": (
        TWO_SPECIES
        + BISPECTRUM.format(weights="1.0 0.7").replace("jmax\n2", "jmax\n0")
        + "center_and_normalize True\n1\n0.3\n1.7\n"
    ),
    "SOAP": TWO_SPECIES + SOAP.format(cutoff=3.4),
}


def described(text, name, dtype):
    """Read a descriptor's file and return the values for a cluster, and the gradient of a sum of them."""
    descriptor, normalisation = read(text, name, ("C", "Si"), 3.4)
    neighbourhoods = random_cluster(12, n_centres=7, dtype=dtype, device=torch.device("cpu"))
    neighbourhoods.coordinates.requires_grad_(True)
    values = descriptor(neighbourhoods)
    if normalisation is not None:
        values = normalisation(values)
    weights = torch.arange(values.numel(), dtype=dtype, device=values.device).reshape(values.shape).sin()
    (gradient,) = torch.autograd.grad((values * weights).sum(), neighbourhoods.coordinates)
    return values.detach(), gradient


def test_every_descriptor_is_tried():
    assert {text.partition(",")[0].lower() for text in TEXTS} == {name.lower() for name in READERS}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("host_device", "host_dtype"), HOST_DEFAULTS)
@pytest.mark.parametrize("text", TEXTS)
def test_a_hosts_defaults_change_no_bit(text, host_device, host_dtype, dtype):
    name = text.partition(",")[0]
    expected = described(TEXTS[text], name, dtype)
    with defaults(host_device, host_dtype):
        found = described(TEXTS[text], name, dtype)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype is dtype
        assert torch.equal(one, other)
