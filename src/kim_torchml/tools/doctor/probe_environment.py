# SPDX-License-Identifier: LGPL-2.1-or-later
"""A script that prints facts about the environment that it runs in, as one line of JSON.

The Python of that environment runs it, so it needs nothing but the standard library. Its argument is the package to
import, or `python` with a JSON object: the names by which packages are imported, and the distributions that bring them.
"""

import importlib
import importlib.util
import json
import platform
import sys
import sysconfig
from importlib import metadata
from pathlib import Path
from typing import Any


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def _describe_python(packages: dict[str, str]) -> dict[str, Any]:
    return {
        "version": platform.python_version(),
        "include": sysconfig.get_path("include"),
        "pip": importlib.util.find_spec("pip") is not None,
        "ensurepip": importlib.util.find_spec("ensurepip") is not None,
        # By this file pip knows that another package manager owns the packages.
        "managed": sys.prefix == sys.base_prefix and Path(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED").exists(),
        "packages": {name: _version(distribution) for name, distribution in packages.items()},
    }


def _describe_torch(torch: Any) -> dict[str, Any]:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return {
        "cuda": torch.version.cuda,
        "gpus": [torch.cuda.get_device_name(index) for index in range(count)],
        # PYTORCH_JIT=0 switches it off.
        "torchscript": torch.jit._state._enabled.enabled,
    }


def _describe_kimpy() -> dict[str, Any]:
    # This part of kimpy is linked with KIM-API.
    return {"library": importlib.import_module("kimpy.model").__file__}


def main() -> None:
    """Print the facts that the argument asks for."""
    # Modules in the folder of this script must not hide others of the same name.
    sys.path = [folder for folder in sys.path if Path(folder).resolve() != Path(__file__).resolve().parent]
    what = sys.argv[1]
    if what == "python":
        facts = _describe_python(json.loads(sys.argv[2]))
    else:
        module = importlib.import_module(what)
        facts = {"torch": lambda: _describe_torch(module), "kimpy": _describe_kimpy}.get(what, dict)()
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main()
