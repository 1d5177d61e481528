# SPDX-License-Identifier: LGPL-2.1-or-later
"""How far compiling is, on stderr: it takes a minute or more, in which a simulator seems to hang."""

import time

from kim_torchml.engines import Progress
from kim_torchml.process import notices, settings
from kim_torchml.process.rank import find_rank

# s between two lines.
_EVERY = 5.0


class CompileNotice:
    """Says now and then what is being compiled and how far that is, unless KIM_TORCHML_QUIET is on.

    Of the ranks that wait the first speaks for all.
    """

    def __init__(self, file_name: str) -> None:
        """Keep the name of the model's file."""
        self._file_name = file_name
        self._rank = find_rank()
        self._last = -_EVERY

    def __call__(self, progress: Progress) -> None:
        """Say how far the work is, if the last line was long ago."""
        now = time.monotonic()
        if now - self._last < _EVERY or settings.is_quiet() or (progress.is_waiting and self._rank.rank):
            return
        self._last = now
        part = "" if progress.is_waiting else f"{100 * progress.part:.0f} %, "
        notices.tell(
            self._rank,
            f"compiling {self._file_name}, which is kept for later runs: {progress.stage} ({part}"
            f"{progress.seconds:.0f} s)",
        )
