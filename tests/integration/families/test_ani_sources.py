# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sources of ANI that cannot be converted, where its package is: one sentence each, and nothing is left behind."""

from pathlib import Path

import pytest
import torch
from family_runs import kim_torchml

BAD = {
    "2x": (2, "the networks of ANI-2x are in no wheel: torchani 2.2.4 has empty files in their place; 1x can be"),
    "ANI-1ccx": (2, "the networks of ANI-1ccx are in no wheel"),
    "7net-0": (2, "`source` must be 1x, the name of the networks in torchani's wheel, got '7net-0'; correct it"),
    "other.model --trust": (2, "got the file other.model; name the family that the file is of"),
    "1x --head pbe": (2, "`--head` is for networks of other families, got 'pbe'; leave it out"),
    "1x --modal PBE": (2, "`--modal` is for networks of other families, got 'PBE'; leave it out"),
    "1x --output there": (2, "there"),
}


@pytest.mark.parametrize("asked", BAD)
def test_bad_sources_of_ani(tmp_path: Path, asked: str) -> None:
    torch.save({"weight": torch.zeros(3, device="cpu")}, tmp_path / "other.model")
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    source, *options = asked.split()
    output = [] if "--output" in options else ["--output", "model"]
    done = kim_torchml("ani", "convert", "ani", source, *output, "--name", "Model", *options, folder=tmp_path)
    code, said = BAD[asked]
    assert done.returncode == code, done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("Error: ")
    assert said in done.stderr
    assert done.stdout == ""
    assert sorted(tmp_path.rglob("*")) == before
