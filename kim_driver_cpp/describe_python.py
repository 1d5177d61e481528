# SPDX-License-Identifier: LGPL-2.1-or-later
"""Print what CMake must know of the Python that runs this, as one semicolon-separated list.

executable; X.Y; shared library (may be empty); include folder; pybind11's include folder; torch version.
Exits with a sentence on stderr where the driver cannot be built for this environment.
"""

import importlib.util
import os
import re
import sys
import sysconfig
from pathlib import Path

VERSIONS = Path(__file__).resolve().parents[1] / "src" / "kim_torchml" / "process" / "oldest_versions.py"


def oldest(name: str) -> str:
    """Return X.Y of a line NAME = "X.Y". The file is read as text: a Python that is too old may not run it."""
    match = re.search(rf'^{name} = "(\d+\.\d+)"$', VERSIONS.read_text(encoding="utf-8"), re.MULTILINE)
    if match is None:
        sys.exit(f"{VERSIONS} does not say {name}: take the sources of kim-torchml anew.")
    return match.group(1)


def is_older(version: str, limit: str) -> bool:
    """Return whether a version comes before X.Y."""
    return [int(part) for part in version.split(".")[:2]] < [int(part) for part in limit.split(".")]


def check_python() -> None:
    """Leave with a sentence where this Python is too old."""
    version, limit = sys.version.split()[0], oldest("OLDEST_PYTHON")
    if is_older(version, limit):
        sys.exit(f"Python {version} is too old: {limit} or newer is needed.")


def torch_version() -> str:
    """Return torch's version without importing it; leave with a sentence where it is missing or too old."""
    # Python 3.7 does not have this module, and must get as far as to be told that it is too old.
    from importlib import metadata

    try:
        version = metadata.version("torch")
    except metadata.PackageNotFoundError:
        sys.exit("torch is not installed there: run 'python -m pip install torch' in that environment.")
    limit = oldest("OLDEST_TORCH")
    if is_older(version, limit):
        sys.exit(f"torch {version} is too old: {limit} or newer is needed.")
    if importlib.util.find_spec("numpy") is None:
        sys.exit("numpy is not installed there: run 'python -m pip install numpy' in that environment.")
    return version


def python_include() -> Path:
    """Return the folder of Python.h."""
    folder = Path(sysconfig.get_path("include"))
    if not (folder / "Python.h").exists():
        sys.exit(
            f"Python.h is not in {folder}: install Python's headers (Debian and Ubuntu: apt-get install python3-dev)."
        )
    return folder


def python_library() -> str:
    """Return the path of libpython, or nothing where this Python is only a static executable."""
    name = sysconfig.get_config_var("INSTSONAME") or ""
    folders = [sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("LIBPL")]
    multiarch = sysconfig.get_config_var("MULTIARCH")
    if multiarch:
        folders.append(f"/usr/lib/{multiarch}")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for file in (name, f"libpython{version}.so.1.0", f"libpython{version}.so"):
        for folder in folders:
            path = Path(folder or "/") / file
            if ".so" in file and path.exists():
                return str(path)
    return ""


def pybind11_include() -> Path:
    """Return the folder of pybind11's headers: the package's, else the ones that torch carries."""
    for package, below in (("pybind11", "include"), ("torch", "include")):
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            folder = Path(spec.origin).parent / below
            if (folder / "pybind11" / "pybind11.h").exists():
                return folder
    sys.exit("pybind11's headers are missing: run 'python -m pip install pybind11' in that environment.")


def main() -> None:
    """Print the list."""
    check_python()
    torch = torch_version()
    facts = [
        os.path.abspath(sys.executable),
        f"{sys.version_info.major}.{sys.version_info.minor}",
        python_library(),
        str(python_include()),
        str(pybind11_include()),
        torch,
    ]
    print(";".join(facts))


if __name__ == "__main__":
    main()
