# SPDX-License-Identifier: LGPL-2.1-or-later
"""ANI without its package: what is said of sources, and the networks beside the formulas of the paper."""

import importlib.machinery
import importlib.util
import itertools
import math

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from saving import left_in

from kim_torchml.errors import DriverError
from kim_torchml.tools.cli import main
from kim_torchml.tools.convert.ani import Ani
from kim_torchml.tools.convert.ani_network import AniEdges, AniEnsemble, AniSymmetryFunctions, pairs_of_one_centre
from kim_torchml.tools.convert.family import Asked

CUTOFFS, WIDTHS, SQUARINGS = (3.0, 2.2), (4.0, 3.0), 3
DISTANCES, ANGULAR_DISTANCES, ANGLES = [0.5, 1.0, 2.0], [0.6, 1.4], [0.4, 1.9, 2.6]
PAIRS = [[0, 1], [1, 2]]
UNIT, SELF_ENERGIES = 27.2, [-0.5, -38.0]
LAYERS = ((6, 5, 4, 1), (7, 5, 3, 1))


def double(values):
    return torch.tensor(values, dtype=torch.float64, device="cpu")


def functions():
    pairs = torch.tensor(PAIRS, dtype=torch.int64, device="cpu")
    return AniSymmetryFunctions(CUTOFFS, WIDTHS, SQUARINGS, double(DISTANCES), double(ANGULAR_DISTANCES),
                                double(ANGLES), pairs)  # fmt: skip


def members(widths, inputs, seed):
    """Return the networks of three members, as the package has them."""
    torch.manual_seed(seed)
    sizes = [(inputs, widths[0]), *itertools.pairwise(widths)]
    made = [[torch.nn.Linear(*size, dtype=torch.float64, device="cpu") for size in sizes] for _ in range(3)]
    celu = torch.nn.CELU(0.1)
    return made, [torch.nn.Sequential(*[part for layer in each for part in (layer, celu)][:-1]) for each in made]


@pytest.fixture
def network():
    made = functions()
    inputs = 2 * len(DISTANCES) + 3 * len(ANGULAR_DISTANCES) * len(ANGLES)
    ensembles = [members(widths, inputs, seed) for seed, widths in enumerate(LAYERS)]
    module = AniEdges(made, [AniEnsemble(each) for each, _ in ensembles], double(SELF_ENERGIES), UNIT)
    return module.eval().requires_grad_(False), [each for _, each in ensembles]


def decay(r, cutoff):
    return 0.5 * math.cos(math.pi * r / cutoff) + 0.5


def paper(species, edge_index, vectors, row):
    """Return the symmetry functions of a row, term by term; the factors are those of the package."""
    own = [e for e in range(edge_index.shape[1]) if edge_index[0, e] == row]
    radial, angular = np.zeros((2, 3)), np.zeros((3, 2, 3))
    for e in own:
        r = np.linalg.norm(vectors[e])
        radial[species[edge_index[1, e]]] += [
            0.25 * math.exp(-WIDTHS[0] * (r - shift) ** 2) * decay(r, CUTOFFS[0]) for shift in DISTANCES
        ]
    for e, f in itertools.combinations(own, 2):
        r, s = np.linalg.norm(vectors[e]), np.linalg.norm(vectors[f])
        if max(r, s) > CUTOFFS[1]:
            continue
        angle = math.acos(0.95 * (vectors[e] @ vectors[f]) / (r * s))
        pair = PAIRS[species[edge_index[1, e]]][species[edge_index[1, f]]]
        for (a, centre), (z, shift) in itertools.product(enumerate(ANGULAR_DISTANCES), enumerate(ANGLES)):
            term = 2 * ((1 + math.cos(angle - shift)) / 2) ** 2**SQUARINGS
            term *= math.exp(-WIDTHS[1] * ((r + s) / 2 - centre) ** 2)
            angular[pair, a, z] += term * decay(r, CUTOFFS[1]) * decay(s, CUTOFFS[1])
    return np.concatenate([radial.ravel(), angular.ravel()])


def edges(n_rows, n_edges):
    random = np.random.default_rng(4)
    species = random.integers(0, 2, n_rows)
    edge_index = random.integers(0, n_rows, (2, n_edges))
    vectors = random.normal(size=(n_edges, 3))
    vectors *= (random.uniform(0.5, CUTOFFS[0], n_edges) / np.linalg.norm(vectors, axis=1))[:, None]
    return species, edge_index, vectors


def as_tensors(species, edge_index, vectors):
    return torch.from_numpy(species), torch.from_numpy(edge_index), torch.from_numpy(vectors).requires_grad_(True)


@pytest.mark.parametrize("sizes", [(1, 0), (1, 5), (4, 0), (5, 30), (9, 8)])
def test_energies_are_those_of_the_formulas(network, sizes):
    module, ensembles = network
    given = edges(*sizes)
    found = module(*as_tensors(*given)).detach()
    assert found.dtype == torch.float64
    for row in range(sizes[0]):
        code = given[0][row]
        expected = np.mean([float(each.requires_grad_(False)(double(paper(*given, row)))) for each in ensembles[code]])
        assert float(found[row]) == pytest.approx((expected + SELF_ENERGIES[code]) * UNIT, rel=1e-13)


def test_gradients_are_differences_of_energies(network):
    module, _ = network
    *others, vectors = as_tensors(*edges(4, 14))
    assert torch.autograd.gradcheck(lambda leaf: module(*others, leaf), vectors)


def test_atoms_in_one_place_have_finite_gradients(network):
    """As in the package; there the derivative of a distance is 0."""
    module, _ = network
    species, edge_index, vectors = as_tensors(*edges(3, 6))
    vectors = vectors.detach().index_fill(0, torch.tensor([2]), 0.0).requires_grad_(True)
    (gradient,) = torch.autograd.grad(module(species, edge_index, vectors).sum(), vectors)
    assert bool(gradient.isfinite().all())


def test_pairs_of_one_centre():
    centres = [0, 0, 0, 2, 4, 4, 4, 4]
    found = pairs_of_one_centre(torch.tensor(centres, dtype=torch.int64, device="cpu"), 6)
    expected = {(f, e) for e, f in itertools.combinations(range(8), 2) if centres[e] == centres[f]}
    pairs = list(zip(*(each.tolist() for each in found), strict=True))
    assert set(pairs) == expected
    assert len(pairs) == len(expected)


def test_the_networks_are_torchscript_too(network):
    module, _ = network
    given = as_tensors(*edges(5, 30))
    assert torch.equal(torch.jit.script(module)(*given), module(*given))


@pytest.fixture
def ani(monkeypatch, tmp_path):
    """Run the command, with torchani here or not."""
    monkeypatch.chdir(tmp_path)
    find_spec = importlib.util.find_spec

    def run(*words, here=()):
        def found(name, *others):
            if name in ("torchani", "pkg_resources"):
                return importlib.machinery.ModuleSpec(name, None) if name in here else None
            return find_spec(name, *others)

        monkeypatch.setattr(importlib.util, "find_spec", found)
        return CliRunner().invoke(main, ["convert", "ani", *words, "--output", "model", "--name", "My_Model"])

    return run


@pytest.mark.parametrize("name", ["2x", "ANI-2x", "1ccx", "ani-1ccx_8x"])
def test_networks_that_the_wheel_has_no_files_of(ani, tmp_path, name):
    result = ani(name)
    assert result.exit_code == 2
    word = "2x" if "2" in name else "1ccx"
    assert f"the networks of ANI-{word} are in no wheel: torchani 2.2.4 has empty files in their place" in result.output
    assert result.output.count("\n") == 1
    assert left_in(tmp_path) == []


def test_sources_of_ani_that_are_none(ani, tmp_path):
    assert "got '1x.'; did you mean '1x'?; correct it" in ani("1x.").output
    assert "got '7net-0'; correct it" in ani("7net-0").output
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.model")
    result = ani("other.model", "--trust")
    assert result.exit_code == 2
    assert (
        "got the file other.model; name the family that the file is of, or see `kim-torchml package`" in result.output
    )
    for option in ("--head", "--modal"):
        assert (
            f"`{option}` is for networks of other families, got 'pbe'; leave it out" in ani("1x", option, "pbe").output
        )
    assert left_in(tmp_path) == ["other.model"]


@pytest.mark.parametrize("name", ["1x", "1X", "ANI-1x", "ani1x", "ani-1x_8x"])
def test_names_of_the_networks(name):
    assert Ani().look(Asked(name)) == ""


def test_packages_that_are_not_here(ani, tmp_path):
    assert "converting a source of ANI needs torchani, setuptools in the Python environment" in ani("1x").output
    result = ani("1x", here=("torchani",))
    assert result.exit_code == 1
    assert "needs setuptools in the Python environment" in result.output
    assert "in one of its own that has setuptools==81.0.0" in result.output
    assert left_in(tmp_path) == []


def test_another_version_of_the_package(monkeypatch, tmp_path):
    spec = importlib.machinery.ModuleSpec("torchani", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.9")
    with pytest.raises(DriverError, match=r"must hold the files of ANI-1x, got torchani 2\.9, which does not; install"):
        Ani().load(Asked("1x"))
