# SPDX-License-Identifier: LGPL-2.1-or-later
"""Putting model files into a store, and finding out what a store holds and who needs it."""

import errno
import hashlib
import os
import stat
from pathlib import Path

import pytest
from model_folders import compile_library

from kim_torchml.errors import DriverError
from kim_torchml.model_files.store import Store, read_from_stores
from kim_torchml.tools.kim_collections.libraries import MODEL_LIBRARY, ModelLibrary
from kim_torchml.tools.model_store import keeping
from kim_torchml.tools.model_store.keeping import kept_in_store
from kim_torchml.tools.model_store.listing import needed_from_store, stored_files, unused_files, users_of_files

CONTENT = bytes(range(256)) * 100
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def keep(store, fails=False):
    """Put the file into a store, and let what follows succeed or fail."""
    with kept_in_store([store], DIGEST, CONTENT) as path:
        assert read_from_stores([store], DIGEST, "model.pt", "model.toml") == (CONTENT, path)
        if fails:
            raise DriverError("what follows has failed")
    return path


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def names(store):
    return [path.name for path in store.folder.iterdir()]


def test_private_store_is_made(tmp_path):
    store = Store(tmp_path / "share" / "kim-torchml" / "models", is_private=True)
    path = keep(store)
    assert names(store) == [path.name] == [f"{DIGEST}.model"]
    assert (mode(store.folder.parent), mode(store.folder), mode(path)) == (0o700, 0o700, 0o600)
    written = path.stat().st_mtime_ns
    keep(store)
    assert path.stat().st_mtime_ns == written


def test_store_for_many_users(tmp_path):
    assert mode(keep(Store(tmp_path))) == 0o644


def test_damaged_file_is_replaced(tmp_path):
    store = Store(tmp_path)
    store.path_of(DIGEST).write_bytes(CONTENT[:-1])
    assert keep(store).read_bytes() == CONTENT


def test_file_goes_if_the_installation_fails(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(DriverError, match="what follows"):
        keep(store, fails=True)
    assert names(store) == []
    # A file that was there before stays.
    keep(store)
    with pytest.raises(DriverError, match="what follows"):
        keep(store, fails=True)
    assert names(store) == [f"{DIGEST}.model"]


def test_two_installations_at_once(tmp_path, monkeypatch):
    """Whichever fails, the other one's model has its file."""
    store = Store(tmp_path)
    # The second has put the file there while the first was still about to.
    monkeypatch.setattr(keeping, "_holds", lambda path, digest: path.suffix != ".model")
    with kept_in_store([store], DIGEST, CONTENT), pytest.raises(DriverError, match="what follows"):
        keep(store, fails=True)
    assert names(store) == [f"{DIGEST}.model"]
    monkeypatch.undo()
    # The second had relied on the file of the first, which fails before the second is done.
    store.path_of(DIGEST).unlink()
    first, second = (kept_in_store([store], DIGEST, CONTENT) for _ in range(2))
    first.__enter__()
    with second:
        assert not first.__exit__(DriverError, DriverError("what follows has failed"), None)
        assert names(store) == []
    assert store.path_of(DIGEST).read_bytes() == CONTENT


def test_store_without_links(tmp_path, monkeypatch):
    def refuse(file, path):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    assert keep(Store(tmp_path)).read_bytes() == CONTENT
    store = Store(tmp_path / "other")
    store.folder.mkdir()
    with pytest.raises(DriverError, match="what follows"):
        keep(store, fails=True)
    assert names(store) == []


def test_store_that_cannot_be_used(tmp_path):
    message = (
        "the store of model files .* cannot be used: there is no such folder; mend that, name another folder in KIM_"
    )
    with pytest.raises(DriverError, match=message):
        keep(Store(tmp_path / "misspelt"))
    assert not (tmp_path / "misspelt").exists()
    tmp_path.chmod(0o777)
    with pytest.raises(DriverError, match="cannot be used: others can write there; take their right with chmod go-w"):
        keep(Store(tmp_path, is_private=True))
    (tmp_path / "file").touch()
    with pytest.raises(DriverError, match=r"models cannot be used: .*/file is no folder; mend that"):
        keep(Store(tmp_path / "file" / "models", is_private=True))


def test_store_that_cannot_be_written(tmp_path, monkeypatch):
    """Whoever runs the tests may be root, who may write anywhere."""

    def refuse(**arguments):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), arguments["dir"])

    monkeypatch.setattr(keeping.tempfile, "mkstemp", refuse)
    with pytest.raises(
        DriverError, match=r"cannot be used: Read-only file system; mend that.* or install with --no-store"
    ):
        keep(Store(tmp_path))


def test_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def refuse(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(keeping.os, "fsync", refuse)
    with pytest.raises(DriverError, match="cannot be used: No space left on device"):
        keep(Store(tmp_path))
    assert names(Store(tmp_path)) == []


def test_what_is_read_again_must_be_what_was_written(tmp_path, monkeypatch):
    replace = Path.chmod

    def damage(self, mode):
        replace(self, mode)
        if self.suffix != ".model" and self.is_file():
            self.write_bytes(CONTENT[1:])

    monkeypatch.setattr(Path, "chmod", damage)
    with pytest.raises(DriverError, match="what was written cannot be read again as it was"):
        keep(Store(tmp_path))
    assert names(Store(tmp_path)) == []


def test_files_of_a_store(tmp_path):
    keep(Store(tmp_path))
    (tmp_path / f"{'1' * 64}.model").write_bytes(b"short")
    (tmp_path / f"{'2' * 64}.model").mkdir()
    (tmp_path / "README").touch()
    found = {each.digest: each for each in stored_files(Store(tmp_path))}
    assert list(found) == sorted([DIGEST, "1" * 64, "2" * 64])
    assert (found[DIGEST].size, found[DIGEST].problem) == (len(CONTENT), "")
    assert found["1" * 64].problem == "it is damaged: its bytes have another SHA-256"
    assert found["2" * 64].problem == "it is no file"
    with pytest.raises(DriverError, match="cannot be used: there is no such folder; mend that"):
        stored_files(Store(tmp_path / "none"))


def toml(where):
    return f'format = 2\n[model]\nsha256 = "{DIGEST.upper()}"\n{where}\n'


@pytest.mark.parametrize(
    ("description", "digest"),
    [(toml('where = "store"'), DIGEST), (toml('where = "folder"'), ""), (toml(""), ""), ("", ""), ("model = 1", "")],
)
def test_what_a_model_needs(description, digest):
    assert needed_from_store(ModelLibrary(description=description)) == digest


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (ModelLibrary(failure="it is damaged"), "it is damaged"),
        (ModelLibrary(why_no_files="unknown layout"), "unknown layout"),
        (ModelLibrary(description="x\n[[["), "its model.toml cannot be read: .* line 1"),
    ],
)
def test_what_a_model_needs_is_not_known(model, message):
    with pytest.raises(DriverError, match=message):
        needed_from_store(model)


def test_unused_files(tmp_path, fake):
    """Files that no model needs are unused; nobody knows where a model cannot be read."""
    models = fake.folder / "portable_models"
    compile_library(models / "Mine" / MODEL_LIBRARY, "Mine", {"model.toml": toml('where = "store"').encode()})
    compile_library(models / "Other" / MODEL_LIBRARY, "Other", {"model.toml": toml("").encode()})
    fake.add_kim_api(portable_models=f"user Mine {models}\nuser Other {models}\nenvironmentVariable Mine {models}")
    store = Store(tmp_path / "store")
    store.folder.mkdir()
    keep(store)
    (store.folder / f"{'1' * 64}.model").write_bytes(b"1")
    files = stored_files(store)
    users = users_of_files(fake.machine().kim_api)
    assert users.by_digest == {DIGEST: ["Mine"]}
    assert [each.digest for each in unused_files(files, users)] == ["1" * 64]
    (models / "Other" / MODEL_LIBRARY).write_bytes(b"damaged")
    with pytest.raises(
        DriverError, match=r"not known which file the installed model Other needs: .*; install it again with `kim-torch"
    ):
        unused_files(files, users_of_files(fake.machine().kim_api))
