# SPDX-License-Identifier: LGPL-2.1-or-later
"""Threads on one shared model, for checks/thread_safe.py.

Started as `python -m kim_torchml.tools.verification.shared_model MODEL SEED`. The species to check follow the seed.
Prints one line of JSON last; a crash is a result too.
"""

import json
import sys

from kim_torchml.tools.programs.signals import signals_raise
from kim_torchml.tools.verification.checks.thread_safe import shared_row


def main() -> None:
    """Print the row of the table of results."""
    name, seed, *species = sys.argv[1:]
    with signals_raise():
        row = shared_row(name, int(seed), species)
    # The model may have left a line open.
    print("\n" + json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
