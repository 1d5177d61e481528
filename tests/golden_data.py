# SPDX-License-Identifier: LGPL-2.1-or-later
"""The golden data of tests/data/golden: numbers that other programs computed, which these tests compare with."""

import json
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).resolve().parent / "data" / "golden"
SI64 = "portable_models/si64"


def read_golden(name: str) -> dict[str, np.ndarray]:
    """Return the arrays of a file, which is named without its suffix: descriptors/si8_periodic__soap_n3_l3, say."""
    content = json.loads((GOLDEN / f"{name}.json").read_text())
    return {key: np.array(value) for key, value in content.items()}
