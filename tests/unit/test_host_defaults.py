# SPDX-License-Identifier: LGPL-2.1-or-later
"""Models of every kind give the same bits whatever device and dtype a host has made torch's defaults."""

from pathlib import Path
from weakref import WeakSet

import numpy as np
import pytest
import torch
from host import HOST_DEFAULTS, defaults
from house_rules import makers_without
from models import PARAMETERS, script_bytes
from opening import compute, open_model, outputs_of, parameter_text
from particles import Configuration, cluster, interleaved
from test_descriptor_inputs import SYMMETRY_FUNCTIONS, OfContributing

import kim_torchml
from kim_torchml.driver import open_model as open_by_driver
from kim_torchml.driver import opened_models
from kim_torchml.inputs import KINDS

CONFIGURATIONS = [interleaved(cluster(9, n_contributing=5)), Configuration([[1, 2, 3]], [0], [1])]

# What models give with torch's own defaults, by kind and dtype.
EXPECTED = {}


@pytest.fixture
def computed(tmp_path, monkeypatch):
    """Return a function that opens a model anew, computes everything it gives, and returns the arrays."""

    def function(kind, dtype):
        monkeypatch.setattr(opened_models, "_living", WeakSet())
        if kind is OfContributing:
            files = {
                "model.pt": script_bytes(kind, dtype),
                "kim.dat": SYMMETRY_FUNCTIONS.encode(),
                "kim.param": parameter_text("Descriptor", ("Si", "C"), 3.0, descriptor="SymmetryFunctions").encode(),
            }
            for name, content in files.items():
                (tmp_path / name).write_bytes(content)
            model = open_by_driver(str(tmp_path), ["kim.param", "model.pt", "kim.dat"])
            outputs = sorted(model.prepare())
        else:
            model, outputs = open_model(tmp_path, script_bytes(kind, dtype), **PARAMETERS[kind]), outputs_of(kind)
        return [compute(model, each, outputs) for each in CONFIGURATIONS]

    return function


def test_every_kind_of_input_is_tried():
    assert {each.get("kind", "None") for each in PARAMETERS.values()} | {"Descriptor"} == set(KINDS)


@pytest.mark.parametrize(("host_device", "host_dtype"), HOST_DEFAULTS)
@pytest.mark.parametrize("kind", [*PARAMETERS, OfContributing], ids=lambda kind: kind.__name__)
def test_a_hosts_defaults_change_no_bit(kind, host_device, host_dtype, computed):
    for dtype in (torch.float32, torch.float64):
        if (kind, dtype) not in EXPECTED:
            EXPECTED[kind, dtype] = computed(kind, dtype)
        with defaults(host_device, host_dtype):
            found = computed(kind, dtype)
        for one, other in zip(found, EXPECTED[kind, dtype], strict=True):
            for name, array in other.items():
                np.testing.assert_array_equal(one[name], array, err_msg=name)


@pytest.mark.parametrize("folder", ["descriptors", "driver", "engines", "evaluation", "inputs"])
def test_every_tensor_is_made_on_a_device_and_of_a_dtype(folder):
    files = (Path(kim_torchml.__file__).parent / folder).rglob("*.py")
    found = {path.name: makers_without(path.read_text()) for path in files}
    assert {name: calls for name, calls in found.items() if calls} == {}


@pytest.mark.parametrize("call", ["torch.zeros(3)", "torch.arange(3, device=d)", "torch.tensor([1.0], dtype=t)"])
def test_tensors_on_the_default_device_are_found(call):
    assert makers_without(f"def f(d, t):\n    return g({call})") == [call]


def test_tensors_on_a_device_are_let_be():
    assert makers_without("torch.zeros(3, dtype=t, device=d)\nx.new_zeros(3)\ntorch.ones_like(x)\nnp.zeros(3)") == []
