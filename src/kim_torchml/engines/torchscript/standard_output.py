# SPDX-License-Identifier: LGPL-2.1-or-later
"""Standard output belongs to the simulator: what models print goes to standard error."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_redirections = 0
_redirected_stdout: Any = None
_lock = threading.Lock()


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send what models print to stderr; several threads at once leave sys.stdout as they found it."""
    global _redirections, _redirected_stdout
    with _lock:
        if _redirections == 0:
            _redirected_stdout, sys.stdout = sys.stdout, sys.stderr
        _redirections += 1
    try:
        yield
    finally:
        with _lock:
            _redirections -= 1
            if _redirections == 0:
                sys.stdout, _redirected_stdout = _redirected_stdout, None
