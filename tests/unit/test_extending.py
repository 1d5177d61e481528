# SPDX-License-Identifier: LGPL-2.1-or-later
"""The example of docs/extending.md works as it stands there."""

import re
from pathlib import Path

import numpy as np
import torch
from opening import parameter_text
from particles import cluster, interleaved

from kim_torchml.inputs import FILE_FORMATS, Particles
from kim_torchml.model_files.model_folder import ModelFolder
from kim_torchml.model_files.parameter_file import read_parameter_file

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "extending.md"


def test_the_kind_of_the_example(tmp_path):
    first, *_ = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    names = {}
    exec(first, names)
    (tmp_path / "kim.param").write_text(parameter_text())
    files = ModelFolder(read_parameter_file(tmp_path / "kim.param", FILE_FORMATS), None, ())
    kind = names["VectorInputs"](files, atomic_numbers=False)
    configuration = interleaved(cluster(9, 3.0, n_contributing=5))
    contributing = configuration.contributing.astype(bool)
    particles = Particles(
        configuration.coordinates, configuration.species_codes, contributing, configuration.neighbours()
    )
    inputs = kind.build(particles, torch.float64, torch.device("cpu"))
    species, vectors, owner, count = inputs.arguments
    distances = np.linalg.norm(configuration.coordinates[:, None] - configuration.coordinates, axis=2)
    n_pairs = int(((distances <= kind.cutoff) & (distances > 0))[contributing].sum())
    assert tuple(species.shape) == (n_pairs, 2)
    assert tuple(vectors.shape) == (n_pairs, 3)
    assert (int(count), int(owner.max())) == (5, 4)
    assert inputs.n_pairs == n_pairs
    expected = np.sort(distances[contributing][(distances <= kind.cutoff)[contributing]])[5:]
    np.testing.assert_allclose(np.sort(vectors.detach().norm(dim=1).numpy()), expected, rtol=1e-14)
    (gradient,) = torch.autograd.grad(vectors.square().sum(), inputs.leaf)
    assert gradient.shape == (9, 3)
