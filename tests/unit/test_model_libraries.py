# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is read out of the libraries of installed models."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from model_folders import DRIVER, compile_library

from kim_torchml.errors import DriverError
from kim_torchml.tools.kim_collections.kim_api import Item
from kim_torchml.tools.kim_collections.libraries import MODEL_LIBRARY, read_drivers, read_files, unpack_model

FILES = {"model.toml": b"format = 2\n", "model.pt": bytes(range(256)) * 40, "empty.dat": b""}


def installed(folder: Path, name: str = "Mine", **arguments: object) -> Item:
    compile_library(folder / name / MODEL_LIBRARY, name, arguments.pop("contents", FILES), **arguments)
    return Item("user", name, folder / name)


@pytest.mark.parametrize(("encode", "version"), [(False, b"2.3.0-git+GNU\n"), (True, b"2.4.1\n")])
def test_files_are_those_that_were_put_in(tmp_path, encode, version):
    item = installed(tmp_path, encode=encode, version=version)
    (tmp_path / "out").mkdir()
    found = unpack_model(item, tmp_path / "out", os.environ)
    assert (found.driver, found.files, found.description) == (DRIVER, tuple(FILES), "format = 2\n")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == FILES


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"schema": 3},
            r"installed model Mine cannot be read: its layout \(schema 3\) is another than this kim-torchml",
        ),
        ({"version": b"\x00 unknown"}, "it keeps its files in a form that is not known"),
        ({"contents": {"../outside": b"1"}}, r"its parameter file '../outside' lies in a folder \(.*"),
    ],
)
def test_what_cannot_be_read(tmp_path, arguments, message):
    item = installed(tmp_path / "models", **arguments)
    (tmp_path / "out").mkdir()
    with pytest.raises(DriverError, match=message):
        unpack_model(item, tmp_path / "out", os.environ)
    assert not (tmp_path / "outside").exists()
    assert list((tmp_path / "out").iterdir()) == []
    if "schema" not in arguments:
        # The driver is known all the same.
        assert read_drivers([item], os.environ)[item].driver == DRIVER


def test_sound_ones_are_read_beside_damaged_ones(tmp_path):
    items = [installed(tmp_path, f"Mine{k}") for k in range(3)]
    (items[1].folder / MODEL_LIBRARY).write_bytes(b"nonsense")
    found = read_files([*items, Item("user", "None", tmp_path / "none")], os.environ)
    assert [found[each].files for each in items] == [tuple(FILES), (), tuple(FILES)]
    assert [bool(each.failure) for each in found.values()] == [False, True, False, True]
    assert read_files([], os.environ) == {}


def test_those_of_the_working_folder_are_not_loaded(tmp_path):
    """A library of any other folder is loaded, which its constructor shows."""
    item = installed(tmp_path)
    sign = tmp_path / "loaded"
    constructor = f'__attribute__((constructor)) static void run(void) {{ fclose(fopen("{sign}", "w")); }}'
    source = tmp_path / "library.c"
    source.write_text(f"#include <stdio.h>\n{constructor}\n")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", item.folder / MODEL_LIBRARY, source], check=True)
    here = replace(item, collection="currentWorkingDirectory")
    assert read_files([here], os.environ)[here].failure.startswith("it lies in the working folder, whose libraries")
    assert read_drivers([here], os.environ)[here].failure.endswith("as they could run anything")
    assert not sign.exists()
    read_drivers([item], os.environ)
    assert sign.exists()
