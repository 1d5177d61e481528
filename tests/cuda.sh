#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Runs the tests that need a GPU, with the package in src. The machine needs only Python, torch with CUDA and pytest: no
# KIM, no network, no compiler. Arguments go to pytest. PYTHON names the python to use (default: python3).
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
python="${PYTHON:-python3}"
export PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}" PYTHONDONTWRITEBYTECODE=1

"$python" - <<'PYTHON'
import sys

try:
    import pytest  # noqa: F401
    import torch

    from kim_torchml.process.device import choose_device, describe_device
    from kim_torchml.errors import DriverError
    from kim_torchml.process.rank import Rank
except ImportError as error:
    sys.exit(f"tests/cuda.sh needs pytest and torch in {sys.executable}: {error} (PYTHON names another python)")
try:
    device = describe_device(choose_device("cuda", Rank(None, 0, 1)))
except DriverError as error:
    sys.exit(f"tests/cuda.sh needs a GPU: {error}")
print(f"torch {torch.__version__}, CUDA {torch.version.cuda}, {device}", flush=True)
PYTHON

exec "$python" -m pytest tests/unit -m cuda -p no:cacheprovider "$@"
