# SPDX-License-Identifier: LGPL-2.1-or-later
"""The launchers' variables, which C++ must know before there is Python: the same, in the same order, as in Python."""

import re
from pathlib import Path

from kim_torchml.process.rank import _LAUNCHERS

REPORT = Path(__file__).parents[2] / "kim_driver_cpp" / "report.cpp"


def test_the_two_tables_agree():
    source = REPORT.read_text()
    entries = re.findall(r'\{"(\w+)", "(\w+)", "\w+"\},\s+// (.+)', source)
    assert len(entries) == source.count('{"')
    found = [(name.strip(), rank, local_rank) for local_rank, rank, name in entries]
    assert found == [(name, rank, local_rank) for name, (rank, local_rank, _) in _LAUNCHERS.items()]
