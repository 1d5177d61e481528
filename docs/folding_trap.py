# SPDX-License-Identifier: LGPL-2.1-or-later
"""Draws folding_trap.svg: two lattices explain the same images, and the order of the list tells which is true.

    .venv/bin/python docs/folding_trap.py [--output FILE]

One layer of a perfect crystal with a foreign atom in its middle, periodic along x and y, and the images that LAMMPS
makes of it. The driver's own code finds their owners, once under the true lattice and once under a sheared one, and all
that is drawn and said of them is taken from there.
"""

import argparse
import sys
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.patheffects import withStroke

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "tests" / "unit"))

from folding_structures import crystal  # noqa: E402
from paddings import Padded, lammps  # noqa: E402

from kim_torchml.inputs.folding.image_finder import ImageFinder  # noqa: E402
from kim_torchml.inputs.folding.lattice import Lattice  # noqa: E402
from kim_torchml.inputs.folding.list_order import Mapping, mapping_of, rows_of  # noqa: E402

CUTOFF, SKIN = 5.0, 2.0  # Å
COLUMNS, ROWS, SPACING = 8, 6, 3.3  # atoms, Å
# White letters are legible on each of them.
COLOURS = ["#1d4ed8", "#0e7490", "#15803d", "#4d7c0f", "#7e22ce", "#b45309", "#be185d", "#475569"]
OWN, FOREIGN, INK, GREY = "#cbd5e1", "#dc2626", "#1e293b", "#94a3b8"
DOT, SMALL, TEXT, HEADING = 12.0, 7.5, 9.0, 11.0  # points
FOREIGN_MARK = {"color": FOREIGN, "marker": "D", "linestyle": "none", "markersize": 0.75 * DOT, "markeredgewidth": 1.2}
PREDICTED_MARK = FOREIGN_MARK | {"markerfacecolor": "white"}
WIDTH, HEIGHT = 8.4, 5.45  # inches
# With a salt, identifiers are the same in each run; with "none", text stays text.
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "kim-torchml",
    "font.sans-serif": ["DejaVu Sans", "Verdana"],
    "font.size": TEXT,
    "text.color": INK,
}
TITLE = "Two lattices explain the same images; the order of the list tells which is true"
# The letter of each translation.
Letters = dict[tuple[int, ...], str]


@dataclass(frozen=True)
class Reading:
    """The images of a list, with the owners that they have under one lattice.

    Attributes:
        made: The list.
        lattice: The lattice.
    """

    made: Padded
    lattice: Lattice

    @cached_property
    def mapping(self) -> Mapping:
        """The images that have an owner; the driver's own code finds it."""
        particles = self.made.particles()
        places, codes = particles.coordinates[particles.images], particles.species_codes[particles.images]
        owners = ImageFinder(particles, self.lattice).find(places, codes)
        return mapping_of(particles, rows_of(particles, self.lattice, owners))

    @property
    def n_wrong(self) -> int:
        """Number of images with another owner than the one that the simulator copied."""
        return int((self.mapping.owners != self.made.owner[self.mapping.images]).sum())

    @cached_property
    def translations(self) -> list[tuple[int, ...]]:
        """Translation of each image in the list's order, in terms of the lattice."""
        return [tuple(map(int, each)) for each in self.mapping.shifts]

    @property
    def blocks(self) -> list[tuple[int, int]]:
        """Where each block of one translation begins, and where it ends."""
        starts = [int(each) for each in self.mapping.starts]
        return list(zip(starts, [*starts[1:], len(self.translations)], strict=True))

    @property
    def returning(self) -> list[tuple[int, ...]]:
        """Translations that more than one block has, in the list's order."""
        return [each for each, times in Counter(self.translations[a] for a, _ in self.blocks).items() if times > 1]


def listed() -> Padded:
    """Return the list of particles that LAMMPS makes of the crystal."""
    perfect = crystal("simple cubic", COLUMNS, ROWS, 1).bounded(True, True, False)
    # LAMMPS makes the atoms of a lattice with x fastest. Half a distance off, none is on a face of the box.
    along_x_first = perfect.coordinates[np.lexsort(perfect.coordinates.T)]
    structure = replace(perfect, coordinates=along_x_first, origin=-0.5 * SPACING).with_foreign()
    box = (structure.species_codes, structure.cell, CUTOFF + SKIN, structure.periodic, structure.origin)
    return lammps(structure.coordinates, *box)


def readings(made: Padded) -> tuple[Reading, Reading]:
    """Return the list as the true lattice explains it, and as a lattice does that is sheared by one row of atoms."""
    along_x, along_y = made.lattice
    sheared = np.array([along_x + along_y / ROWS, along_y])
    return Reading(made, Lattice(made.lattice)), Reading(made, Lattice(sheared))


def letters_of(both: tuple[Reading, ...]) -> Letters:
    """Return a letter for each translation, in the order in which the list has them."""
    translations = dict.fromkeys(each for reading in both for each in reading.translations)
    return {each: chr(ord("A") + number) for number, each in enumerate(translations)}


def colour_of(letter: str) -> str:
    """Return the colour of a translation."""
    return COLOURS[ord(letter) - ord("A")]


def draw_crystal(axis: Axes, reading: Reading, letters: Letters) -> None:
    """Draw atoms, images with their translations, and copies of the box at these."""
    made, mapping = reading.made, reading.mapping
    places, shifts = made.coordinates[:, :2] / SPACING, reading.lattice.vectors[:, :2] / SPACING
    for times in letters:
        axis.add_patch(Rectangle(times @ shifts - 0.5, COLUMNS, ROWS, fill=False, edgecolor=GREY, linewidth=0.8))
    axis.add_patch(Rectangle((-0.5, -0.5), COLUMNS, ROWS, fill=False, edgecolor=INK, linewidth=1.6))
    is_foreign = made.species_codes[made.own] > 0
    axis.plot(*places[made.own[~is_foreign]].T, "o", color=OWN, markersize=DOT, markeredgewidth=0)
    foreign = places[made.own[is_foreign]]
    axis.plot(*foreign.T, **FOREIGN_MARK)
    axis.plot(*(foreign + np.array([[1, 0], [-1, 0]]) @ shifts).T, **PREDICTED_MARK)
    for times, letter in letters.items():
        images = mapping.images[(mapping.shifts == times).all(axis=1)]
        axis.plot(*places[images].T, "o", color=colour_of(letter), markersize=DOT, markeredgewidth=0)
        for place in places[images]:
            axis.text(*place, letter, color="white", fontsize=SMALL, ha="center", va="center_baseline")
    axis.set(xlim=(-5.6, 12.2), ylim=(-2.6, ROWS + 1.6), aspect="equal")


def draw_owner(axis: Axes, reading: Reading) -> None:
    """Draw an arrow from one of the images, above the foreign atom's row, to its owner."""
    mapping, places = reading.mapping, reading.made.coordinates[:, :2] / SPACING
    shown = int(np.abs(places[mapping.images] - [COLUMNS, ROWS - 2]).sum(axis=1).argmin())
    ends = places[mapping.images[shown]], places[mapping.owners[shown]]
    shape = {"arrowstyle": "-|>", "mutation_scale": 13, "shrinkA": 6.5, "shrinkB": 6.5, "linewidth": 1.7}
    # A white rim sets the arrow off from the dots that it crosses.
    rim = [withStroke(linewidth=4.0, foreground="white")]
    axis.add_patch(FancyArrowPatch(*ends, color=INK, zorder=3, path_effects=rim, **shape))
    axis.plot(*np.transpose(ends), "o", markerfacecolor="none", color=INK, markersize=DOT + 2, markeredgewidth=1.7)


def draw_list(axis: Axes, reading: Reading, letters: Letters) -> None:
    """Draw the images in the order of the list, block by block; those of a translation that has several are marked."""
    for begin, end in reading.blocks:
        times = reading.translations[begin]
        letter = letters[times]
        block = {"facecolor": colour_of(letter), "edgecolor": "white", "linewidth": 1.2}
        axis.add_patch(Rectangle((begin, 0), end - begin, 1, **block))
        axis.text(0.5 * (begin + end), 0.48, letter, color="white", ha="center", va="center_baseline")
        if times in reading.returning:
            axis.plot([begin + 0.1, end - 0.1], [-0.2, -0.2], color=FOREIGN, linewidth=2.2, solid_capstyle="butt")
    axis.set(xlim=(0, len(reading.translations)), ylim=(-0.35, 1))


def explained(reading: Reading) -> str:
    """Return how a lattice explains the images."""
    said = f"explains {len(reading.translations)} of {len(reading.made.images)} images"
    return f"{said}, {reading.n_wrong} of them by a wrong owner" if reading.n_wrong else said


def summary(reading: Reading, letters: Letters) -> str:
    """Return what the order of the list says about a lattice."""
    said = f"{len(set(reading.translations))} translations in {len(reading.blocks)} blocks"
    if not reading.returning:
        return f"{said}: images as a simulator makes them, translation by translation"
    *others, last = sorted(letters[each] for each in reading.returning)
    return f"{said}, as {', '.join(others)} and {last} come again: no simulator makes images in such an order"


def draw_legend(figure: Figure) -> None:
    """Draw what the symbols mean."""
    dot = {"marker": "o", "linestyle": "none", "markersize": DOT, "markeredgewidth": 0}
    arrow = {"marker": r"$\rightarrow$", "linestyle": "none", "markersize": 15, "markeredgewidth": 0.4}
    handles = {
        "contributing atom": Line2D([], [], color=OWN, **dot),
        "image in the list, with a letter for its translation": Line2D([], [], color=COLOURS[0], **dot),
        "from an image to its owner": Line2D([], [], color=INK, **arrow),
        "foreign atom, deeper than the halo": Line2D([], [], **FOREIGN_MARK),
        "its images under each lattice: not in the list": Line2D([], [], **PREDICTED_MARK),
        "blocks of a translation that comes again": Line2D([], [], color=FOREIGN, linewidth=2.2),
    }
    figure.legend(
        [*handles.values()], [*handles], loc="lower left", bbox_to_anchor=(0.005, 0.0), ncols=2, frameon=False
    )


def draw(path: Path) -> None:
    """Draw the figure."""
    both = readings(listed())
    letters = letters_of(both)
    with mpl.rc_context(STYLE):
        figure = plt.figure(figsize=(WIDTH, HEIGHT))
        write(figure, 0.015, 3.02, "The same list of images, in its order", weight="bold", fontsize=HEADING)
        for number, (reading, name) in enumerate(zip(both, ("The true lattice", "A sheared lattice"), strict=True)):
            left = 0.015 + 0.5 * number
            write(figure, left, 0.07, name, weight="bold", fontsize=HEADING)
            write(figure, left, 0.28, explained(reading))
            panel = axes_at(figure, left, 0.47, 0.47, 2.42)
            draw_crystal(panel, reading, letters)
            draw_owner(panel, reading)
            top = 3.25 + 0.72 * number
            write(figure, 0.015, top, f"{name}: {summary(reading, letters)}")
            draw_list(axes_at(figure, 0.015, top + 0.2, 0.97, 0.34), reading, letters)
        draw_legend(figure)
        # Without a date, the same figure gives the same file.
        figure.savefig(path, metadata={"Date": None, "Title": TITLE} if path.suffix == ".svg" else None, dpi=150)
        plt.close(figure)


def axes_at(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Return axes without frame: place and width in parts of the figure's width, top and height in inches."""
    axes = figure.add_axes((left, 1.0 - (top + height) / HEIGHT, width, height / HEIGHT))
    axes.axis("off")
    return axes


def write(figure: Figure, left: float, top: float, said: str, **font: Any) -> None:
    """Write a line at a part of the figure's width, and so many inches below its top."""
    figure.text(left, 1.0 - top / HEIGHT, said, va="top", **font)


def main() -> None:
    """Draw the figure where the documents show it, or elsewhere."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".svg"), help="an SVG or PNG file")
    draw(parser.parse_args().output)


if __name__ == "__main__":
    main()
