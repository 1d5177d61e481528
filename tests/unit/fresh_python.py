# SPDX-License-Identifier: LGPL-2.1-or-later
"""Run code in a process of its own."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import kim_torchml

SOURCE = Path(kim_torchml.__file__).parents[1]


def run_python(code, path=(), arguments=()):
    """Run code in a fresh process; return what it printed, after checking that it ended well.

    Args:
        code: Python code, which may be indented.
        path: Folders in which modules are looked for first.
        arguments: Items of sys.argv after the first.
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*path, SOURCE]))},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout
