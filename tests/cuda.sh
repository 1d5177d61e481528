#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Runs the tests that need a GPU: those of the package in src, and those of the models through KIM where KIM-API, kimpy
# and ASE are. The machine needs only Python, torch with CUDA and pytest for the former: no KIM, no network. Without g++
# the tests of compiled programs are skipped.
# Arguments go to pytest. PYTHON names the python to use (default: python3).
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

failed=0
"$python" -m pytest tests/unit -m cuda -p no:cacheprovider "$@" || failed=1

missing=$(
    command -v kim-api-collections-management >/dev/null || printf ' KIM-API'
    for package in kimpy ase scipy; do
        "$python" -c "import $package" 2>/dev/null || printf ' %s' "$package"
    done
)
if [ -z "$missing" ]; then
    # One process, which builds the driver before its first test.
    "$python" -m pytest tests/integration/test_cuda.py -p no:cacheprovider || failed=1
else
    echo "no model was run through KIM: this machine lacks$missing"
fi
exit "$failed"
