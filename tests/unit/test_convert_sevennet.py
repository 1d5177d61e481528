# SPDX-License-Identifier: LGPL-2.1-or-later
"""What `kim-torchml convert sevennet` says of a source before its network is made, without the package sevenn."""

import importlib.machinery
import importlib.util
import pickle

import numpy as np
import pytest
import torch
from archives import zip_of
from click.testing import CliRunner
from mace_files import Bomb, pickle_of
from saving import left_in

from kim_torchml.errors import DriverError
from kim_torchml.tools.cli import main
from kim_torchml.tools.convert import sevennet as sources
from kim_torchml.tools.convert.family import Asked
from kim_torchml.tools.convert.sevennet import SevenNet


@pytest.fixture
def sevennet(monkeypatch, tmp_path):
    """Run the command for a source of SevenNet, whose package seems to be there."""
    find_spec = importlib.util.find_spec

    def found(name, *others):
        return importlib.machinery.ModuleSpec(name, None) if name == "sevenn" else find_spec(name, *others)

    monkeypatch.setattr(importlib.util, "find_spec", found)
    monkeypatch.setattr(sources, "_version", lambda package: "0.13.0")
    monkeypatch.chdir(tmp_path)

    def run(source, *options):
        words = ["convert", "sevennet", str(source), "--output", "model", "--name", "My_Model", *options]
        return CliRunner().invoke(main, words)

    return run


def saved(content, path):
    torch.save(content, path)
    return path


CONTENTS = {
    "alone": lambda bomb: bomb,
    "config": lambda bomb: {"config": {"version": bomb}, "model_state_dict": {}},
    "weights": lambda bomb: {"config": {}, "model_state_dict": {"weight": bomb}},
    "array": lambda bomb: {"config": {"shift": np.array([bomb], dtype=object)}, "model_state_dict": {}},
    "optimizer": lambda bomb: {"config": {}, "model_state_dict": {}, "optimizer_state_dict": [bomb]},
}


@pytest.mark.parametrize("place", CONTENTS)
def test_a_checkpoint_runs_no_code(sevennet, tmp_path, place):
    bomb = tmp_path / "exploded"
    result = sevennet(saved(CONTENTS[place](Bomb(bomb)), tmp_path / "bomb.pth"))
    assert result.exit_code == 2, result.output
    assert (
        f"{tmp_path / 'bomb.pth'} holds posix.mkdir, which unpickling alone can make, and unpickling runs"
        in result.output
    )
    assert not bomb.exists()
    assert left_in(tmp_path) == ["bomb.pth"]


def test_other_files_run_no_code(sevennet, tmp_path):
    bomb = tmp_path / "exploded"
    code = pickle.dumps(Bomb(bomb))
    files = {
        "plain.pth": code,
        "script.pth": zip_of([("x/constants.pkl", code), ("x/data.pkl", code), ("x/code/x.py", b"")]),
        "other.pth": zip_of([("x/other.pkl", code)]),
        "exported.pth": zip_of([("x/models/model.json", b"{}"), ("x/data.pkl", code)]),
        "broken.pth": zip_of([("x/data.pkl", code[: len(code) // 2])]),
    }
    said = {
        "plain.pth": "which is no archive of torch.save or is damaged",
        "script.pth": "which is TorchScript, as it is deployed for `pair_style e3gnn`; give the checkpoint",
        "other.pth": "an archive of something else; name the right file",
        "exported.pth": "a program of torch.export; see `kim-torchml package`",
        "broken.pth": "cannot be read: ",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        result = sevennet(name, "--trust")
        assert result.exit_code == 1, result.output
        assert said[name] in result.output
        assert result.output.count("\n") == 1
        assert not bomb.exists()
    assert left_in(tmp_path) == sorted(files)


def test_sources_of_sevennet_that_are_none(sevennet, tmp_path):
    result = sevennet("7net-1")
    assert result.exit_code == 2
    assert "got '7net-1'; did you mean '7net-0'?; correct it" in result.output
    result = sevennet("SevenNet-Omni", "--isolated")
    assert result.exit_code == 2
    assert "SevenNet-Omni is in no wheel: fetch the file checkpoint_sevennet_omni.pth from the release" in result.output
    result = sevennet("missing.pth")
    assert "got 'missing.pth', which is not there; correct the path" in result.output
    result = sevennet(saved({"weights": torch.zeros(2)}, tmp_path / "other.pth"))
    assert result.exit_code == 1
    assert "which holds no network of SevenNet; name another file, or another family" in result.output
    result = sevennet("7net-0", "--head", "pbe")
    assert "`--head` is for networks of MACE, got 'pbe'; SevenNet's have modalities: --modal" in result.output
    assert left_in(tmp_path) == ["other.pth"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mace.modules.models.MACE", r"holds mace\.modules\.models\.MACE; run `kim-torchml convert mace` for it"),
        ("chgnet.model.CHGNet", r"which holds chgnet\.model\.CHGNet; it cannot be converted"),
    ],
)
def test_networks_of_other_families_are_named(name, said, tmp_path):
    with pytest.raises(DriverError, match=said):
        SevenNet().look(Asked(str(pickle_of(tmp_path / "x.pth", name))))


def test_what_is_said_of_authors():
    known = sources.PUBLISHED["7net-0"]
    assert sources._notes(known, known) == ()
    assert "the file is taken for SevenNet-0 (11 July 2024) by its name" in sources._notes(None, known)[0]
    assert "authors, licence and training set are not known" in sources._notes(None, None)[0]


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """A published checkpoint that is a bomb, where the package keeps what it has fetched."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    path = tmp_path / "home" / ".cache" / "sevennet" / "SevenNet_omat" / "checkpoint_sevennet_omat.pth"
    path.parent.mkdir(parents=True)
    return saved(Bomb(tmp_path / "exploded"), path)


def test_a_published_name_runs_no_code_of_a_file_that_was_fetched(sevennet, tmp_path, cached):
    result = sevennet("7net-omat")
    assert result.exit_code == 2, result.output
    assert f"{cached} holds posix.mkdir, which unpickling alone can make" in result.output
    assert "if you trust whoever made that file, give it as `source`, with --trust" in result.output
    assert not (tmp_path / "exploded").exists()
    assert not (tmp_path / "model").exists()


def test_a_torch_that_cannot_look_into_pickles_is_named(tmp_path, monkeypatch):
    path = saved({"weight": torch.zeros(2)}, tmp_path / "plain.pth")
    monkeypatch.delattr(torch.serialization, "get_unsafe_globals_in_checkpoint")
    with pytest.raises(
        DriverError, match=r"torch must be new enough to say .*, got 2\..*; install torch 2\.9 or newer"
    ):
        SevenNet().look(Asked(str(path)))
