# SPDX-License-Identifier: LGPL-2.1-or-later
"""A process in which threads share one model, for checks/thread_safe.py, which takes a crash for a result too.

It is started as `python -m kim_torchml.tools.verification.shared_model MODEL SEED [SPECIES ...]`; without species, it
computes all of the model's. The last line that it prints is JSON.
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
    # The model may have printed a line without its end.
    print("\n" + json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
