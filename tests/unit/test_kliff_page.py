# SPDX-License-Identifier: LGPL-2.1-or-later
"""The network of docs/kliff.md, called by the driver as KLIFF calls it. KLIFF itself is not needed here."""

import ast
import io
import sys

import numpy as np
import pytest
import torch
from documents import ROOT, first_block, section
from opening import compute, energy, open_model, slope
from particles import cluster, interleaved

SCRIPT = first_block(section(ROOT / "docs" / "kliff.md", "An export that runs"), "python")
CLASS = next(node for node in ast.parse(SCRIPT).body if isinstance(node, ast.ClassDef))


@pytest.fixture
def network(tmp_path, monkeypatch):
    """Return a network of the page's class; TorchScript reads its source, so it is in a module."""
    (tmp_path / "page_of_kliff.py").write_text(f"import torch\n\n\n{ast.get_source_segment(SCRIPT, CLASS)}\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = __import__("page_of_kliff")
    monkeypatch.delitem(sys.modules, "page_of_kliff")
    torch.manual_seed(1)
    return module.Network().double()


def test_the_network_runs_with_atomic_numbers(network, tmp_path, monkeypatch):
    monkeypatch.setenv("KIM_MODEL_ELEMENTS_MAP", "1")
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(network), buffer)
    model = open_model(tmp_path / "model", buffer.getvalue(), kind="Graph", cutoff=4.0)
    configuration = interleaved(cluster(n=9, edge=5.0, n_contributing=5))
    (edges,) = configuration.neighbours().staged_edges(4.0, 1)
    mask = torch.tensor(1 - configuration.contributing, dtype=torch.int64)
    expected = network(torch.full((9,), 14), torch.tensor(configuration.coordinates), torch.tensor(edges), mask)
    found = compute(model, configuration, ["partialEnergy", "partialForces"])
    np.testing.assert_allclose(found["partialEnergy"], expected.detach().numpy(), rtol=1e-12)
    numerical = slope(lambda points: energy(model, configuration.moved(points)), configuration.coordinates)
    np.testing.assert_allclose(found["partialForces"], numerical, rtol=0, atol=1e-9)
