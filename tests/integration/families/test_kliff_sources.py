# SPDX-License-Identifier: LGPL-2.1-or-later
"""Folders that KLIFF has exported and that were changed afterwards: one sentence each, and nothing is left behind."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from family_kliff import DESCRIPTOR_FOLDER, GRAPH_FOLDER
from family_runs import kim_torchml

BAD = {
    f"{DESCRIPTOR_FOLDER}/model.pt": (2, "a file; name its folder"),
    f"{DESCRIPTOR_FOLDER} --dtype float32": (2, "`--dtype` must be float64, the type of the network in model.pt"),
    f"{DESCRIPTOR_FOLDER} --format pt2": (2, "whose model file is TorchScript and stays as it is, got 'pt2'"),
    f"{GRAPH_FOLDER} --species-as codes": (
        2,
        "`--species-as` must be atomic numbers for model.pt, whose first argument",
    ),
    f"{GRAPH_FOLDER} --head pbe": (2, "`--head` must be left out for KLIFF"),
    "without_descriptor": (1, "got 'descriptor.dat', which is not there"),
    "of_another_driver": (1, "got DUNN__MD_292677547454_000"),
    "one_layer": (1, "`number of inputs` must be 4 for the preprocessing Graph with 1 layers, got '5'"),
}


@pytest.fixture(scope="module")
def sources(made_sources: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported folders, and others that were made of them."""
    folder = tmp_path_factory.mktemp("sources")
    for name in (DESCRIPTOR_FOLDER, GRAPH_FOLDER):
        shutil.copytree(made_sources("kliff") / name, folder / name)
    for name in ("without_descriptor", "of_another_driver"):
        shutil.copytree(folder / DESCRIPTOR_FOLDER, folder / name)
    (folder / "without_descriptor" / "descriptor.dat").unlink()
    _change(
        folder / "of_another_driver" / "CMakeLists.txt", "TorchML__MD_173118614730_000", "DUNN__MD_292677547454_000"
    )
    shutil.copytree(folder / GRAPH_FOLDER, folder / "one_layer")
    _change(folder / "one_layer" / "kliff_graph.param", "\n2\n\n# Model", "\n1\n\n# Model")
    return folder


def _change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize("asked", BAD)
def test_bad_sources_of_kliff(sources: Path, tmp_path: Path, asked: str) -> None:
    source, *options = asked.split()
    words = ["convert", "kliff", sources / source, "--output", "model", "--name", "Model", *options]
    done = kim_torchml("kliff", *words, folder=tmp_path)
    code, said = BAD[asked]
    assert done.returncode == code, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ")
    assert said in line
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []
