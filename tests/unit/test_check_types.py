# SPDX-License-Identifier: LGPL-2.1-or-later
"""Types are checked with CI's versions of numpy and torch alone."""

import re
import runpy

import pytest
from documents import ROOT

SCRIPT = ROOT / "tests" / "check_types.py"


@pytest.mark.parametrize(
    ("numpy", "torch", "found"),
    [
        ("2.4.6", "2.13.0+cpu", []),
        ("2.2.4", "2.13.0", ["numpy 2.2.4 is installed, not 2.4"]),
        ("2.2.4", "2.6.0", ["numpy 2.2.4 is installed, not 2.4", "torch 2.6.0 is installed, not 2.13"]),
    ],
)
def test_other_versions_are_named(numpy, torch, found, monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", {"numpy": numpy, "torch": torch}.__getitem__)
    assert runpy.run_path(str(SCRIPT))["other_versions"]() == found


def test_the_torch_that_is_installed_where_none_is_there_is_the_one_that_types_are_checked_with():
    installed = re.search(r'^torch_version="([\d.]+)', (ROOT / "docker" / "install.sh").read_text(), re.MULTILINE)[1]
    assert installed.rpartition(".")[0] == runpy.run_path(str(SCRIPT))["CHECKED_WITH"]["torch"]
