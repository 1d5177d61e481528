# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sources of MACE that cannot be converted: one sentence each, and nothing is left behind."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from family_runs import kim_torchml

BAD = {
    "heads.model --trust": (2, "`--head` must say which of the network's heads is meant: pbe, r2scan; got none"),
    "heads.model --trust --head R2SCAN": (
        2,
        "`--head` must be one of pbe, r2scan, got 'R2SCAN'; did you mean",
    ),
    "small.model --trust --head pbe": (2, "`--head` must be one of Default, got 'pbe'"),
    "small.model": (2, "small.model is a pickle, as every .model is, and unpickling runs whatever code"),
    "small.model --trust --modal PBE": (
        2,
        "`--modal` is for networks of SevenNet, got 'PBE'; MACE's have heads",
    ),
    "small.model-lammps.pt --format pt2": (2, "which is TorchScript already, got 'pt2'; leave it out"),
    "truncated.model --trust": (1, "which is no archive of torch.save or is damaged"),
    "charges.model --trust": (1, "which needs charges, and gives dipoles: the kind edges has species and edges alone"),
    "weights.pt --trust": (1, "which holds none, such as a checkpoint of a training run"),
    "medium-mpa-0": (2, "fetch the file mace-mpa-0-medium.model from the release mace_mpa_0 of github.com/ACEsuit/"),
}


@pytest.mark.parametrize("asked", BAD)
def test_bad_sources_of_mace(made_sources: Callable[[str], Path], tmp_path: Path, asked: str) -> None:
    mace_models = made_sources("mace")
    whole = (mace_models / "small.model").read_bytes()
    (mace_models / "truncated.model").write_bytes(whole[: len(whole) // 2])
    torch.save({"model": {"weight": torch.zeros(3, device="cpu")}, "optimizer": {}}, mace_models / "weights.pt")
    source, *options = asked.split()
    path = mace_models / source if (mace_models / source).exists() else source
    words = ["convert", "mace", path, "--output", "model", "--name", "Model", *options]
    done = kim_torchml("mace", *words, folder=tmp_path)
    code, said = BAD[asked]
    assert done.returncode == code, done.stderr
    # What trust was given for is said before.
    line = done.stderr.splitlines()[-1]
    assert line.startswith("Error: ")
    assert said in line
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []
