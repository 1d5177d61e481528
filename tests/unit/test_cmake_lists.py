# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is read of a model's CMakeLists.txt, and how a file is taken out of it."""

import os
from pathlib import Path

import pytest
from guards import bounded, sparse
from model_folders import DRIVER, cmake_lists, edges_files, write_folder

from kim_torchml.errors import DriverError
from kim_torchml.tools.kim_collections.cmake_lists import (
    ModelItem,
    parse_cmake_lists,
    read_cmake_lists,
    read_model_item,
    with_other_parameter_file,
    without_parameter_file,
)

ROOT = Path(__file__).resolve().parents[2]
PATH = Path("model/CMakeLists.txt")

# As KIM's WriteParameterizedModel leaves it.
WRITTEN_BY_KIM = """
#
# KIM-API: ... \\( " unbalanced
#
project("Si_New")
add_kim_api_model_library(
  NAME            ${PROJECT_NAME}
  DRIVER_NAME     "TorchMLModelDriver"
  PARAMETER_FILES "graph.param"
                  "graph.pt"
  )
"""
IN_VARIABLES = """
#[==[ project(Wrong) ]] ]==]
PROJECT(Mine) # the name
if(NOT (A AND (B)))
  set(OTHER x)
endif()
set(FILES model.toml;model.pt)
list(APPEND FILES [[data.dat]])
set(DRIVER [=[TorchMLModelDriver]=])
add_kim_api_model_library(NAME "${PROJECT_NAME}" DRIVER_NAME ${DRIVER} PARAMETER_FILES ${FILES} METADATA_FILES LICENSE)
"""


@pytest.mark.parametrize(
    ("text", "name", "files"),
    [
        (cmake_lists("A_1", files=["b.toml", "c.pt"]), "A_1", ("b.toml", "c.pt")),
        (WRITTEN_BY_KIM, "Si_New", ("graph.param", "graph.pt")),
        (IN_VARIABLES, "Mine", ("model.toml", "model.pt", "data.dat")),
    ],
)
def test_what_is_read(text, name, files):
    assert parse_cmake_lists(text, PATH) == ModelItem(name, DRIVER, files)


@pytest.mark.parametrize("folder", ["graph", "descriptor", "stillinger_weber"])
def test_examples(folder):
    found = parse_cmake_lists((ROOT / "examples" / folder / "CMakeLists.txt").read_text(), PATH)
    assert found.driver == DRIVER
    assert found.files[0] == f"{folder}.param"
    assert found.files[-1] == f"{folder}.pt"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "project(X)",
            r"model/CMakeLists.txt must define a portable model, got no add_kim_api_model_library\(\); name",
        ),
        ("add_kim_api_model_library(", "must define a portable model"),
        (cmake_lists("A-1"), r"`NAME` of add_kim_api_model_library\(\) must be a KIM id, got 'A-1' \(file .*\); write"),
        (cmake_lists(driver="${D}"), r"`DRIVER_NAME` of .* must be a KIM id, got '\$\{D\}'"),
        (
            cmake_lists(files=["${UNKNOWN}"]),
            r"PARAMETER_FILES must name files, got '\$\{UNKNOWN\}', which only CMake can",
        ),
        ("#" * 70000, "must have at most 65536 characters"),
        ("set(A xxxxxxxxxx)\n" + "set(A ${A}${A})\n" * 60, "and so must each command in it; shorten it"),
    ],
)
def test_what_cannot_be_read(text, message):
    with pytest.raises(DriverError, match=message):
        parse_cmake_lists(text, PATH)


def test_file_that_is_not_there(tmp_path):
    folder = write_folder(tmp_path / "model", edges_files())
    assert read_model_item(folder).files == ("model.toml", "model.pt")
    (folder / "model.pt").unlink()
    with pytest.raises(
        DriverError, match=r"PARAMETER_FILES must name files in the folder .*, got 'model.pt', which is"
    ):
        read_model_item(folder)
    (folder / "CMakeLists.txt").unlink()
    with pytest.raises(
        DriverError, match=r"there is no model in .*: it has no CMakeLists.txt; name the model's folder"
    ):
        read_model_item(folder)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Path.mkdir, r"^CMakeLists\.txt must be a file, got a folder, a pipe or a device; put the file itself there$"),
        (os.mkfifo, r"^CMakeLists\.txt must be a file, got a folder, a pipe or a device; put the file itself there$"),
        (lambda path: path.symlink_to("/dev/zero"), "must lie in the model's own folder, got a link that leaves it"),
        (lambda path: path.symlink_to(path), r"^the file CMakeLists\.txt cannot be found: .*; put the file itself"),
        (sparse, r"^the file CMakeLists\.txt must have at most 262144 bytes, got 85899"),
        (lambda path: path.write_bytes(b"# \xff"), r"^cannot read .*/CMakeLists\.txt: 'utf-8' codec .*; correct it$"),
    ],
    ids=["folder", "pipe", "device", "circle", "too large", "no text"],
)
def test_what_is_no_file_of_the_folder(make, message, tmp_path):
    path = tmp_path / "CMakeLists.txt"
    make(path)
    with bounded(seconds=5.0, size=64 * 2**20), pytest.raises(DriverError, match=message):
        read_cmake_lists(tmp_path)


def test_line_ends_of_other_systems(tmp_path):
    text = WRITTEN_BY_KIM.replace("\n", "\r\n")
    (tmp_path / "CMakeLists.txt").write_bytes(text.encode())
    assert read_cmake_lists(tmp_path) == WRITTEN_BY_KIM
    (tmp_path / "CMakeLists.txt").write_bytes(text.replace("\r\n", "\r").encode())
    assert read_cmake_lists(tmp_path) == WRITTEN_BY_KIM


@pytest.mark.parametrize("text", [cmake_lists(), WRITTEN_BY_KIM.replace("graph.pt", "model.pt"), IN_VARIABLES])
def test_a_file_is_taken_out(text):
    before = parse_cmake_lists(text, PATH)
    # The list of IN_VARIABLES is one word of CMake.
    text = text.replace("model.toml;model.pt", "model.toml model.pt")
    shorter = without_parameter_file(text, "model.pt", PATH)
    after = parse_cmake_lists(shorter, PATH)
    assert (after.name, after.driver) == (before.name, before.driver)
    assert after.files == tuple(each for each in before.files if each != "model.pt")
    assert len(text) - len(shorter) in (len("model.pt"), len('"model.pt"'))


def test_a_file_that_is_part_of_a_word():
    with pytest.raises(
        DriverError, match=r"must name 'model.pt' on its own .*; write its name out, or install the model"
    ):
        without_parameter_file(IN_VARIABLES, "model.pt", PATH)


def test_another_file_takes_the_place_of_one():
    library = "add_kim_api_model_library(NAME A DRIVER_NAME B PARAMETER_FILES ${FILES})"
    text = f"set(FILES old.param model.pt) # old.param\n{library}"
    changed = with_other_parameter_file(text, "old.param", "model.toml", PATH)
    assert changed == text.replace("old.param", '"model.toml"', 1)
    assert parse_cmake_lists(changed, PATH).files == ("model.toml", "model.pt")
    joined = text.replace("old.param model.pt", '"old.param;model.pt"')
    with pytest.raises(
        DriverError, match=r"^PARAMETER_FILES must name 'old\.param' on its own \(file .*\); write its name"
    ):
        with_other_parameter_file(joined, "old.param", "model.toml", PATH)
