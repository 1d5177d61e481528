# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which files of a folder KIM hands to the driver."""

import os
from pathlib import Path

from kim_torchml.errors import DriverError
from kim_torchml.model_files.model_folder import DESCRIPTOR_SUFFIX, PARAMETER_SUFFIX
from kim_torchml.model_files.model_toml import MODEL_SUFFIXES, MODEL_TOML
from kim_torchml.tools.kim_collections.cmake_lists import CMAKE_LISTS, parse_cmake_lists, read_cmake_lists
from kim_torchml.tools.request_error import RequestError

# Files of a model without CMakeLists.txt.
_SUFFIXES = (PARAMETER_SUFFIX, DESCRIPTOR_SUFFIX, *MODEL_SUFFIXES)


def files_of(folder: Path) -> list[str]:
    """Return the names of the files that KIM hands to the driver, without a folder.

    In a folder without CMakeLists.txt they are those with the names that such files have.

    Raises:
        RequestError: If there is no model in the folder.
        DriverError: If the folder or its CMakeLists.txt cannot be read.
    """
    # A link that leads nowhere is an error rather than no file.
    if os.path.lexists(folder / CMAKE_LISTS):
        return list(parse_cmake_lists(read_cmake_lists(folder), folder / CMAKE_LISTS).files)
    try:
        names = sorted(path.name for path in folder.iterdir() if path.is_file())
    except OSError as error:
        raise DriverError(f"cannot read the folder {folder}: {error.strerror}; name a model's folder") from error
    found = [name for name in names if name == MODEL_TOML or name.endswith(_SUFFIXES)]
    if not any(name == MODEL_TOML or name.endswith(PARAMETER_SUFFIX) for name in found):
        raise RequestError(
            f"there is no model in {folder}: it has no {CMAKE_LISTS}, {MODEL_TOML} or {PARAMETER_SUFFIX} file; name "
            "the model's folder"
        )
    return found
