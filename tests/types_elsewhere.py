# SPDX-License-Identifier: LGPL-2.1-or-later
"""Print why mypy's errors say nothing here: numpy and torch of other versions are annotated in other ways.

tests/run.sh checks types where this prints nothing.
"""

from importlib.metadata import version

# What CI checks types with.
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
    print(", ".join(other_versions()))
