# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sources of CHGNet that cannot be converted: one sentence each, and nothing is left behind."""

from pathlib import Path

import pytest
from family_runs import HERE, kim_torchml, python_of, run_in_family

# Writes changed copies of a file of small.pth.tar, and pickles that need trust; runs where chgnet is.
_WRITE = """
from pathlib import Path
import torch
from kim_torchml.tools.convert.chgnet_package import import_package

import_package()
from chgnet.model.composition_model import AtomRef, CompositionModel


def write(name, change):
    content = torch.load("small.pth.tar", weights_only=True)
    change(content["model"])
    torch.save(content, name)


def with_modules(model, kind):
    composition = kind()
    if kind is AtomRef:
        composition.initialize_from("MPtrj")
    model["model_args"]["composition_model"] = composition
    model["state_dict"] = {
        name: each for name, each in model["state_dict"].items() if not name.startswith("composition_model")
    } | {f"composition_model.{name}": each for name, each in composition.state_dict().items()}


write("other_weights.pth.tar", lambda model: model["state_dict"].pop("bond_embedding.weight"))
write("other_arguments.pth.tar", lambda model: model["model_args"].update(non_linearity="step"))
write("composition.pth.tar", lambda model: with_modules(model, CompositionModel))
write("own_references.pth.tar", lambda model: with_modules(model, AtomRef))
whole = Path("small.pth.tar").read_bytes()
Path("truncated.pth.tar").write_bytes(whole[: len(whole) // 2])
"""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files."""
    python_of("chgnet")
    folder = tmp_path_factory.mktemp("sources")
    for done in (
        run_in_family("chgnet", HERE / "make_chgnet.py", folder, "small", "averaged", "extensive"),
        run_in_family("chgnet", "-c", _WRITE, folder=folder),
    ):
        assert done.returncode == 0, done.stderr
    return folder


BAD = {
    "truncated.pth.tar": (1, "which is no archive of torch.save or is damaged"),
    "other_weights.pth.tar": (1, "a file of CHGNet's weights in "),
    "other_arguments.pth.tar": (1, "a file of CHGNet's weights in "),
    "averaged.pth.tar": (
        1,
        "holds a network with mlp_first=False, whose energy is one of features that are averaged over all atoms",
    ),
    "extensive.pth.tar": (1, "is_intensive=False and a composition model with is_intensive=True, which adds an energy"),
    "composition.pth.tar": (2, "holds chgnet.model.composition_model.CompositionModel, which unpickling alone can"),
    "composition.pth.tar --trust": (1, "a composition model of the class CompositionModel, whose energy is no sum"),
    "own_references.pth.tar": (2, "holds chgnet.model.composition_model.AtomRef, which unpickling alone can make"),
    "0.4.0": (2, "or one of 0.3.0, 0.2.0, r2scan, got '0.4.0'; did you mean '0.3.0'"),
}


@pytest.mark.parametrize("asked", BAD)
def test_bad_sources_of_chgnet(sources: Path, tmp_path: Path, asked: str) -> None:
    source, *options = asked.split()
    path = sources / source if source.endswith(".tar") else source
    words = ["convert", "chgnet", path, "--output", "model", "--name", "Model", *options]
    done = kim_torchml("chgnet", *words, folder=tmp_path)
    code, said = BAD[asked]
    assert done.returncode == code, done.stderr
    *notes, line = done.stderr.splitlines()
    assert line.startswith("Error: ")
    assert [each.startswith("note: ") for each in notes] == [True] * len(options)
    assert said in line
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.thorough
def test_a_file_with_energies_of_its_own_for_lone_atoms_is_converted_with_trust(sources: Path, tmp_path: Path) -> None:
    path = sources / "own_references.pth.tar"
    words = ["convert", "chgnet", path, "--output", "model", "--name", "Model", "--trust", "--dtype", "float64"]
    done = kim_torchml("chgnet", *words, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "lone atom (each of 94 species)" in done.stdout


@pytest.mark.thorough
def test_names_and_files_of_chgnet_give_the_same(tmp_path: Path) -> None:
    """The file of the wheel is known as what it is, though it does not say that it has more weights."""
    from_wheel = (
        "import importlib.util, pathlib; print(pathlib.Path(importlib.util.find_spec('chgnet').origin).parent / "
        "'pretrained/0.2.0/chgnet_0.2.0_e30f77s348m32.pth.tar')"
    )
    path = run_in_family("chgnet", "-c", from_wheel).stdout.strip()
    done = kim_torchml("chgnet", "convert", "chgnet", path, "--output", "model", "--name", "M", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "the file is taken for CHGNet 0.2.0 by its name" in done.stdout
    assert 'title = "CHGNet 0.2.0"' in (tmp_path / "model" / "model.toml").read_text()
