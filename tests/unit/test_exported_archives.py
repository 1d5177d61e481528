# SPDX-License-Identifier: LGPL-2.1-or-later
"""Damaged archives of torch.export, and those that no export writes, are refused in one sentence."""

import io
import struct
import zipfile

import pytest
import torch
from program_files import inputs_of, layered_program, opened, zipped
from refusals import refused

from kim_torchml.errors import DriverError
from kim_torchml.tools.package.exporting import without_traces

ENTRIES = {
    "archive_format": ("pt1", r"the entry archive_format of the model file x\.pt2 must be pt2, got 'pt1'"),
    "archive_version": ("1", r"the entry archive_version of the model file x\.pt2 must be 0, got '1'"),
    "byteorder": ("big", r"the entry byteorder of the model file x\.pt2 must be little, got 'big'"),
    "models/other.json": ("{}", r"must hold one program, models/NAME\.json, got those of 'model', 'other'"),
    "models/model.json": (None, r"must hold one program, models/NAME\.json, got none"),
    "data/weights/model_weights_config.json": (
        None,
        r"must hold data/weights/model_weights_config\.json, which is miss",
    ),
    "data/constants/model_constants_config.json": (
        "[]",
        r"model_constants_config\.json must be an object, got a list of",
    ),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_entries_that_are_missing_or_wrong(name):
    program = layered_program(1)
    text, message = ENTRIES[name]
    program.entries[name] = text
    refused(program.content(), message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no JSON"),
        ("{", "is no JSON"),
        ('{"a": 1}}', "is no JSON"),
        (b"\xff\xfe\xfd", "is no JSON"),
        ("9" * 5000, "is no JSON"),
        ("[" * 100_000, "has lists or objects nested too deeply"),
        ('{"a":' * 100_000, "has lists or objects nested too deeply"),
        ("NaN", r"must be an object, got NaN"),
        ('"text"', r"must be an object, got 'text'"),
    ],
    ids=range(9),
)
def test_texts_that_are_no_program(text, message):
    program = layered_program(1)
    program.entries["models/model.json"] = text
    refused(program.content(), message)


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "x/../y",
        "/x",
        "x//y",
        "x/./y",
        "x\\..\\y",
        "x/a\nb",
        "x/\u202e",
        "x/a\0b",
        "x/",
        "alone",
        "C:/x",
        "x/..",
        "x/extra/" + "a" * 1000,
    ],
)
def test_names_that_are_not_plain(name):
    entries = dict(zip_entries(layered_program(1).content()))
    refused(
        zipped([*entries.items(), (name, b"")]), r"must (hold entries with plain names|hold nothing but|have its ent)"
    )


def zip_entries(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_entries_of_one_name():
    entries = zip_entries(layered_program(1).content())
    refused(zipped([*entries, entries[0]]), r"must hold each entry once, got '.*' twice")


WRONG_NODES = {
    "a number": (3, r"graph\.nodes must be a list, got 3"),
    "a text": ("abc", r"graph\.nodes must be a list, got 'abc'"),
    "an object": ({"a": 1}, r"graph\.nodes must be a list, got an object of 1"),
    "numbers": ([3], r"graph\.nodes\[0\] must be an object, got 3"),
    "lists": ([[1]], r"graph\.nodes\[0\] must be an object, got a list of 1"),
}


@pytest.mark.parametrize("nodes", WRONG_NODES)
def test_a_program_that_is_packaged(nodes):
    """Its text is changed before it is looked at as a whole."""
    program = layered_program(1)
    program.graph["nodes"], message = WRONG_NODES[nodes]
    with pytest.raises(DriverError, match=message):
        without_traces(program.content(), "x.pt2")
    program.model["graph_module"] = None
    with pytest.raises(DriverError, match=r"graph_module must be an object, got null"):
        without_traces(program.content(), "x.pt2")


def test_a_packaged_file_has_no_folder_of_a_strangers_name():
    """The name of a program may be two dots, where it is a part of other names."""
    entries = zip_entries(layered_program(1).content())
    renamed = [(name.replace("/model.json", "/...json").replace("model_", ".._"), text) for name, text in entries]
    written = without_traces(zipped(renamed), "x.pt2")
    assert {name.split("/")[0] for name, _ in zip_entries(written)} == {"model"}
    inputs = inputs_of(5, 20)
    expected = opened(layered_program(1).content()).run(inputs, wants_gradient=False)
    assert torch.equal(opened(written).run(inputs, wants_gradient=False).energies, expected.energies)


def test_two_folders():
    entries = zip_entries(layered_program(1).content())
    refused(zipped([*entries, ("y/extra/a", b"")]), r"must have its entries in one folder, got 'x', 'y'")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed_entries(method):
    program = layered_program(1)
    program.entries["extra/zeros"] = bytes(2**21)
    content = program.content(compression=method)
    assert len(content) < 2**16
    refused(content, r"must hold plain entries, as torch writes them, got x/\S+, compressed")


def with_sizes(content, name, **sizes):
    """Return a zip file in which the directory says other sizes of an entry, or another place."""
    found, at = bytearray(content), content.index(b"PK\x01\x02")
    while found[at : at + 4] == b"PK\x01\x02":
        lengths = struct.unpack("<3H", found[at + 28 : at + 34])
        if found[at + 46 : at + 46 + lengths[0]].decode() == name:
            for field, place in (("compressed", 20), ("size", 24), ("header", 42)):
                if field in sizes:
                    found[at + place : at + place + 4] = struct.pack("<L", sizes[field])
            return bytes(found)
        at += 46 + sum(lengths)
    raise AssertionError(name)


def test_two_gigabytes_declared_and_few_there():
    content = with_sizes(layered_program(1).content(), "x/data/weights/weight_0", compressed=2**31, size=2**31)
    refused(content, r"has \d+ bytes, but its entries have \d{10} together")


def test_a_size_that_is_not_that_of_the_entry():
    content = layered_program(1).content()
    refused(
        with_sizes(content, "x/data/weights/weight_0", size=90),
        r"is damaged: (its entry x/data/weights/weight_0 does not|.+); copy it",
    )


def test_entries_that_share_their_bytes():
    """A small file may declare many times its size that way."""
    program = layered_program(1)
    program.entries.update({f"data/weights/weight_{k}": bytes(100_000 if k == 9 else 1) for k in range(5, 10)})
    content = program.content()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        start = archive.getinfo("x/data/weights/weight_9").header_offset
    for k in range(5, 9):
        sizes = {"compressed": 100_000, "size": 100_000, "header": start}
        content = with_sizes(content, f"x/data/weights/weight_{k}", **sizes)
    refused(content, r"has \d+ bytes, but its entries have 51\d{4} together")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file(share):
    content = layered_program(1).content()
    refused(
        content[: int(share * len(content))], r"(is damaged: .* truncated\?\); copy|must be a program of torch\.export)"
    )


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x02}q\x00.", b"PK\x05\x06" + bytes(18), bytes(100)])
def test_a_file_of_another_kind(content):
    found = "a file of another kind" if content else "an empty file"
    refused(content, rf"the model file x\.pt2 must be a program of torch\.export, got {found}; export the model with")


def test_one_changed_bit_in_a_weight():
    program = layered_program(1)
    program.entries["data/weights/weight_1"] = b"\0\0\0\0\0\0\xf0\x3f"
    content = program.content()
    place = content.index(b"\0\0\0\0\0\0\xf0\x3f")
    damaged = content[:place] + b"\x01" + content[place + 1 :]
    refused(damaged, r"is damaged: its entry x/data/weights/weight_1 does not match its checksum; copy it")
