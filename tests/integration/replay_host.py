# SPDX-License-Identifier: LGPL-2.1-or-later
"""`kim-torchml replay`, run in a process of its own."""

import subprocess
import sys
from pathlib import Path

from kim_collection import KimCollection


def replay(collection: KimCollection, *arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `kim-torchml replay`."""
    code = "from kim_torchml.tools.cli import main; main(prog_name='kim-torchml')"
    return subprocess.run(
        [sys.executable, "-c", code, "replay", *map(str, arguments)],
        env=collection.environment | {"KIM_TORCHML_QUIET": "1"} | variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
