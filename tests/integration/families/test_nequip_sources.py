# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sources of NequIP and Allegro that cannot be converted: one sentence each, and nothing is left behind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from family_runs import kim_torchml


def _of_elements(content: dict[str, Any]) -> None:
    content["hyper_parameters"]["model"]["type_names"] = ["H", "O", "Na", "Si", "Water"]


def _another_builder(content: dict[str, Any]) -> None:
    content["hyper_parameters"]["model"] = {"_target_": "os.mkdir", "path": "made_by_a_checkpoint"}


def _another_part(content: dict[str, Any]) -> None:
    content["hyper_parameters"]["model"]["pair_potential"] = {"_target_": "os.mkdir", "path": "made_by_a_checkpoint"}


def _another_file(content: dict[str, Any]) -> None:
    content["hyper_parameters"]["model"]["r_max"] = "${cutoff_radius_from_package:small.nequip.zip}"


def _newer(content: dict[str, Any]) -> None:
    content["hyper_parameters"]["info_dict"]["versions"]["nequip"] = "99.1.0"


def _other_weights(content: dict[str, Any]) -> None:
    del content["state_dict"]["model.sole_model.model.func.type_embed.embed_module.weight"]


def _unknown_argument(content: dict[str, Any]) -> None:
    content["hyper_parameters"]["model"]["num_feathers"] = 3


# Changed copies of small.ckpt, and what is said of them.
CHANGED: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "of_elements.ckpt": (_of_elements, "must be symbols of elements, each once, as simulators know elements alone"),
    "another_builder.ckpt": (_another_builder, "must be a builder of nequip or allegro (NequIPGNNModel, "),
    "another_part.ckpt": (_another_part, "must be ZBL, LennardJones, SimpleLennardJones, got 'os.mkdir'"),
    "another_file.ckpt": (_another_file, "must be what was put in for it, got '${cutoff_radius_from_package:"),
    "newer.ckpt": (_newer, "was made by nequip 99.1.0, and this is nequip 0.19.1; install nequip 99.1.0 or newer"),
    "other_weights.ckpt": (_other_weights, "other_weights.ckpt cannot be read: "),
    "unknown_argument.ckpt": (_unknown_argument, "unknown_argument.ckpt cannot be read: "),
}  # fmt: skip
BAD = {
    "truncated.ckpt": (1, "which is no archive of torch.save or is damaged"),
    "small.nequip.zip": (2, "small.nequip.zip is a package of nequip-package, a pickled network with its own code"),
    "small.nequip.zip --trust --dtype float64": (2, "which was packaged in float32, got 'float64'"),
    "softplus.ckpt": (1, "must take neighbours beyond the cutoff of their pair of elements for none, got "),
    "small.ckpt --head pbe": (2, "`--head` must be left out, got 'pbe'"),
}  # fmt: skip


@pytest.mark.parametrize("asked", [*BAD, *CHANGED])
def test_bad_sources_of_nequip(made_sources: Callable[[str], Path], tmp_path: Path, asked: str) -> None:
    folder = made_sources("nequip")
    whole = (folder / "small.ckpt").read_bytes()
    (folder / "truncated.ckpt").write_bytes(whole[: len(whole) // 2])
    if asked in CHANGED:
        change, said = CHANGED[asked]
        # The maker has written it.
        content = torch.load(folder / "small.ckpt", map_location="cpu", weights_only=True)
        change(content)
        torch.save(content, folder / asked)
    code, said = BAD.get(asked) or (2 if asked == "of_elements.ckpt" else 1, said)
    source, *options = asked.split()
    words = ["convert", "nequip", folder / source, "--output", "model", "--name", "Model", *options]
    done = kim_torchml("nequip", *words, folder=tmp_path)
    assert done.returncode == code, done.stderr
    # What trust was given for is said before.
    line = done.stderr.splitlines()[-1]
    assert line.startswith("Error: ")
    assert said in line
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []
