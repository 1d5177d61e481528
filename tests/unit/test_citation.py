# SPDX-License-Identifier: LGPL-2.1-or-later
"""CITATION.cff says of version and licence what the package does."""

import re

from documents import ROOT

import kim_torchml

CITATION = (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def value(key: str, text: str, mark: str) -> str:
    """Return the value of a key at the beginning of a line, without quotes."""
    (found,) = re.findall(rf'^{key} *{mark} *"?([^"\n]*?)"?$', text, re.MULTILINE)
    return found


def test_version_is_that_of_the_package():
    assert value("version", CITATION, ":") == kim_torchml.__version__


def test_licence_and_name_are_those_of_the_project():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert value("license", CITATION, ":") == value("license", project, "=")
    name, _, description = value("title", CITATION, ":").partition(": ")
    assert name == value("name", project, "=")
    assert description.lower() == value("description", project, "=").lower()


def test_required_keys_are_there():
    """The Citation File Format 1.2.0 requires these, and an author has a name."""
    assert value("cff-version", CITATION, ":") == "1.2.0"
    assert value("message", CITATION, ":") != ""
    assert re.search(r'^authors:\n  - name: ".+"$', CITATION, re.MULTILINE)
