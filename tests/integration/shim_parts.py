# SPDX-License-Identifier: LGPL-2.1-or-later
"""Parts of the driver as a library of their own, which Python scripts call through ctypes: no KIM, no model."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from kim_collection import HERE, REPOSITORY, plain_environment, warnings_are_errors

_SHIM = REPOSITORY / "kim_driver_cpp"
_SOURCES = ("chosen_python.cpp", "python_streams.cpp", "python_version.cpp", "report.cpp")

# What each script begins with.
_LOAD = """
import ctypes, sys
held, released = ctypes.PyDLL(sys.argv[1]), ctypes.CDLL(sys.argv[1])
held.choose.restype = ctypes.c_char_p
"""


@dataclass(frozen=True)
class ShimParts:
    """The library, built as if the driver had been built for a Python.

    Attributes:
        library: The library.
        python: Path of the Python that it was built for.
    """

    library: Path
    python: Path

    @classmethod
    def build(cls, folder: Path, version: str) -> "ShimParts":
        """Compile the library in a folder, for a Python X.Y in folder/environment, which need not be there."""
        parts = cls(folder / "parts.so", folder / "environment" / "bin" / "python3")
        facts = {"VERSION": "0", "PYTHON_EXECUTABLE": parts.python, "PYTHON_VERSION": version, "PYTHON_LIBRARY": ""}
        header = "#pragma once\n" + "".join(f'#define KIM_TORCHML_{name} "{value}"\n' for name, value in facts.items())
        (folder / "build_configuration.hpp").write_text(header)
        strict = ["-std=c++17", "-Wall", "-Wextra", *(["-Werror"] if warnings_are_errors() else [])]
        sources = [HERE / "parts_of_shim" / "parts.cpp", *(_SHIM / name for name in _SOURCES)]
        command = ["c++", *strict, "-shared", "-fPIC", "-pthread", f"-I{_SHIM}", f"-I{folder}", *map(str, sources)]
        # As the driver's loader: a symbol of Python's that is missing when it is linked is an error.
        subprocess.run([*command, "-Wl,--no-undefined", "-ldl", "-o", str(parts.library)], check=True)
        return parts

    def run(
        self, script: str, stdout: int = subprocess.PIPE, stderr: int = subprocess.PIPE, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a script that has the library as `held` and as `released`: with the GIL, and without it."""
        return subprocess.run(
            [sys.executable, "-c", _LOAD + script, str(self.library)],
            env=plain_environment() | variables,
            stdout=stdout,
            stderr=stderr,
            text=True,
            timeout=40,
            check=False,
        )
