# SPDX-License-Identifier: LGPL-2.1-or-later
"""The figure of docs/folding.md on the trap: the file is what its script draws, and what it says is so."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from folding_differences import difference

from kim_torchml.inputs.folding.errors import FoldingRefusedError
from kim_torchml.inputs.folding.image_finder import ImageFinder
from kim_torchml.inputs.folding.inference import infer

DOCS = Path(__file__).parents[2] / "docs"
sys.path.insert(0, str(DOCS))

import folding_trap  # noqa: E402


def written_in(path):
    """Return the texts of an SVG file, in their order."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text(encoding="utf-8"))


def test_the_figure_says_what_its_script_finds(tmp_path):
    """Versions of matplotlib place things otherwise: texts alone are compared with the file of the documents."""
    first, second = tmp_path / "first.svg", tmp_path / "second.svg"
    folding_trap.draw(first)
    folding_trap.draw(second)
    assert first.read_bytes() == second.read_bytes()
    assert written_in(first) == written_in(DOCS / "folding_trap.svg")
    assert "explains 72 of 72 images, 40 of them by a wrong owner" in written_in(first)


def test_both_lattices_explain_all_images_and_one_in_the_order_of_the_list():
    made = folding_trap.listed()
    true, sheared = folding_trap.readings(made)
    for reading in (true, sheared):
        mapping = reading.mapping
        assert np.array_equal(mapping.images, made.images)
        off = made.coordinates[mapping.images] - made.coordinates[mapping.owners]
        assert np.allclose(off, mapping.shifts @ reading.lattice.vectors, rtol=0.0, atol=1e-9)
        assert (made.species_codes[mapping.images] == made.species_codes[mapping.owners]).all()
        assert ImageFinder(made.particles(), reading.lattice).equivalent_pair is None
    assert np.array_equal(true.mapping.owners, made.owner[made.images])
    assert true.mapping.is_in_blocks
    assert not sheared.mapping.is_in_blocks


def test_the_driver_reads_the_list_of_the_figure_and_refuses_it_without_order():
    made, cutoff = folding_trap.listed(), folding_trap.CUTOFF
    needed = made.reached(cutoff)
    assert difference(made, infer(made.particles(), cutoff, needed), needed) == ""
    shuffled = made.shuffled(np.random.default_rng(1))
    with pytest.raises(FoldingRefusedError, match=r"must be the only one possible, got two: .* without the order"):
        infer(shuffled.particles(), cutoff, shuffled.reached(cutoff))
