# SPDX-License-Identifier: LGPL-2.1-or-later
"""The commands on programs of torch.export: package, check, install, info, remove, and the store."""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_models as tiny
import torch
from command_host import CommandHost, energy_of_formula
from exported_models import like_tiny, needs_export, save
from kim_collection import KimCollection

pytestmark = needs_export

NAME = "Tiny_Exported"
# The collection of these tests has KIM_TORCHML_COMPILE=never.
NOT_COMPILED = f"note: {NAME} is not compiled, as KIM_TORCHML_COMPILE is never\n"


@pytest.fixture
def host(bare_collection: KimCollection, own_folder: Path) -> Iterator[CommandHost]:
    """A user who leaves no model behind."""
    user = CommandHost(bare_collection, own_folder)
    yield user
    user.remove(NAME)


@pytest.fixture(scope="module")
def of_save_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that save_model has written, with a blank in its path."""
    folder = tmp_path_factory.mktemp("my models") / NAME
    about = {"title": "Tiny", "authors": ["Ada Lovelace"]}
    save(NAME, tiny.EdgesModel(), "pt2", folder, about=about, parameters={"scale": "strength of bonds"}, **like_tiny())
    return folder


@pytest.fixture(scope="module")
def of_torch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that torch.export.save has written, as torch's own documentation says."""
    path = tmp_path_factory.mktemp("torch") / "network.pt2"
    n, n_edges = torch.export.Dim("n"), torch.export.Dim("E")
    edge_index = torch.tensor([[0, 1, 2, 2], [1, 0, 0, 1]])
    example = (torch.tensor([0, 1, 0]), edge_index, torch.rand(4, 3, dtype=torch.float64))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sizes = ({0: n}, {1: n_edges}, {0: n_edges})
        torch.export.save(torch.export.export(tiny.EdgesModel(2.0).eval(), example, dynamic_shapes=sizes), path)
    return path


def test_a_folder_is_checked_installed_described_and_removed(host: CommandHost, of_save_model: Path) -> None:
    done = host.run("check", of_save_model)
    assert (done.code, done.error) == (0, ""), done.output
    assert "model.pt2" in done.output
    done = host.run("install", of_save_model)
    assert (done.code, done.error) == (0, NOT_COMPILED)
    assert not host.store.exists()
    assert abs(host.energy(NAME) - energy_of_formula()) < 1e-9

    installed, on_disk = (json.loads(host.run("info", word, "--json").output) for word in (NAME, str(of_save_model)))
    assert installed["opened"] == on_disk["opened"]
    assert len(installed["opened"]["outputs"]) == 5
    assert installed["model_file"]["name"] == "model.pt2"
    assert installed["description"] == on_disk["description"]
    assert "author = {Ada Lovelace}" in installed["bibtex"]

    done = host.run("remove", NAME)
    assert (done.code, done.error) == (0, "")
    assert NAME not in host.collection.manage("list").stdout


def test_its_file_may_be_in_the_store(host: CommandHost, of_save_model: Path) -> None:
    done = host.run("install", of_save_model, "--store")
    assert (done.code, done.error) == (0, NOT_COMPILED)
    (stored,) = host.store.iterdir()
    assert stored.read_bytes() == (of_save_model / "model.pt2").read_bytes()
    assert abs(host.energy(NAME) - energy_of_formula()) < 1e-9
    assert json.loads(host.run("info", NAME, "--json").output)["model_file"] == {
        "name": "model.pt2",
        "size": stored.stat().st_size,
        "sha256": stored.stem,
        "where": "store",
        "path": str(stored),
    }
    assert host.run("store").output.splitlines()[1].endswith(NAME)
    stored.write_bytes(stored.read_bytes()[:-1])
    done = host.energy_run(NAME)
    assert done.code != 0
    assert "the model file model.pt2 with the SHA-256 " in done.error
    assert "is damaged: its" in done.error
    assert "its model file stays in the store" in host.run("remove", NAME).output


def test_a_file_of_torch_is_packaged_and_runs(host: CommandHost, of_torch: Path) -> None:
    folder = host.work / NAME
    stated = ("--name", NAME, "--kind", "edges", "--species", "Si,Ge", "--cutoff", str(tiny.CUTOFF))
    done = host.run("package", of_torch, "--output", folder, *stated, "--parameter", "scale=strength of bonds")
    assert (done.code, done.error) == (0, ""), done.output
    assert "model.pt2" in done.output
    for command, said in (("check", ""), ("install", NOT_COMPILED)):
        done = host.run(command, folder)
        assert (done.code, done.error) == (0, said), done.output
    assert abs(host.energy(NAME) - energy_of_formula(2.0)) < 1e-9
    (parameter,) = json.loads(host.run("info", NAME, "--json").output)["opened"]["parameters"][1:]
    assert parameter["name"] == "scale"
