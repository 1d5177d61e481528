# SPDX-License-Identifier: LGPL-2.1-or-later
"""What Inductor is told: the same for every version of torch, but for what a version does wrong."""

import sys
from pathlib import Path
from typing import Any

import torch
import torch._inductor

from kim_torchml.process.oldest_versions import is_older


def inductor_options(output: Path) -> dict[str, Any]:
    """Return the options to compile with.

    Args:
        output: Where the native code is to be.
    """
    version = str(torch.__version__)
    # Sums of one thread have the same bits in each call.
    options: dict[str, Any] = {"aot_inductor.output_path": str(output), "cpp.threads": 1}
    if is_older(version, "2.5"):
        # Two matrix products that are added would become a call of a function that is not there.
        options["pattern_matcher"] = False
    elif is_older(version, "2.7"):
        # Code for one thread stores numbers where it must add them up. This is code for two, all of which one does.
        options |= {"cpp.threads": 2, "cpp.min_chunk_size": sys.maxsize}
    return options | {name: value for name, value in _WHERE_KNOWN.items() if name in torch._inductor.list_options()}


_WHERE_KNOWN = {
    # Headers that are used once take longer to make than they save.
    "aot_inductor.precompile_headers": False,
    # C++ with torch's own classes takes twice as long to compile; newer versions write no such code.
    "abi_compatible": True,
}
