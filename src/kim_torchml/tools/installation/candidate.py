# SPDX-License-Identifier: LGPL-2.1-or-later
"""A model's folder that is to be installed: read as the driver would read it, and copied for KIM's manager."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kim_torchml.errors import DriverError, shortened
from kim_torchml.inputs import FILE_FORMATS
from kim_torchml.model_files.model_folder import ModelFolder, read_model_folder
from kim_torchml.model_files.model_toml_text import model_toml_text
from kim_torchml.model_files.parameter_file import ElementsMap
from kim_torchml.model_files.store import Store
from kim_torchml.process import settings
from kim_torchml.tools.kim_collections.cmake_lists import (
    CMAKE_LISTS,
    ModelItem,
    read_cmake_lists,
    read_model_item,
    without_parameter_file,
)

# Left out of the copy: KIM's manager makes a folder `build` of its own in it, and copies all the rest twice.
_LEFT_OUT_AT_THE_TOP = ("build", ".git", ".venv")
_LEFT_OUT = "__pycache__"


@dataclass(frozen=True)
class Candidate:
    """A model that can be installed.

    Attributes:
        folder: its folder.
        item: what its CMakeLists.txt says.
        files: its parameter files, read and checked.
    """

    folder: Path
    item: ModelItem
    files: ModelFolder


def read_candidate(folder: Path, stores: Sequence[Store]) -> Candidate:
    """Read a model's folder as the driver would read it.

    Args:
        folder: The folder.
        stores: Where to look for a model file that is in a store.
    Raises:
        DriverError: If a file is missing or wrong.
    """
    item = read_model_item(folder)
    elements_map = ElementsMap(settings.wants_atomic_numbers(), settings.ELEMENTS_MAP)
    return Candidate(folder, item, read_model_folder(folder, item.files, FILE_FORMATS, elements_map, stores))


def copy_for_kim(candidate: Candidate, parent: Path, is_stored: bool) -> Path:
    """Copy a model's folder for KIM's manager; return the copy, which has the name of the model.

    Args:
        candidate: The model.
        parent: Folder to make the copy in.
        is_stored: Whether the copy is to leave out the model file, and say that it is in a store.
    Raises:
        DriverError: If it cannot be copied.
    """
    source, target = candidate.folder, parent / candidate.item.name
    contents = dict(candidate.files.contents)
    cmake_lists = read_cmake_lists(source)
    left_out = {*_LEFT_OUT_AT_THE_TOP}
    description = candidate.files.description
    if is_stored:
        left_out.add(description.model_file)
        del contents[description.model_file]
        contents[description.file_name] = model_toml_text(replace(description, in_store=True)).encode()
        cmake_lists = without_parameter_file(cmake_lists, description.model_file, source / CMAKE_LISTS)

    def leave_out(folder: str, names: list[str]) -> set[str]:
        at_the_top = left_out if Path(folder) == source else set()
        return {name for name in names if name == _LEFT_OUT or name in at_the_top}

    try:
        shutil.copytree(source, target, ignore=leave_out, symlinks=True)
        # What is installed is what was checked.
        for name, content in {**contents, CMAKE_LISTS: cmake_lists.encode()}.items():
            (target / name).unlink(missing_ok=True)
            (target / name).write_bytes(content)
    except OSError as error:
        raise DriverError(
            f"cannot copy the model's folder {source} to {parent}: {shortened(str(error.strerror or error))}; make "
            "room there, or name another temporary folder in TMPDIR"
        ) from error
    return target
