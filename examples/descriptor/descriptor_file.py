# SPDX-License-Identifier: LGPL-2.1-or-later
"""The symmetry functions of the example, and their file as KLIFF writes it."""

from itertools import groupby, product

from kim_torchml.descriptors import Normalisation

CUTOFF = 4.5  # Å; the potential that the network learns reaches 3.77118 Å

# g2: shells around the particle. They are so narrow that they tell close first neighbours from distant ones.
SHELL_ETA = 8.0  # 1/Å^2
SHELL_CENTRES = (1.8, 2.1, 2.4, 2.7, 3.0, 3.3, 3.6, 3.9)  # Å

# g4 and g5: angles (zeta, lambda), and how fast each of the two families fades with distance (eta, 1/Å^2). g4 counts
# only angles whose two ends are within the cutoff of each other. The potential also bends wider ones, so g5 is needed.
ANGLES = ((1.0, -1.0), (1.0, 1.0), (4.0, -1.0), (4.0, 1.0))
ANGULAR_ETAS = {"g4": (0.02, 0.1), "g5": (0.02, 0.08, 0.25)}

SYMBOLS = {"g2": "eta  Rs", "g4": "zeta  lambda  eta", "g5": "zeta  lambda  eta"}
RULE = "#" + 80 * "="


def functions() -> list[tuple[str, tuple[float, ...]]]:
    """Return the family and the parameters of each function, in the order of the descriptor's columns."""
    radial = [("g2", (SHELL_ETA, centre)) for centre in SHELL_CENTRES]
    angular = [
        (family, (zeta, sense, eta))
        for family, etas in ANGULAR_ETAS.items()
        for eta, (zeta, sense) in product(etas, ANGLES)
    ]
    return radial + angular


def descriptor_text(normalisation: Normalisation | None) -> str:
    """Return the content of the descriptor's file.

    Args:
        normalisation: Mean and standard deviation of each column; None for no normalisation.
    """
    lines = [*heading("Symmetry functions of the example TorchML_Descriptor_Si")]
    lines += ["cos  # cutoff type", "1  # number of species", "# species 1    species 2    cutoff"]
    lines += [f"Si  Si  {CUTOFF!r}", "", *heading("symmetry functions")]
    families = [(name, [row for _, row in rows]) for name, rows in groupby(functions(), lambda function: function[0])]
    lines += [f"{len(families)}  # number of symmetry functions types", "", "# sym_function    rows    cols"]
    for family, rows in families:
        lines.append(f"{family}    {len(rows)}    {len(rows[0])}")
        lines += ["    ".join(map(repr, row)) + f"    # {SYMBOLS[family]}" for row in rows]
        lines.append("")
    lines += heading("Preprocessing data to center and normalize")
    lines += normalisation_lines(normalisation)
    return "\n".join(lines) + "\n"


def heading(text: str) -> list[str]:
    """Return the lines of a heading."""
    return [RULE, f"# {text}", RULE, ""]


def normalisation_lines(normalisation: Normalisation | None) -> list[str]:
    """Return the last lines of the file, with all digits, so that the numbers are read back exactly."""
    if normalisation is None:
        return ["center_and_normalize  False"]
    mean, deviation = normalisation.mean.tolist(), normalisation.standard_deviation.tolist()
    lines = ["center_and_normalize  True", "", f"{len(mean)}   # descriptor size"]
    lines += ["# mean", *map(repr, mean), "", "# standard deviation", *map(repr, deviation)]
    return lines
