# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sources of `kim-torchml convert` from people who are not trusted: nothing of theirs runs, whenever they write it."""

import importlib.machinery
import os
import struct
import sys
import types
import zipfile

import mace_files
import numpy as np
import pytest
import torch

from kim_torchml.errors import DriverError
from kim_torchml.tools.convert.family import Asked
from kim_torchml.tools.convert.mace import Mace
from kim_torchml.tools.convert.plain_arrays import PLAIN_ARRAYS
from kim_torchml.tools.convert.sevennet import SevenNet
from kim_torchml.tools.convert.source_file import look_at, plain_content
from kim_torchml.tools.request_error import RequestError

MAKER, ARRAY, STATE = np.zeros(2).__reduce__()
SCALAR = np.float64(1.0).__reduce__()[0]
# An address at which nothing is.
RAW = struct.pack("<QQ", 0x4141414141414141, 0x4141414141414141)
SIXTEEN_BYTES = (1, (2,), np.dtype("f8"), False, RAW)


class Calls:
    """Is unpickled by a call, and a state that is given to what it returns."""

    def __init__(self, function, *arguments, state=None):
        self.reduced = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.reduced


def saved(content, path):
    torch.save(content, path)
    return path


def array_of(kind, content=RAW, shape=(2,)):
    return Calls(MAKER, *ARRAY, state=(1, shape, kind, False, content))


def float_with(parts, names, fields):
    """Return a type of numbers that is said to have parts."""
    return Calls(np.dtype, "f8", False, True, state=(3, "<", parts, names, fields, 8, 8, 0))


OBJECT = Calls(np.dtype, "O")
ODD = {
    "an address as a field of a number": array_of(float_with(None, ("a",), {"a": (OBJECT, 0)})),
    "an address as a part of a number": array_of(float_with((OBJECT, (1,)), None, None)),
    "a record of addresses": Calls(SCALAR, Calls(np.dtype, [("a", float_with((OBJECT, (1,)), None, None))]), RAW[:8]),
    "a number of another size": Calls(SCALAR, np.dtype("f8"), RAW),
    "objects": Calls(MAKER, *ARRAY, state=(1, (1,), np.dtype("O"), False, [1])),
    "a list of numbers": array_of(np.dtype("f8"), [1.0, 2.0]),
    "no state": array_of(np.dtype("f8"), shape=(-2,)),
    "more than there is": array_of(np.dtype("f8"), shape=(2**40,)),
    "an array made at once": Calls(np.ndarray, (2**36,), "f8"),
    "dates": np.array(["2020-01-01"], dtype="M8[D]"),
}


@pytest.mark.parametrize("what", ODD)
def test_types_that_lie_are_refused(what, tmp_path):
    path = saved({"config": {"shift": ODD[what]}}, tmp_path / "odd.pth")
    assert SevenNet().look(Asked(str(path))) == ""
    with pytest.raises(DriverError, match=r"a checkpoint in \S+ cannot be read: "):
        plain_content(path, "a checkpoint", PLAIN_ARRAYS)


@pytest.mark.parametrize("kind", ["f4", "f8", ">f8", "i8", "u1", "b1", "f2"])
def test_numbers_are_as_numpy_has_stored_them(kind, tmp_path):
    array = np.array([[0, 1, 2], [3, 0, 5]]).astype(kind)
    path = saved([array, np.asfortranarray(array), array.flat[4], array[0, 1]], tmp_path / "plain.pth")
    read = plain_content(path, "a checkpoint", PLAIN_ARRAYS)
    again = torch.load(saved(read, tmp_path / "again.pth"), weights_only=False)
    for found in (read, again):
        assert [each.tolist() for each in found] == [array.tolist(), array.tolist(), array.flat[4], array[0, 1]]
    assert [type(each) for each in again[:2]] == [np.ndarray] * 2
    assert again[0].dtype == array.dtype.newbyteorder("=")


def test_plain_checkpoints_need_no_trust(tmp_path):
    content = {
        "config": {
            "shift": np.arange(3.0),
            "scale": np.float64(2.0),
            "device": torch.device("cuda"),
            "version": "0.9.1",
        },
        "model_state_dict": {"weight": torch.zeros(3)},
    }
    path = saved(content, tmp_path / "plain.pth")
    assert SevenNet().look(Asked(str(path))) == ""
    config = plain_content(path, "a checkpoint", PLAIN_ARRAYS)["config"]
    assert config["shift"].tolist() == [0.0, 1.0, 2.0]
    assert config["scale"] == 2.0


@pytest.fixture
def bomb(tmp_path):
    """A file that makes another one when it is unpickled."""
    content = {"config": {}, "model_state_dict": {}, "bomb": Calls(os.mkdir, str(tmp_path / "exploded"))}
    yield saved(content, tmp_path / "bomb.pth")
    assert not (tmp_path / "exploded").exists()


def test_a_file_that_has_changed_since_it_was_looked_at(bomb):
    with pytest.raises(RequestError, match=r"mkdir, which unpickling alone can make, and .* say --trust if"):
        SevenNet().load(Asked(str(bomb)))


def test_a_pickle_of_mace_is_not_loaded_without_trust(tmp_path):
    path = mace_files.pickle_of(tmp_path / "x.model", mace_files.NETWORK, held=[mace_files.Bomb(tmp_path / "boom")])
    with pytest.raises(RequestError, match="nothing was unpickled: say --trust"):
        Mace().load(Asked(str(path)))
    assert not (tmp_path / "boom").exists()


@pytest.mark.parametrize("trusts", [False, True])
def test_a_name_never_stands_for_a_pickle(bomb, tmp_path, monkeypatch, trusts):
    """Whoever says a name has not seen the file, which may lie in a cache that others write."""
    package = types.ModuleType("sevenn")
    package.__spec__ = importlib.machinery.ModuleSpec("sevenn", None, origin=str(tmp_path / "sevenn" / "__init__.py"))
    monkeypatch.setitem(sys.modules, "sevenn", package)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    cached = tmp_path / ".cache" / "sevennet" / "SevenNet_omat" / "checkpoint_sevennet_omat.pth"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(bomb.read_bytes())
    for does in (SevenNet().look, SevenNet().load):
        with pytest.raises(RequestError, match=r"7net-omat is \S+ here, and .*mkdir.* as `source`, with --trust"):
            does(Asked("7net-omat", trusts=trusts))


def test_a_home_folder_of_nobody():
    with pytest.raises(RequestError, match=r"'~nobody_at_all/x\.pth', which is not there"):
        SevenNet().look(Asked("~nobody_at_all/x.pth"))


@pytest.mark.parametrize("what", ["version", "name"])
def test_lists_of_entries_that_are_damaged(tmp_path, what):
    content = bytearray(saved({}, tmp_path / "x.pth").read_bytes())
    entry = content.rindex(b"PK\x01\x02")
    if what == "version":
        content[entry + 6] = 99
    else:
        # The flag for UTF-8, and a letter that is none.
        content[entry + 9] |= 0x08
        content[entry + 46] = 0xFF
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(DriverError, match=r"no archive of torch\.save or is damaged \(.*\); fetch it again"):
        look_at(tmp_path / "x.pth", "a checkpoint")


def test_entries_that_would_fill_the_memory_are_not_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", b"\x80\x02" + b"N0" * 2**20 + b".")
    with pytest.raises(DriverError, match=r"whose entry x/data\.pkl is compressed; save it again with torch\.save"):
        look_at(tmp_path / "x.pth", "a checkpoint")
