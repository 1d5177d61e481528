# SPDX-License-Identifier: LGPL-2.1-or-later
"""A script that prints which driver each portable model names.

It runs in a process of its own, because loading a damaged library may end the process. Its arguments are the paths of
the models' libraries; it prints one line of JSON.
"""

import ctypes
import json
import sys

# The layout below holds for this schema alone; for any other, the script reports no driver.
_KNOWN_SCHEMA = 2


class _Schema(ctypes.Structure):
    """The first members of KIM's SharedLibrarySchemaV2; each enumeration and language is one int.

    Source:
        KIM_SharedLibrarySchema.hpp of KIM-API 2.3.
    """

    _fields_ = (
        ("item_type", ctypes.c_int),
        ("item_name", ctypes.c_char_p),
        ("create_language", ctypes.c_int),
        ("create_routine", ctypes.c_void_p),
        ("driver_name", ctypes.c_char_p),
    )


def _driver_of(library: str) -> dict[str, str]:
    try:
        loaded = ctypes.CDLL(library)
        if ctypes.c_int.in_dll(loaded, "kim_shared_library_schema_version").value != _KNOWN_SCHEMA:
            return {"driver": "", "failure": ""}
        name = _Schema.in_dll(loaded, "kim_shared_library_schema").driver_name
    except (OSError, ValueError) as error:
        return {"driver": "", "failure": str(error)}
    return {"driver": (name or b"").decode(), "failure": ""}


if __name__ == "__main__":
    print(json.dumps({library: _driver_of(library) for library in sys.argv[1:]}))
