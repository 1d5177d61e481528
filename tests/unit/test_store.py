# SPDX-License-Identifier: LGPL-2.1-or-later
"""Stores of model files: which folders are searched, what is found there, and what is said where nothing is."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
from guards import bounded
from models import Edges3, PairOfAll, script_bytes
from opening import compute, toml_text
from particles import cluster
from test_parameters import by_name, set_values

from kim_torchml.driver import open_model, opened_models
from kim_torchml.driver.stores import stores_of_process
from kim_torchml.errors import DriverError
from kim_torchml.model_files.store import Store, digest_of, read_from_stores
from kim_torchml.process import settings

CONTENT = b"the content of a model file"
DIGEST = digest_of(CONTENT)
FILE = f"{DIGEST}.model"
CLUSTER = cluster(8, 3.0, n_contributing=5)
OUTPUTS = ["partialEnergy", "partialForces"]


def look_in(*stores):
    """Return the content that is found, once it is known that its path is that of such a file."""
    content, path = read_from_stores(stores, DIGEST, "model.pt", "model.toml")
    assert path.name == FILE
    assert path.read_bytes() == content
    return content


def reason_of(store):
    """Return why nothing is found in a store."""
    with pytest.raises(DriverError) as raised:
        look_in(store)
    message = str(raised.value)
    beginning = (
        f"the model file model.pt with the SHA-256 {DIGEST} must be in a store of model files, as model.toml says, got "
        f"none in {store.folder} ("
    )
    end = (
        "); install the model's folder with `kim-torchml install FOLDER --store`, or name the folder that has the file "
        "in KIM_TORCHML_MODEL_PATH"
    )
    assert message.startswith(beginning)
    assert message.endswith(end)
    return message.removeprefix(beginning).removesuffix(end)


@pytest.fixture
def folder(tmp_path):
    """Return a function that makes a folder that holds the file, or another content under its name."""

    def function(name, content=CONTENT, mode=0o755):
        path = tmp_path / name
        path.mkdir()
        path.chmod(mode)
        if content is not None:
            (path / FILE).write_bytes(content)
        return path

    return function


@pytest.mark.parametrize("private", [False, True])
def test_a_file_is_found_by_its_digest_alone(folder, private):
    assert look_in(Store(folder("one"), private)) == CONTENT


def test_the_first_folder_that_has_it_is_taken(folder):
    stores = [Store(folder("one", None)), Store(folder("two")), Store(folder("three", b"never looked at"))]
    assert read_from_stores(stores, DIGEST, "model.pt", "model.toml") == (CONTENT, stores[1].folder / FILE)


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT[:-1] + b"!", b""])
def test_a_damaged_file_in_the_first_folder_does_not_hide_that_in_the_second(folder, content):
    damaged, sound = Store(folder("one", content)), Store(folder("two"))
    assert look_in(damaged, sound) == CONTENT
    assert reason_of(damaged) == f"{FILE} is damaged: its {len(content)} bytes have another SHA-256"


def test_every_folder_that_was_looked_in_is_named(folder, tmp_path):
    one, two = folder("one", None), folder("two", b"x")
    with pytest.raises(DriverError) as raised:
        look_in(Store(one), Store(two), Store(tmp_path / "three"))
    found = (
        f"{one} (not there), {two} ({FILE} is damaged: its 1 bytes have another SHA-256), {tmp_path / 'three'} (there"
    )
    assert f"got none in {found} is no such folder); install" in str(raised.value)


def test_no_store_at_all():
    with pytest.raises(DriverError, match=r"as model\.toml says, got none in no folder at all; install the model's"):
        look_in()


def test_folders_of_no_use(folder, tmp_path):
    assert reason_of(Store(folder("empty", None))) == "not there"
    assert reason_of(Store(tmp_path / "missing")) == "there is no such folder"
    (tmp_path / "file").touch()
    assert reason_of(Store(tmp_path / "file")) == "it is no folder"
    assert reason_of(Store(tmp_path / "file" / "below")) == "Not a directory"
    assert reason_of(Store(tmp_path / ("x" * 300))) == "File name too long"
    (tmp_path / "circle").symlink_to("circle")
    assert reason_of(Store(tmp_path / "circle")) == "Too many levels of symbolic links"


def test_a_folder_that_others_share_may_be_a_link_and_belong_to_anybody(folder, tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(folder("one", mode=0o777))
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert look_in(Store(tmp_path / "link")) == CONTENT


def test_what_a_private_folder_must_be(folder, tmp_path, monkeypatch):
    path = folder("one")
    (tmp_path / "link").symlink_to(path)
    link = "it must be a folder, not a link or a file"
    assert reason_of(Store(tmp_path / "link", is_private=True)) == link
    (tmp_path / "file").touch()
    assert reason_of(Store(tmp_path / "file", is_private=True)) == link
    assert reason_of(Store(tmp_path / "missing", is_private=True)) == "there is no such folder"
    for mode in (0o775, 0o757, 0o777):
        path.chmod(mode)
        others = "others can write there; take their right with chmod go-w"
        assert reason_of(Store(path, is_private=True)) == others
    path.chmod(0o700)
    assert look_in(Store(path, is_private=True)) == CONTENT
    monkeypatch.setattr(os, "getuid", lambda: path.stat().st_uid + 1)
    assert reason_of(Store(path, is_private=True)) == "it must belong to you"


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file(folder, make):
    path = folder("one", None)
    make(path / FILE)
    with bounded(seconds=5.0):
        assert reason_of(Store(path)) == f"{FILE} is no file"


def test_a_file_may_be_a_link(folder, tmp_path):
    (tmp_path / "elsewhere").write_bytes(CONTENT)
    path = folder("one", None)
    (path / FILE).symlink_to(tmp_path / "elsewhere")
    assert look_in(Store(path)) == CONTENT


def test_a_file_that_may_not_be_read(folder, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    path = folder("one")
    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert reason_of(Store(path)) == f"{FILE} cannot be read: Permission denied"


@pytest.fixture
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    return tmp_path


def folders_of_process():
    return [(str(store.folder), store.is_private) for store in stores_of_process()]


def test_the_users_own_store(home, monkeypatch):
    default = [(f"{home}/.local/share/kim-torchml/models", True)]
    assert folders_of_process() == default
    for relative in ("", "data", "./data", "~/data"):
        monkeypatch.setenv("XDG_DATA_HOME", relative)
        assert folders_of_process() == default
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert folders_of_process() == [("/data/kim-torchml/models", True)]


def test_stores_that_are_named(home, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    monkeypatch.setenv("KIM_TORCHML_MODEL_PATH", "/one:~/two::three:~nobody-of-this-name/four:")
    named = ["/one", f"{home}/two", "three", "~nobody-of-this-name/four"]
    assert folders_of_process() == [(folder, False) for folder in named]
    for empty in ("", ":", "::"):
        monkeypatch.setenv("KIM_TORCHML_MODEL_PATH", empty)
        assert folders_of_process() == [("/data/kim-torchml/models", True)]


def test_a_user_without_a_home_folder(monkeypatch):
    """As in a container that runs under any number: only a model in a store fails, and says why."""

    def unknown(_):
        raise KeyError

    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    for home in (None, "relative"):
        if home is not None:
            monkeypatch.setenv("HOME", home)
        with pytest.raises(
            DriverError, match=r"^this user must have a home folder, got none .*; set XDG_DATA_HOME to a f"
        ):
            settings.user_data_folder()
        assert stores_of_process() == []


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """Return a function that opens a model whose file is in a store, and the path of that file."""
    store = tmp_path / "store"
    store.mkdir()
    monkeypatch.setenv("KIM_TORCHML_MODEL_PATH", str(store))

    def function(script, name="first", **changes):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "model.toml").write_text(toml_text(script, where="store", **changes))
        path = store / f"{digest_of(script)}.model"
        if not path.exists():
            path.write_bytes(script)
        return open_model(str(folder), ["model.toml"]), path

    return function


def opened_again(folder, names=("model.toml",)):
    model = open_model(str(folder), list(names))
    model.prepare()
    return model


def test_a_model_in_a_store_is_opened_and_computes(stored):
    script = script_bytes(Edges3)
    model, _ = stored(script, layers=3)
    model.prepare()
    assert model._opened.files.stored == script
    assert compute(model, CLUSTER, OUTPUTS)["partialEnergy"][0] > 5.0


@pytest.mark.parametrize("harm", ["damaged", "truncated", "removed", "unnamed"])
def test_a_model_that_is_open_is_not_opened_again_without_its_file(stored, tmp_path, monkeypatch, harm):
    """Although this process still has its content: whoever opens it learns that other processes have not."""
    script = script_bytes(Edges3)
    model, path = stored(script, layers=3)
    if harm == "removed":
        path.unlink()
    elif harm == "unnamed":
        monkeypatch.setenv("KIM_TORCHML_MODEL_PATH", str(tmp_path / "empty"))
    else:
        path.write_bytes(script[:-1] if harm == "truncated" else script[:-1] + b"!")
    reason = {"removed": "not there", "unnamed": "there is no such folder"}.get(harm, "is damaged: its")
    message = (
        rf"^the model file model\.pt with the SHA-256 {digest_of(script)} must be in a store .*\(.*{reason}.*\); inst"
    )
    with pytest.raises(DriverError, match=message):
        opened_again(tmp_path / "first")
    # The one that is open goes on.
    model.prepare()
    assert compute(model, CLUSTER, OUTPUTS)["partialEnergy"][0] > 5.0
    path.write_bytes(script)
    monkeypatch.setenv("KIM_TORCHML_MODEL_PATH", str(path.parent))
    assert opened_again(tmp_path / "first")._opened is model._opened


def test_content_from_a_store_is_held_once(stored, tmp_path):
    script = script_bytes(Edges3)
    first, path = stored(script, layers=3)
    second, _ = stored(script, "second", layers=3, cutoff=2.4)
    assert second._opened is not first._opened
    assert second._opened.files.program is first._opened.files.program
    folder = tmp_path / "third"
    folder.mkdir()
    (folder / "model.toml").write_text(toml_text(script, layers=3))
    (folder / "model.pt").write_bytes(path.read_bytes())
    third = open_model(str(folder), ["model.toml", "model.pt"])
    assert third._opened.files.program is first._opened.files.program


@pytest.mark.parametrize("is_stored", [True, False], ids=["store", "folder"])
@pytest.mark.parametrize("is_changed", [True, False], ids=["changed", "unchanged"])
def test_what_is_written_is_complete(stored, tmp_path, monkeypatch, is_stored, is_changed):
    """WriteParameterizedModel gives a folder that needs no store, with the digest of the file that is in it."""
    script = script_bytes(Edges3)
    tables = '[parameters]\nweight = "strength"\n[limits]\nsmallest_distance = 0.5\n[about]\nauthors = ["A", "B"]\n'
    model, path = stored(script, layers=3, tables=tables, species=["Si", "C"])
    names = ["model.toml"]
    if not is_stored:
        folder = tmp_path / "first"
        (folder / "model.toml").write_text(toml_text(script, layers=3, tables=tables, species=["Si", "C"]))
        (folder / "model.pt").write_bytes(script)
        names = ["model.toml", "model.pt"]
        model = open_model(str(folder), names)
    model.prepare()
    if is_changed:
        set_values(model, "weight", 0.35)
    expected = compute(model, CLUSTER, OUTPUTS)
    written = tmp_path / "written"
    written.mkdir()
    assert model.write(str(written)) == ["model.toml", "model.pt"]
    content, text = (written / "model.pt").read_bytes(), (written / "model.toml").read_text()
    assert (content == script) != is_changed
    assert f'sha256 = "{digest_of(content)}"' in text
    assert "store" not in text
    # A model that was complete and is as it was keeps its files byte for byte.
    same = (written / "model.toml").read_bytes() == (tmp_path / "first" / "model.toml").read_bytes()
    assert same == (not is_stored and not is_changed)
    monkeypatch.setenv("KIM_TORCHML_MODEL_PATH", str(tmp_path / "none"))
    path.unlink()
    monkeypatch.setattr(opened_models, "_living", set())
    again = opened_again(written, ["model.toml", "model.pt"])
    assert by_name(again)["weight"].values.tolist() == [0.35 if is_changed else 0.3]
    for name, array in compute(again, CLUSTER, OUTPUTS).items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)
    before, after = model.description, again.description
    for field in ("species", "cutoff", "n_layers", "parameters", "limits", "about", "dtype"):
        assert getattr(after, field) == getattr(before, field)
    assert after.sha256 == digest_of(content)
    assert not after.in_store


def test_a_written_model_keeps_its_other_files(stored, tmp_path):
    """In the order that KIM has."""
    script = script_bytes(PairOfAll)
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "notes.txt").write_bytes(b"\xffnotes")
    stored(script, "model", kind="none")
    model = open_model(str(folder), ["notes.txt", "model.toml"])
    written = tmp_path / "written"
    written.mkdir()
    assert model.write(str(written)) == ["notes.txt", "model.toml", "model.pt"]
    assert (written / "notes.txt").read_bytes() == b"\xffnotes"
    assert re.search(r'^kind = "none"$', (written / "model.toml").read_text(), re.MULTILINE)
