# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files that are not TorchScript, or are damaged, give one error each, and nothing is unpickled."""

import io
import pickle
import random
import re
from pathlib import Path

import pytest
import torch
from archives import members, place_of, zip_of
from models import PairTotal, script_bytes

from kim_torchml.engines.torchscript.archive import inspect_archive
from kim_torchml.errors import DriverError


class Canary:
    """An object that writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.write_text, (self.path, "unpickled")


@pytest.fixture
def canary(tmp_path):
    """Return an object whose unpickling writes a file, and check afterwards that the file is not there."""
    path = tmp_path / "canary"
    yield Canary(path)
    assert not path.exists()


def refused(content, found):
    message = rf"the model file x\.pt must be TorchScript, got {found}.*; export the model with torch\.jit\.script"
    with pytest.raises(DriverError, match=message):
        inspect_archive(content, "x.pt")


def saved(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def test_torchscript_is_accepted():
    assert inspect_archive(script_bytes(PairTotal), "x.pt") <= {"prim::device", "prim::dtype"}


def test_an_empty_file():
    refused(b"", "an empty file")


@pytest.mark.parametrize("content", [b"hello", b"<html>", b"\x7fELF", bytes(100), b"PK\x05\x06" + bytes(18)])
def test_a_file_of_another_kind(content):
    refused(content, "a file of another kind")


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_not_unpickled(canary, protocol):
    refused(pickle.dumps(canary, protocol), "a pickle")


def test_a_pickle_in_a_zip_file_is_not_unpickled(canary):
    content = saved({"model": canary, "weights": torch.ones(3)})
    assert content.startswith(b"PK")
    refused(content, "a pickle in a zip file")


def test_an_old_pickle_of_torch_is_not_unpickled(canary):
    buffer = io.BytesIO()
    torch.save(canary, buffer, _use_new_zipfile_serialization=False)
    refused(buffer.getvalue(), "a pickle")


def test_the_canary_works(tmp_path):
    pickle.loads(pickle.dumps(Canary(tmp_path / "canary")))
    assert (tmp_path / "canary").read_text() == "unpickled"


@pytest.mark.parametrize("member", ["x/archive_format", "x/models/model.json"])
def test_a_pt2_file(member):
    content = zip_of([("x/version", b"3"), (member, b"pt2"), ("x/data/weights/model_weights_config.json", b"{}")])
    message = (
        r"^the model file x\.pt must be TorchScript, got a program of torch\.export; name it \.pt2, in its model\.toml "
        r"too, or export the model with torch\.jit\.script"
    )
    with pytest.raises(DriverError, match=message):
        inspect_archive(content, "x.pt")


@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.999])
def test_a_truncated_file(share):
    content = script_bytes(PairTotal)
    length = max(5, int(share * len(content)))
    with pytest.raises(DriverError, match=rf"file x\.pt is damaged: .+ \({length} bytes; truncated\?\); copy it again"):
        inspect_archive(content[:length], "x.pt")


def test_another_zip_file_is_damaged():
    with pytest.raises(DriverError, match=r"the model file x\.pt is damaged: "):
        inspect_archive(zip_of([("document.xml", b"<xml>")]), "x.pt")


@pytest.mark.parametrize("part", ["data/0", "data.pkl", "code/__torch__/models.py.debug_pkl", "constants.pkl"])
def test_one_changed_bit_in_an_entry(part):
    """torch does not look at the checksums: it would compute with changed weights, or abort the process."""
    content = bytearray(script_bytes(PairTotal))
    name = next(name for name in members(content) if name.endswith(f"/{part}"))
    content[place_of(content, name)] ^= 8
    with pytest.raises(DriverError, match=rf"is damaged: (its entry {re.escape(name)} does not|Error -3)"):
        inspect_archive(bytes(content), "x.pt")


def test_changed_bits_anywhere_give_no_other_error():
    content, random_ = script_bytes(PairTotal), random.Random(4)
    outcomes = set()
    for _ in range(400):
        changed = bytearray(content)
        changed[random_.randrange(len(content))] ^= 1 << random_.randrange(8)
        try:
            inspect_archive(bytes(changed), "x.pt")
            outcomes.add("accepted")
        except DriverError as error:
            assert "x.pt" in str(error)
            outcomes.add("refused")
    assert outcomes == {"accepted", "refused"}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("change", [str, lambda name: name.replace("code/", "CODE/")])
def test_two_entries_of_one_name(change):
    entries = members(script_bytes(PairTotal))
    code = next(name for name in entries if name.endswith(".py"))
    content = zip_of([*entries.items(), (change(code), b"")])
    with pytest.raises(DriverError, match=r"the model file x\.pt holds two entries of one name; export it again"):
        inspect_archive(content, "x.pt")


@pytest.mark.parametrize("code", [b"def f(:\n  (", b"\xff\xfe", b"  x\n y\n"])
def test_code_that_cannot_be_read(code):
    entries = members(script_bytes(PairTotal))
    name = next(name for name in entries if name.endswith(".py"))
    message = r"the code code/__torch__/models\.py in the model file x\.pt cannot be read \(.+\): the file is damaged"
    with pytest.raises(DriverError, match=message):
        inspect_archive(zip_of({**entries, name: code}.items()), "x.pt")
