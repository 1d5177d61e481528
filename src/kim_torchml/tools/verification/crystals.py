# SPDX-License-Identifier: LGPL-2.1-or-later
"""Structures that the checks compute: crystals, rattled pieces of crystals, and dimers.

OpenKIM's checks use the same lattices (fcc, bcc, diamond), mostly with fixed lattice constants. Here the constants are
those of the model's own crystals (lengths.py). Species are KIM's, some of which (user01, electron) are no elements.
"""

from collections.abc import Sequence

import numpy as np

from kim_torchml.tools.kim_host.structure import Floats, Structure

# Fractional coordinates of the atoms in the cubic cell, and the lattice constant relative to the nearest distance.
_FACES = [(0.0, 0.0, 0.0), (0.0, 0.5, 0.5), (0.5, 0.0, 0.5), (0.5, 0.5, 0.0)]
_BASES = {
    "fcc": (_FACES, np.sqrt(2.0)),
    "bcc": ([(0.0, 0.0, 0.0), (0.5, 0.5, 0.5)], 2.0 / np.sqrt(3.0)),
    "diamond": (_FACES + [(x + 0.25, y + 0.25, z + 0.25) for x, y, z in _FACES], 4.0 / np.sqrt(3.0)),
}
LATTICES = tuple(_BASES)
# Numbers of cubic cells along the axes that hold 8 atoms together.
EIGHT_ATOMS = {"fcc": (2, 1, 1), "bcc": (2, 2, 1), "diamond": (1, 1, 1)}
# Greatest displacement of an atom along each axis, relative to the nearest distance.
RATTLE = 0.1


def crystal(
    lattice: str,
    repeats: tuple[int, int, int],
    nearest: float,
    species: Sequence[str],
    random: np.random.Generator,
    rattle: float = RATTLE,
) -> Structure:
    """Return cubic cells of a crystal, rattled, without periodicity.

    Args:
        lattice: one of LATTICES.
        repeats: numbers of cells along x, y and z.
        nearest: distance of nearest neighbours before the atoms are displaced, Å.
        species: species to draw from; each occurs, unless there are fewer atoms than species.
        random: generator of all random numbers.
        rattle: greatest displacement along each axis, relative to the nearest distance.
    """
    positions, cell = _sites(lattice, repeats, nearest)
    positions += random.uniform(-rattle, rattle, positions.shape) * nearest
    n = len(positions)
    chosen = [*species, *(species[index] for index in random.integers(len(species), size=n))]
    # If there are more species than atoms, some species are left out; otherwise each occurs at least once.
    kept = random.permutation(n if len(species) <= n else len(species))[:n]
    return Structure(tuple(chosen[index] for index in kept), positions, cell)


def perfect_crystal(lattice: str, repeats: tuple[int, int, int], nearest: float, species: Sequence[str]) -> Structure:
    """Return a periodic crystal with the species in turn on its sites.

    Args:
        lattice: one of LATTICES.
        repeats: numbers of cells along x, y and z.
        nearest: distance of nearest neighbours, Å.
        species: species to use; if there are more than atoms, the last ones are left out.
    """
    positions, cell = _sites(lattice, repeats, nearest)
    names = tuple(species[index % len(species)] for index in range(len(positions)))
    return Structure(names, positions, cell, (True, True, True))


def _sites(lattice: str, repeats: tuple[int, int, int], nearest: float) -> tuple[Floats, Floats]:
    """Return the sites [n, 3] and the box [3, 3] of cubic cells, Å."""
    basis, ratio = _BASES[lattice]
    constant = float(ratio) * nearest
    cells = np.array([(i, j, k) for i in range(repeats[0]) for j in range(repeats[1]) for k in range(repeats[2])])
    positions = (cells[:, None, :] + np.array(basis)[None, :, :]).reshape(-1, 3) * constant
    return positions, np.diag(np.array(repeats) * constant)


def dimer(first: str, second: str, distance: float) -> Structure:
    """Return two atoms on the x axis, a distance (Å) apart."""
    return Structure((first, second), np.array([[0.0, 0.0, 0.0], [distance, 0.0, 0.0]]), np.eye(3))
