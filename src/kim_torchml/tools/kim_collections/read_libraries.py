# SPDX-License-Identifier: LGPL-2.1-or-later
"""A script that prints what the libraries of portable models hold: the driver that each names, and its parameter files.

It runs in a process of its own, because loading a damaged library may end the process. Its first argument says what is
wanted: `drivers`, `files`, or `unpack=FOLDER`, which also writes the parameter files of one library into a folder. The
other arguments are the paths of the libraries. It prints one line of JSON.
"""

import base64
import ctypes
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# The layout below holds for this schema alone; for any other, the script reports its number and no driver.
_KNOWN_SCHEMA = 2

# KIM-API writes its version into this file of every library.
_VERSION_FILE = "item-compiled-with-version.txt"
_VERSION = rb"\d+\.\d+"

# A model's own description is printed too; the driver reads no larger one.
_DESCRIPTION = "model.toml"
_LARGEST_DESCRIPTION = 1 << 20

_UNPACK = "unpack="


class _EmbeddedFile(ctypes.Structure):
    """A file's name, without a folder, and its bytes."""

    _fields_ = (("name", ctypes.c_char_p), ("length", ctypes.c_uint), ("content", ctypes.c_void_p))


class _Schema(ctypes.Structure):
    """KIM's SharedLibrarySchemaV2; each enumeration and language is one int.

    Source:
        KIM_SharedLibrarySchema.hpp of KIM-API 2.3 and 2.4.
    """

    _fields_ = (
        ("item_type", ctypes.c_int),
        ("item_name", ctypes.c_char_p),
        ("create_language", ctypes.c_int),
        ("create_routine", ctypes.c_void_p),
        ("driver_name", ctypes.c_char_p),
        ("simulator_model_file", ctypes.POINTER(_EmbeddedFile)),
        ("n_parameter_files", ctypes.c_int),
        ("parameter_files", ctypes.POINTER(_EmbeddedFile)),
        ("n_metadata_files", ctypes.c_int),
        ("metadata_files", ctypes.POINTER(_EmbeddedFile)),
    )


def _embedded(count: int, files: Any) -> Iterator[tuple[str, bytes]]:
    for i in range(count):
        file = files[i]
        content = ctypes.string_at(file.content, file.length) if file.length else b""
        yield (file.name or b"").decode(errors="replace"), content


def _is_encoded(metadata: dict[str, bytes]) -> bool:
    """Return whether the library holds its files in base64, as those of KIM-API 2.4 and newer do.

    Raises:
        ValueError: If the file of KIM-API's version, which every library has, is in neither form.
    """
    version = metadata.get(_VERSION_FILE, b"")
    if re.match(_VERSION, version):
        return False
    try:
        decoded = base64.b64decode(version)
    except ValueError:
        decoded = b""
    if re.match(_VERSION, decoded):
        return True
    raise ValueError("it keeps its files in a form that is not known")


def _files_of(schema: _Schema) -> dict[str, bytes]:
    is_encoded = _is_encoded(dict(_embedded(schema.n_metadata_files, schema.metadata_files)))
    files = dict(_embedded(schema.n_parameter_files, schema.parameter_files))
    return {name: base64.b64decode(content) for name, content in files.items()} if is_encoded else files


def _unpack(files: dict[str, bytes], folder: Path) -> None:
    for name, content in files.items():
        if name in ("", ".", "..") or "/" in name:
            raise ValueError(f"its parameter file '{name}' lies in a folder")
        (folder / name).write_bytes(content)


def _read(library: str, wanted: str) -> dict[str, Any]:
    facts: dict[str, Any] = {"driver": "", "failure": "", "schema": _KNOWN_SCHEMA}
    try:
        loaded = ctypes.CDLL(library)
        facts["schema"] = ctypes.c_int.in_dll(loaded, "kim_shared_library_schema_version").value
        if facts["schema"] != _KNOWN_SCHEMA:
            return facts
        schema = _Schema.in_dll(loaded, "kim_shared_library_schema")
        facts["driver"] = (schema.driver_name or b"").decode()
    except (OSError, ValueError) as error:
        return facts | {"failure": str(error)}
    if wanted == "drivers":
        return facts
    try:
        files = _files_of(schema)
        if wanted.startswith(_UNPACK):
            _unpack(files, Path(wanted.removeprefix(_UNPACK)))
    except (OSError, ValueError) as error:
        return facts | {"no_files": str(error)}
    description = files.get(_DESCRIPTION, b"")[:_LARGEST_DESCRIPTION].decode(errors="replace")
    return facts | {"files": list(files), "description": description}


if __name__ == "__main__":
    print(json.dumps({library: _read(library, sys.argv[1]) for library in sys.argv[2:]}))
