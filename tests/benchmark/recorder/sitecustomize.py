# SPDX-License-Identifier: LGPL-2.1-or-later
"""Imported by the Python that the driver starts, where this folder is on PYTHONPATH: takes what variables ask for."""

import os

if "KIM_TORCHML_BENCHMARK" in os.environ:
    import compute_times

    compute_times.begin()
if "KIM_TORCHML_BENCHMARK_RANKS" in os.environ:
    import rank_times

    rank_times.begin()
