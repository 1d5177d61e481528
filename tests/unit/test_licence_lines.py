# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every source begins with the licence's line, but for formats that have no comments (JSON)."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Where each folder's sources are, and how a comment begins in each format.
FOLDERS = ("kim_driver_cpp", "src", "tests", "docker", "docs", "examples")
COMMENTS = {
    ".cpp": "//",
    ".hpp": "//",
    ".hpp.in": "//",
    ".cmake": "#",
    ".py": "#",
    ".pyi": "#",
    ".sh": "#",
    ".edn.in": ";",
}
SOURCES = [
    path
    for folder in FOLDERS
    for path in sorted((ROOT / folder).rglob("*"))
    if "".join(path.suffixes) in COMMENTS and path.is_file()
]


def test_each_source_begins_with_the_licence():
    wrong = []
    for path in SOURCES:
        lines = path.read_text(encoding="utf-8").splitlines()
        # The line for the shell or for shellcheck must be the first.
        first = lines[1:2] if lines and lines[0].startswith(("#!", "# shellcheck shell=")) else lines[:1]
        if first != [f"{COMMENTS[''.join(path.suffixes)]} SPDX-License-Identifier: LGPL-2.1-or-later"]:
            wrong.append(str(path.relative_to(ROOT)))
    assert wrong == []


@pytest.mark.parametrize("suffix", COMMENTS)
def test_each_format_is_there(suffix: str):
    assert any("".join(path.suffixes) == suffix for path in SOURCES)
