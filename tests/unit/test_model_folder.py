# SPDX-License-Identifier: LGPL-2.1-or-later
"""The files in a model's folder are told apart, and nothing outside the folder is read."""

import os
from pathlib import Path

import pytest
from opening import parameter_text

from kim_torchml.errors import DriverError
from kim_torchml.inputs import FILE_FORMATS
from kim_torchml.model_files.model_folder import read_model_folder


@pytest.fixture
def folder(tmp_path):
    """Return a model folder with a parameter file and a model file."""
    path = tmp_path / "folder"
    path.mkdir()
    (path / "kim_model.param").write_text(parameter_text())
    (path / "model.pt").write_bytes(b"the model")
    return path


def test_all_files_are_read(folder):
    (folder / "notes.dat").write_bytes(b"\xff")
    found = read_model_folder(folder, ["model.pt", "notes.dat", "kim_model.param"], FILE_FORMATS)
    assert found.program == b"the model"
    assert found.description.species == ("Si",)
    expected = [("model.pt", b"the model"), ("notes.dat", b"\xff"), ("kim_model.param", parameter_text().encode())]
    assert list(found.contents) == expected


def test_what_was_read_stays_when_the_folder_goes(folder):
    found = read_model_folder(folder, ["kim_model.param", "model.pt"], FILE_FORMATS)
    (folder / "model.pt").unlink()
    assert found.program == b"the model"


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([], r"got none among its files \(no files at all\)"),
        (["model.pt"], r"got none among its files \(model\.pt\)"),
        (["model.pt", "param"], r"got none among its files \(model\.pt, param\)"),
        (["a.param", "b.param", "m.pt"], r"got a\.param, b\.param among its files \(a\.param, b\.param, m\.pt\)"),
    ],
)
def test_there_must_be_one_parameter_file(folder, names, found):
    with pytest.raises(
        DriverError, match=rf"must have model\.toml or one \.param file, {found}; list it in PARAMETER_FILES of the"
    ):
        read_model_folder(folder, names, FILE_FORMATS)


def test_the_model_file_must_be_listed(folder):
    message = (
        r"`model file name` must be one of the model's files \(kim_model\.param, other\.pt\), got 'model\.pt' "
        r"\(file kim_model\.param\); correct the name, or list the file in PARAMETER_FILES"
    )
    with pytest.raises(DriverError, match=message):
        read_model_folder(folder, ["kim_model.param", "other.pt"], FILE_FORMATS)


def test_of_several_torchscript_files_the_named_one_is_taken(folder):
    (folder / "other.pt").write_bytes(b"another")
    found = read_model_folder(folder, ["other.pt", "kim_model.param", "model.pt"], FILE_FORMATS)
    assert found.program == b"the model"


@pytest.mark.parametrize(("names", "found"), [([], "none"), (["dat"], "none"), (["a.dat", "b.dat"], r"a\.dat, b\.dat")])
def test_a_descriptor_model_needs_one_descriptor_file(folder, names, found):
    text = parameter_text("Descriptor", descriptor="SymmetryFunctions")
    (folder / "kim_model.param").write_text(text)
    for name in names:
        (folder / name).write_text("")
    message = rf"^a model with the descriptor SymmetryFunctions must have one \.dat file, got {found} among its files"
    with pytest.raises(DriverError, match=message):
        read_model_folder(folder, ["kim_model.param", "model.pt", *names], FILE_FORMATS)


def test_a_listed_model_file_must_be_there(folder):
    (folder / "model.pt").unlink()
    with pytest.raises(DriverError, match=r"cannot read the model's file model\.pt: .*No such file"):
        read_model_folder(folder, ["kim_model.param", "model.pt"], FILE_FORMATS)


@pytest.mark.parametrize("name", ["model.pt", "kim_model.param"])
def test_a_link_out_of_the_folder_is_not_followed(folder, name):
    outside = folder.parent / "outside"
    (folder / name).rename(outside)
    (folder / name).symlink_to(outside)
    message = rf"the file {name} must lie in the model's own folder, got a link that leaves it"
    with pytest.raises(DriverError, match=message):
        read_model_folder(folder, ["kim_model.param", "model.pt"], FILE_FORMATS)


@pytest.mark.parametrize("name", ["model.pt", "kim_model.param"])
@pytest.mark.parametrize("resolve", [Path.resolve, lambda path: Path(os.path.realpath(path))], ids=["own", "3.13"])
def test_a_link_to_itself_is_refused(folder, name, resolve, monkeypatch):
    """From Python 3.13 on, Path.resolve gives back such a link, as realpath does; before, it raises an error."""
    (folder / name).unlink()
    (folder / name).symlink_to(name)
    monkeypatch.setattr(Path, "resolve", resolve)
    with pytest.raises(DriverError, match=rf"^the file {name} cannot be found: .*; put the file itself there$"):
        read_model_folder(folder, ["kim_model.param", "model.pt"], FILE_FORMATS)


def test_the_folder_itself_may_be_a_link(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    assert read_model_folder(tmp_path / "link", ["kim_model.param", "model.pt"], FILE_FORMATS).program == b"the model"
