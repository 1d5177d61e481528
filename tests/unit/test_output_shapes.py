# SPDX-License-Identifier: LGPL-2.1-or-later
"""Names and shapes of KIM's outputs: the driver's, the shim's and those of these tests are the same."""

import re
from pathlib import Path

from fresh_python import run_python
from opening import SHAPES

from kim_torchml.driver.output_shapes import OUTPUT_NAMES, shape_of_output
from kim_torchml.driver.outputs import OUTPUTS

SHIM = Path(__file__).resolve().parents[2] / "kim_driver_cpp" / "compute_arguments.cpp"


def test_the_driver_makes_every_output_that_has_a_shape():
    assert tuple(OUTPUTS) == OUTPUT_NAMES


def test_shapes():
    """Against KIM-API's documentation of its arguments, as opening.py has it."""
    assert list(SHAPES) == list(OUTPUT_NAMES)
    for n in (0, 1, 7):
        assert {name: shape_of_output(name, n) for name in OUTPUT_NAMES} == {
            name: shape(n) for name, shape in SHAPES.items()
        }


def test_the_shim_hands_over_arrays_of_these_shapes():
    """In its table: whether an output has a row for each particle, and how many columns; 0 for none."""
    rows = re.findall(r"\{names::(\w+), (true|false), (\d+)\}", SHIM.read_text())
    shapes = {
        name: ((7,) if per_particle == "true" else ()) + ((int(columns),) if columns != "0" else ())
        for name, per_particle, columns in rows
    }
    # One number is an array of one entry.
    assert {name: shape or (1,) for name, shape in shapes.items()} == {
        name: shape_of_output(name, 7) for name in OUTPUT_NAMES
    }


def test_they_are_known_without_torch():
    code = "import sys, kim_torchml.driver.output_shapes; print('torch' in sys.modules, 'numpy' in sys.modules)"
    assert run_python(code) == "False False\n"
