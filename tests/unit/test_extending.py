# SPDX-License-Identifier: LGPL-2.1-or-later
"""The examples of docs/extending.md work as they stand there, in a copy of the package."""

import json
import shutil

import numpy as np
import pytest
import torch
from documents import ROOT, blocks, section
from fresh_python import run_python
from house_rules import makers_without, read_sources, too_long, wrong_imports
from opening import folder_of, parameter_text
from particles import cluster, interleaved

from kim_torchml.inputs import Particles

DOCUMENT = ROOT / "docs" / "extending.md"
KIND, KINDS = (content for _, content in blocks(section(DOCUMENT, "A new kind of input")))
DESCRIPTOR, READER, READERS = (content for _, content in blocks(section(DOCUMENT, "A new descriptor")))

DESCRIPTOR_FILE = "cos\n2\nSi Si 3.0\nSi C 2.5\nC C 2.0\n1 2.5  # powers\n"


def register(file, table, after, line):
    """Put a table in the place of that which begins with the same line, and an import after another one."""
    text = file.read_text()
    first_line = table.partition("\n")[0]
    assert (text.count(f"{first_line}\n"), text.count(f"{after}\n")) == (1, 1)
    before, _, rest = text.partition(first_line)
    text = before + table + rest.partition("\n}\n")[2]
    file.write_text(text.replace(f"{after}\n", f"{after}\n{line}\n"))


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """Return a folder with a copy of the package, to which both examples have been added."""
    folder = tmp_path_factory.mktemp("extended")
    package = shutil.copytree(
        ROOT / "src" / "kim_torchml", folder / "kim_torchml", ignore=shutil.ignore_patterns("__pycache__")
    )
    (package / "inputs" / "vectors.py").write_text(KIND)
    inputs = "from kim_torchml.inputs"
    signature, vectors = f"{inputs}.signature import Argument, Signature", f"{inputs}.vectors import VectorInputs"
    register(package / "inputs" / "__init__.py", KINDS, signature, vectors)
    descriptors = package / "descriptors"
    (descriptors / "coordination").mkdir()
    (descriptors / "coordination" / "__init__.py").write_text('"""Coordination numbers."""\n')
    (descriptors / "coordination" / "descriptor.py").write_text(DESCRIPTOR)
    (descriptors / "files" / "coordination.py").write_text(READER)
    files = "from kim_torchml.descriptors.files"
    bispectrum, coordination = (f"{files}.{name} import read_{name}" for name in ("bispectrum", "coordination"))
    register(descriptors / "__init__.py", READERS, bispectrum, coordination)
    return folder


def test_both_examples_keep_the_rules_of_the_house(extended):
    sources = read_sources(extended / "kim_torchml")
    modules = {source.module for source in sources}
    assert {"inputs.vectors", "descriptors.coordination.descriptor", "descriptors.files.coordination"} < modules
    assert [wrong for source in sources for wrong in (*wrong_imports(source, modules), *too_long(source))] == []


@pytest.mark.parametrize("source", [KIND, DESCRIPTOR, READER], ids=["kind", "descriptor", "reader"])
def test_the_examples_make_tensors_on_a_device_and_of_a_dtype(source):
    assert makers_without(source) == []


def test_parameter_files_know_both_examples(extended, tmp_path):
    printed = run_python(
        """
        from kim_torchml.descriptors import READERS
        from kim_torchml.inputs import FILE_FORMATS, KINDS
        print(list(KINDS), FILE_FORMATS["Vectors"].n_inputs, list(READERS))
        """,
        path=[extended],
    )
    kinds, readers = ["None", "Descriptor", "Graph", "Edges", "Vectors"], ["SymmetryFunctions", "Bispectrum", "SOAP"]
    assert printed == f"{kinds} 4 {[*readers, 'Coordination']}\n"


def test_the_kind_of_the_example(tmp_path):
    names = {}
    exec(KIND, names)
    (tmp_path / "kim.param").write_text(parameter_text())
    kind = names["VectorInputs"](folder_of(tmp_path / "kim.param"))
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


def test_the_descriptor_of_the_example(extended):
    """The values and the gradient of their sum are those of the formula."""
    configuration = interleaved(cluster(9, 4.0, n_contributing=5, n_species=2))
    points, codes = configuration.coordinates, configuration.species_codes
    contributing = configuration.contributing.astype(bool)
    printed = run_python(
        """
        import json, sys
        import torch
        from kim_torchml.descriptors import Neighbourhoods, read_descriptor
        points, codes, centres, text = json.loads(sys.argv[1])
        descriptor, _ = read_descriptor(text, "descriptor.dat", "coordination", ["Si", "C"], 3.0)
        points = torch.tensor(points, dtype=torch.float64, requires_grad=True)
        others = [j for i in centres for j in range(len(codes)) if j != i]
        counts = [len(codes) - 1] * len(centres)
        values = descriptor(Neighbourhoods(points, *map(torch.tensor, (codes, centres, counts, others))))
        values.sum().backward()
        print(json.dumps([values.tolist(), points.grad.tolist(), descriptor.width, descriptor.cutoff]))
        """,
        path=[extended],
        arguments=[
            json.dumps([points.tolist(), codes.tolist(), np.flatnonzero(contributing).tolist(), DESCRIPTOR_FILE])
        ],
    )
    values, gradient, width, cutoff = json.loads(printed)
    assert (width, cutoff) == (2, 3.0)
    vectors = points[:, None] - points
    r = np.linalg.norm(vectors, axis=2)
    limits = np.array([[3.0, 2.5], [2.5, 2.0]])[codes[:, None], codes]
    inside = (r < limits) & (r > 0) & contributing[:, None]
    near = np.where(inside, 1.0 - (r / limits) ** 2, 0.0)
    expected = np.stack([np.where(inside, near**power, 0.0).sum(axis=1)[contributing] for power in (1.0, 2.5)], axis=1)
    np.testing.assert_allclose(values, expected, rtol=1e-13, atol=1e-13)
    by_square = np.where(inside, -(1.0 + 2.5 * near**1.5) / limits**2, 0.0)
    by_pair = 2.0 * (by_square + by_square.T)[:, :, None] * vectors
    np.testing.assert_allclose(gradient, by_pair.sum(axis=1), rtol=1e-12, atol=1e-12)
