# SPDX-License-Identifier: LGPL-2.1-or-later
"""A model's CMakeLists.txt: written, and read for the files that it lists."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from kim_torchml.errors import DriverError
from kim_torchml.model_files.description import is_plain_name
from kim_torchml.model_files.model_folder import DESCRIPTOR_SUFFIX, PARAMETER_SUFFIX
from kim_torchml.model_files.model_toml import MODEL_SUFFIXES, MODEL_TOML

CMAKE_LISTS = "CMakeLists.txt"

_TEXT = """\
cmake_minimum_required(VERSION 3.10)

list(APPEND CMAKE_PREFIX_PATH $ENV{{KIM_API_CMAKE_PREFIX_DIR}})
find_package(KIM-API-ITEMS 2.2 REQUIRED CONFIG)

kim_api_items_setup_before_project(ITEM_TYPE "portableModel")
project({name})
kim_api_items_setup_after_project(ITEM_TYPE "portableModel")

add_kim_api_model_library(
  NAME            ${{PROJECT_NAME}}
  DRIVER_NAME     "{driver}"
  PARAMETER_FILES {files}
  )
"""

_LIST = "PARAMETER_FILES"
# The other words of that call that files may stand before.
_WORDS = ("NAME", "DRIVER_NAME", "METADATA_FILES")
_TOKEN = re.compile(r'#[^\n]*|"(?:[^"\\]|\\.)*"|[()]|[^\s()"#]+')
# Files of a model without CMakeLists.txt.
_SUFFIXES = (PARAMETER_SUFFIX, DESCRIPTOR_SUFFIX, *MODEL_SUFFIXES)


def cmake_lists_text(name: str, driver: str, files: Sequence[str]) -> str:
    """Return the text for a model.

    Args:
        name: KIM id of the model.
        driver: KIM id of its driver.
        files: Names of the files that KIM hands to the driver.
    """
    return _TEXT.format(name=name, driver=driver, files=" ".join(map(json.dumps, files)))


def files_of(folder: Path) -> list[str]:
    """Return the names of the files that KIM hands to the driver, without a folder.

    In a folder without CMakeLists.txt they are those with the names that such files have.

    Raises:
        DriverError: If CMakeLists.txt cannot be read, or lists no files by their names.
    """
    try:
        text = (folder / CMAKE_LISTS).read_text("utf-8", errors="replace")
    except FileNotFoundError:
        names = sorted(path.name for path in _entries(folder))
        return [name for name in names if name == MODEL_TOML or name.endswith(_SUFFIXES)]
    except OSError as error:
        raise DriverError(f"cannot read {CMAKE_LISTS} in {folder}: {error.strerror}; mend that first") from error
    found = [name for _, _, name in _listed(text)]
    wrong = next((name for name in found if not is_plain_name(name) or "$" in name), None)
    if wrong is not None or not found:
        got = "none" if wrong is None else f"'{wrong}'"
        raise DriverError(
            f"`{_LIST}` must be names of files in the model's own folder, got {got} (file {CMAKE_LISTS}); write the "
            "names there one by one"
        )
    return found


def with_other_file(text: str, old: str, new: str) -> str:
    """Return a CMakeLists.txt that lists another file in place of one that it lists."""
    for begin, end, name in _listed(text):
        if name == old:
            return text[:begin] + json.dumps(new) + text[end:]
    return text


def _entries(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.is_file()]
    except OSError as error:
        raise DriverError(f"cannot read the folder {folder}: {error.strerror}; name a model's folder") from error


def _listed(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield begin, end and content of each file's name after PARAMETER_FILES."""
    inside = False
    for token in _TOKEN.finditer(text):
        word = token.group()
        if word.startswith("#"):
            continue
        if word == _LIST:
            inside = True
        elif word in ("(", ")", *_WORDS):
            inside = False
        elif inside:
            yield token.start(), token.end(), word[1:-1] if word.startswith('"') else word
