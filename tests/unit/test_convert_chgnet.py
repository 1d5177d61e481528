# SPDX-License-Identifier: LGPL-2.1-or-later
"""What `kim-torchml convert chgnet` says of a source, and the bond graph that it makes of edges, without chgnet."""

import importlib.machinery
import importlib.util
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from archives import zip_of
from ase import Atoms
from ase.build import bulk, molecule
from ase.neighborlist import neighbor_list
from click.testing import CliRunner
from mace_files import Bomb, pickle_of
from saving import left_in

from kim_torchml.errors import DriverError
from kim_torchml.tools.cli import main
from kim_torchml.tools.convert import chgnet as sources
from kim_torchml.tools.convert.chgnet import Chgnet
from kim_torchml.tools.convert.chgnet_bonds import bond_graph
from kim_torchml.tools.convert.chgnet_edges import FixedNorm
from kim_torchml.tools.convert.chgnet_weights import PUBLISHED_CHGNET
from kim_torchml.tools.convert.family import Asked
from kim_torchml.tools.request_error import RequestError


@pytest.fixture
def chgnet(monkeypatch, tmp_path):
    """Run the command for a source of CHGNet, whose package seems to be in a folder."""
    find_spec = importlib.util.find_spec
    package = tmp_path / "site" / "chgnet" / "__init__.py"

    def found(name, *others):
        if name != "chgnet":
            return find_spec(name, *others)
        spec = importlib.machinery.ModuleSpec(name, None, origin=str(package))
        spec.has_location = True
        return spec

    monkeypatch.setattr(importlib.util, "find_spec", found)
    monkeypatch.setattr(sources, "_check_package", lambda: None)
    monkeypatch.chdir(tmp_path)

    def run(source, *options):
        words = ["convert", "chgnet", str(source), "--output", "model", "--name", "My_Model", *options]
        return CliRunner().invoke(main, words)

    return run


def saved(content, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


CONTENTS = {
    "alone": lambda bomb: bomb,
    "arguments": lambda bomb: {"model": {"state_dict": {}, "model_args": {"composition_model": bomb}}},
    "weights": lambda bomb: {"model": {"state_dict": {"weight": bomb}, "model_args": {}}},
    "optimizer": lambda bomb: {"model": {"state_dict": {}, "model_args": {}}, "optimizer": [bomb]},
    "history": lambda bomb: {"model": {}, "training_history": np.array([bomb], dtype=object)},
}


@pytest.mark.parametrize("place", CONTENTS)
def test_a_file_runs_no_code(chgnet, tmp_path, place):
    bomb = tmp_path / "exploded"
    result = chgnet(saved(CONTENTS[place](Bomb(bomb)), tmp_path / "bomb.pth.tar"))
    assert result.exit_code == 2, result.output
    assert f"{tmp_path / 'bomb.pth.tar'} holds posix.mkdir, which unpickling alone can make" in result.output
    assert not bomb.exists()
    assert left_in(tmp_path) == ["bomb.pth.tar"]


@pytest.mark.parametrize("name", PUBLISHED_CHGNET)
def test_a_named_file_that_runs_code_is_not_read(chgnet, tmp_path, name):
    bomb = tmp_path / "exploded"
    path = saved(Bomb(bomb), tmp_path / "site" / "chgnet" / PUBLISHED_CHGNET[name].file)
    result = chgnet(name, "--trust")
    assert result.exit_code == 2, result.output
    assert f"{name} is {path} here, and {path} holds posix.mkdir" in result.output
    assert not bomb.exists()
    # The command looks before it reads, and the file may change in between.
    with pytest.raises(RequestError, match="if you trust whoever made that file, give it as `source`, with --trust"):
        Chgnet().load(Asked(name, trusts=True))
    assert not bomb.exists()


def test_other_files_run_no_code(chgnet, tmp_path):
    bomb = tmp_path / "exploded"
    code = pickle.dumps(Bomb(bomb))
    files = {
        "plain.pth.tar": code,
        "script.pt": zip_of([("x/constants.pkl", code), ("x/data.pkl", code), ("x/code/x.py", b"")]),
        "other.pth": zip_of([("x/other.pkl", code)]),
        "exported.pth": zip_of([("x/models/model.json", b"{}"), ("x/data.pkl", code)]),
        "broken.pth": zip_of([("x/data.pkl", code[: len(code) // 2])]),
    }
    said = {
        "plain.pth.tar": "which is no archive of torch.save or is damaged",
        "script.pt": "got script.pt, TorchScript; see `kim-torchml package`",
        "other.pth": "an archive of something else; name the right file",
        "exported.pth": "got exported.pth, a program of torch.export; see `kim-torchml package`",
        "broken.pth": "cannot be read: ",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        result = chgnet(name, "--trust")
        assert result.exit_code == 1, result.output
        assert said[name] in result.output
        assert result.output.count("\n") == 1
        assert not bomb.exists()
    assert left_in(tmp_path) == sorted(files)


def test_sources_of_chgnet_that_are_none(chgnet, tmp_path):
    result = chgnet("0.4.0")
    assert result.exit_code == 2
    assert "or one of 0.3.0, 0.2.0, r2scan, got '0.4.0'; did you mean '0.3.0'" in result.output
    result = chgnet("missing.pth.tar")
    assert result.exit_code == 2
    assert "got 'missing.pth.tar', which is not there; correct the path" in result.output
    for content in ({"weights": torch.zeros(2)}, {"model": {"state_dict": {}}}, [1.0]):
        result = chgnet(saved(content, tmp_path / "other.pth.tar"))
        assert result.exit_code == 1
        assert "which holds no network of CHGNet; name another file, or another family" in result.output
    for option in ("--head", "--modal"):
        result = chgnet("0.3.0", option, "pbe")
        assert result.exit_code == 2
        assert f"`{option}` must be left out for CHGNet, got 'pbe'; leave it out" in result.output
    assert left_in(tmp_path) == ["other.pth.tar"]


@pytest.mark.parametrize("name", ["mace.modules.models.MACE", "sevenn.nn.Network", "nequip.model.Model"])
def test_networks_of_other_families_are_named(name, tmp_path):
    with pytest.raises(DriverError, match=f"which holds {name}: a network of another family"):
        Chgnet().look(Asked(str(pickle_of(tmp_path / "x.pth", name))))


def test_weights_are_known_by_the_names_of_their_files():
    for published in PUBLISHED_CHGNET.values():
        assert sources.published_as(Path("somewhere") / Path(published.file).name) is published
    assert sources.published_as(Path("mine.pth.tar")) is None


CUTOFF = 3.0
CRYSTALS = {
    "one atom, sc": lambda: bulk("Po", "sc", a=2.0),
    "one atom, fcc": lambda: bulk("Al", "fcc", a=4.05),
    "one atom, bcc": lambda: bulk("Fe", "bcc", a=2.87),
    "two atoms, CsCl": lambda: bulk("CsCl", "cesiumchloride", a=2.9),
    "two atoms, diamond": lambda: bulk("Si", "diamond", a=5.43),
    "two atoms, hcp": lambda: bulk("Co", "hcp", a=2.5, c=4.07),
    "thin": lambda: Atoms("Si", cell=[1.1, 20.0, 20.0], pbc=(True, False, False)),
    "molecule": lambda: molecule("C2H6"),
    "lone atom": lambda: Atoms("Si"),
}


def edges_of(atoms, dtype, seed=0):
    """Return edges of up to 6 Å in any order, as a simulator rounds them, and the image of each neighbour."""
    random = np.random.default_rng(seed)
    centres, neighbours, vectors, images = neighbor_list("ijDS", atoms, 2 * CUTOFF)
    order = random.permutation(len(centres))
    vectors = vectors.reshape(-1, 3) + random.uniform(-1e-12, 1e-12, (len(centres), 3))
    index = np.stack([centres, neighbours])[:, order]
    return torch.tensor(index), torch.tensor(vectors[order], dtype=dtype), images.reshape(-1, 3)[order]


def graph_of(atoms, edge_index, vectors):
    species = torch.zeros(len(atoms), dtype=torch.int64)
    return bond_graph(species, edge_index, vectors, vectors.norm(dim=1), CUTOFF)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", CRYSTALS)
def test_reverse_edges_are_those_of_the_same_image(name, dtype):
    atoms = CRYSTALS[name]()
    edge_index, vectors, images = edges_of(atoms, dtype)
    graph = graph_of(atoms, edge_index, vectors)
    centres, neighbours = edge_index.numpy()
    short = np.flatnonzero(vectors.norm(dim=1).numpy() < CUTOFF)
    assert sorted(graph.edges.tolist()) == short.tolist()
    named = {(int(centres[k]), int(neighbours[k]), *images[k].tolist()): k for k in short}
    for edge, reverse in zip(graph.edges.tolist(), graph.reverses.tolist(), strict=True):
        wanted = named[(int(neighbours[edge]), int(centres[edge]), *(-images[edge]).tolist())]
        assert int(graph.edges[reverse - 1]) == wanted
    assert 0 not in graph.reverses


@pytest.mark.parametrize("name", CRYSTALS)
def test_angles_are_all_pairs_of_short_edges_of_a_centre(name):
    atoms = CRYSTALS[name]()
    edge_index, vectors, _ = edges_of(atoms, torch.float64)
    graph = graph_of(atoms, edge_index, vectors)
    centres = edge_index[0].tolist()
    short = [k for k in range(len(centres)) if float(vectors[k].norm()) < CUTOFF]
    wanted = {(k, m) for k in short for m in short if k != m and centres[k] == centres[m]}
    found = list(zip(graph.edges[graph.first].tolist(), graph.edges[graph.second].tolist(), strict=True))
    assert set(found) == wanted
    assert len(found) == len(wanted)
    assert graph.centres.tolist() == [centres[k] for k in graph.edges.tolist()]


def test_an_edge_without_a_reverse_has_none():
    edge_index = torch.tensor([[0, 0, 1], [1, 2, 0]])
    vectors = torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [-1.0, 0.0, 0.0]])
    graph = bond_graph(torch.zeros(3, dtype=torch.int64), edge_index, vectors, vectors.norm(dim=1), CUTOFF)
    assert graph.reverses.tolist() == [3, 0, 1]


def test_several_opposite_edges_stay_within_the_list():
    edge_index = torch.tensor([[0, 1, 1, 1], [1, 0, 0, 0]])
    vectors = torch.tensor([[1.0, 0.0, 0.0]] + 3 * [[-1.0, 0.0, 0.0]])
    graph = bond_graph(torch.zeros(2, dtype=torch.int64), edge_index, vectors, vectors.norm(dim=1), CUTOFF)
    assert int(graph.reverses.max()) <= len(vectors)


def test_a_trained_batch_normalisation_is_exported_for_any_number_of_angles():
    norm = torch.nn.BatchNorm1d(3, dtype=torch.float64).eval()
    with torch.no_grad():
        for each in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            each.copy_(torch.tensor([0.3, 1.7, 0.9], dtype=torch.float64))
    features = torch.randn(5, 3, dtype=torch.float64)
    fixed = FixedNorm(norm)
    torch.testing.assert_close(fixed(features), norm(features), rtol=1e-14, atol=1e-14)

    class OfSome(torch.nn.Module):
        def forward(self, values):
            return fixed(values[torch.nonzero(values[:, 0] > 0.0).squeeze(1)])

    program = torch.export.export(OfSome(), (features,), strict=False).module()
    for given in (features, -features, features.abs().neg()):
        torch.testing.assert_close(program(given), fixed(given[given[:, 0] > 0.0]))
