# SPDX-License-Identifier: LGPL-2.1-or-later
"""Errors of the driver among what a process has printed."""

import re
from pathlib import Path

from kim_torchml.tools.kim_host.error_lines import errors_in

REPORT = Path(__file__).parents[2] / "kim_driver_cpp" / "report.cpp"


def test_errors_with_and_without_a_rank():
    lines = [
        "LAMMPS (29 Sep 2021)",
        "[kim-torchml] error: no file",
        "[kim-torchml rank 0] error: no memory; use fewer",
        "1: [kim-torchml rank 12] error:  twelfth",
        "[kim-torchml] warning: not this",
        "[kim-torchml rank 0] driver 0.1.0",
        "error: of something else",
    ]
    assert errors_in(lines) == ["no file", "no memory; use fewer", "twelfth"]


def test_the_shim_writes_such_lines():
    """The pieces of its line, put together with a rank and without."""
    (pieces,) = re.findall(
        r'line = "(.*?)" \+ \(rank\.empty\(\) \? "" : "(.*?)" \+ rank\) \+ "(.*?)" \+', REPORT.read_text()
    )
    start, before_rank, end = pieces
    assert errors_in([f"{start}{end}no file", f"{start}{before_rank}3{end}no file"]) == ["no file", "no file"]
