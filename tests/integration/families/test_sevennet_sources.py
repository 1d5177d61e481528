# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sources of SevenNet that cannot be converted: one sentence each, and nothing is left behind."""

import json
from pathlib import Path

import pytest
from family_runs import kim_torchml, python_of, run_in_family

# Writes changed copies of a checkpoint; runs where sevenn is.
_WRITE = """
import sys
from pathlib import Path
import torch
from sevenn import _const

def write(name, change):
    content = torch.load(_const.SEVENNET_0_11Jul2024, weights_only=False, map_location="cpu")
    for key in ("optimizer_state_dict", "scheduler_state_dict"):
        content.pop(key, None)
    change(content)
    torch.save(content, name)

def newer(content):
    content["config"]["version"] = "99.1.0"

def other_type(content):
    content["config"]["_model_type"] = "charges"

def other_weights(content):
    del content["model_state_dict"]["rescale_atomic_energy.shift"]

write("newer.pth", newer)
write("other_type.pth", other_type)
write("other_weights.pth", other_weights)
write("plain.pth", lambda content: None)
whole = Path("plain.pth").read_bytes()
Path("truncated.pth").write_bytes(whole[: len(whole) // 2])
"""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of checkpoints."""
    python_of("sevennet")
    folder = tmp_path_factory.mktemp("sources")
    done = run_in_family("sevennet", "-c", _WRITE, folder=folder)
    assert done.returncode == 0, done.stderr
    return folder


BAD = {
    "newer.pth": (1, "newer.pth was made by sevenn 99.1.0, and this is sevenn 0.13.0; install sevenn 99.1.0 or newer"),
    "other_type.pth": (1, "which holds no network of SevenNet; name another file, or another family"),
    "other_weights.pth": (1, "a checkpoint of SevenNet in "),
    "truncated.pth": (1, "which is no archive of torch.save or is damaged"),
    "7net-omni": (
        2,
        "7net-omni is in no wheel: fetch the file checkpoint_sevennet_omni.pth from the release v0.12.0.cp of "
        "github.com/MDIL-SNU/SevenNet, and run `kim-torchml convert sevennet checkpoint_sevennet_omni.pth`",
    ),
    "7net-mf-0": (2, "`--modal` must say which of the network's modalities is meant: R2SCAN, PBE; got none"),
    "7net-mf-0 --modal scan": (2, "`--modal` must be one of R2SCAN, PBE, got 'scan'"),
    "7net-0 --modal PBE": (2, "`--modal` must be left out for a network without modalities, got 'PBE'; leave it out"),
}


@pytest.mark.parametrize("asked", BAD)
def test_bad_sources_of_sevennet(sources: Path, tmp_path: Path, asked: str) -> None:
    source, *options = asked.split()
    path = sources / source if source.endswith(".pth") else source
    words = ["convert", "sevennet", path, "--output", "model", "--name", "Model", *options]
    done = kim_torchml("sevennet", *words, folder=tmp_path)
    code, said = BAD[asked]
    assert done.returncode == code, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ")
    assert said in line
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.thorough
def test_names_and_files_of_sevennet_give_the_same(tmp_path: Path) -> None:
    """The file of the wheel is known as what it is, wherever it is named."""
    find = "import json, sevenn._const as c; print(json.dumps(c.SEVENNET_0_22May2024))"
    path = json.loads(run_in_family("sevennet", "-c", find).stdout)
    done = kim_torchml("sevennet", "convert", "sevennet", path, "--output", "model", "--name", "M", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    said = (tmp_path / "model" / "model.toml").read_text()
    assert 'title = "SevenNet-0 (22 May 2024)"' in said
    assert 'trained_on = "MPF.2021.2.8 of M3GNet, PBE(+U)"' in said
    assert done.stderr == ""
