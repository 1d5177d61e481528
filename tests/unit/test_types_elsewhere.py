# SPDX-License-Identifier: LGPL-2.1-or-later
"""Types are checked with CI's versions of numpy and torch alone."""

import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "types_elsewhere.py"


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
