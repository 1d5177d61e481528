# SPDX-License-Identifier: LGPL-2.1-or-later
"""The code blocks of the README and of docs/, for tests that run them as they stand there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"


def section(document: Path, heading: str) -> str:
    """Return the text of a section of second order."""
    _, found, rest = document.read_text(encoding="utf-8").partition(f"\n## {heading}\n")
    assert found, f"{document.name} has no section {heading!r}"
    return rest.partition("\n## ")[0]


def blocks(text: str) -> list[tuple[str, str]]:
    """Return (language, content) of each code block; one that stands in a list loses the list's indentation."""
    found = re.findall(r"^( *)```(\w*)\n(.*?)^\1```$", text, re.DOTALL | re.MULTILINE)
    return [(language, re.sub(f"^{indent}", "", content, flags=re.MULTILINE)) for indent, language, content in found]


def first_block(text: str, language: str) -> str:
    """Return the content of the first block of a language."""
    return next(content for each, content in blocks(text) if each == language)


def write_model_of_readme(folder: Path) -> None:
    """Write the files of the README's model, and the script that saves its TorchScript file, into a folder."""
    text = section(README, "Install your own model")
    for name, language in (("make_my_model.py", "python"), ("my_model.param", ""), ("CMakeLists.txt", "cmake")):
        (folder / name).write_text(first_block(text, language), encoding="utf-8")
