# SPDX-License-Identifier: LGPL-2.1-or-later
"""The launchers' variables, which C++ must know before there is Python: the same, in the same order, as in Python."""

import re
from pathlib import Path

from kim_torchml.process.rank import _LAUNCHERS

# How many processes were launched together, as the documentation of each launcher calls it. In a Slurm job that is the
# number of tasks of a step, because a batch script is in a job of several tasks too. PALS has no name of its own.
SIZES = {
    "Open MPI": "OMPI_COMM_WORLD_SIZE",
    "MVAPICH": "MV2_COMM_WORLD_SIZE",
    "MPICH, Hydra, Intel MPI": "PMI_SIZE",
    "PALS (Cray)": "PMI_SIZE",
    "Slurm": "SLURM_STEP_NUM_TASKS",
}
REPORT = Path(__file__).parents[2] / "kim_driver_cpp" / "report.cpp"


def test_the_two_tables_agree():
    source = REPORT.read_text()
    entries = re.findall(r'\{"(\w+)", "(\w+)", "(\w+)"\},\s+// (.+)', source)
    assert len(entries) == source.count('{"')
    found = {name.strip(): (rank, local_rank, size) for local_rank, rank, size, name in entries}
    ours = {name: (each.rank, each.local_rank, each.size) for name, each in _LAUNCHERS.items()}
    assert list(found.items()) == list(ours.items())
    assert {name: size for name, (_, _, size) in found.items()} == SIZES
