# SPDX-License-Identifier: LGPL-2.1-or-later
"""Run mypy, where numpy and torch are those that types are checked with; elsewhere say why its errors say nothing."""

import subprocess
import sys
from importlib.metadata import version

# Other versions are annotated in other ways.
CHECKED_WITH = {"numpy": "2.4", "torch": "2.13"}


def other_versions() -> list[str]:
    """Return what is installed in another version than the one that types are checked with."""
    found = {name: version(name) for name in CHECKED_WITH}
    return [
        f"{name} {found[name]} is installed, not {wanted}"
        for name, wanted in CHECKED_WITH.items()
        if found[name].split(".")[:2] != wanted.split(".")
    ]


if __name__ == "__main__":
    elsewhere = other_versions()
    if elsewhere:
        print(f"types are not checked: {', '.join(elsewhere)}")
    else:
        sys.exit(subprocess.run([sys.executable, "-m", "mypy"]).returncode)
