# SPDX-License-Identifier: LGPL-2.1-or-later
"""What differs between owners that were found and those that are known."""

import numpy as np
from scipy.spatial import cKDTree

# What a refusal ends with.
ADVICE = (
    r"; ((displace|move) the atoms .*, or )?set KIM_TORCHML_EDGES=staged, which needs no owners$|remove one of the two$"
)


def translations_to_owners(padded, rows):
    """Return the translations between found and true owners, the lattice's own left out, shape [k, 3], Å."""
    mapped = rows.row_of_particle >= 0
    wrong = mapped & (rows.row_of_particle != padded.row_of_particle)
    found = padded.own[rows.row_of_particle[wrong]]
    between = padded.coordinates[found] - padded.coordinates[padded.owner[wrong]]
    fractions = between @ np.linalg.pinv(padded.lattice)
    return np.unique(np.round(between - np.floor(fractions + 1e-6) @ padded.lattice, 4), axis=0)


def is_symmetry(padded, translation):
    """Return whether a translation maps the periodic system onto itself, species and all."""
    points, codes = padded.coordinates[padded.own], padded.species_codes[padded.own]
    images = np.concatenate([points, padded.coordinates[padded.images]])
    all_codes = np.concatenate([codes, padded.species_codes[padded.images]])
    inverse = np.linalg.pinv(padded.lattice)
    center = points.mean(axis=0)
    # The image of a moved particle that is nearest to the middle of the system is in the list.
    moved = points + translation
    moved -= np.round((moved - center) @ inverse) @ padded.lattice
    distance, nearest = cKDTree(images).query(moved)
    return bool((distance < 1e-3).all() and np.array_equal(all_codes[nearest], codes))


def rows_of_step(folding, made, cutoff, reached):
    """Return the rows of a configuration as the driver gets them.

    An image that had no edge when owners were inferred may have one now: the driver lets them be inferred again.

    Args:
        folding: What is known from earlier configurations.
        made: The configuration.
        cutoff: Cutoff, Å.
        reached: Function that returns which particles are in an edge.
    """
    needed = made.reached(cutoff)
    rows = folding.rows(made.particles(), cutoff, reached)
    if (rows.row_of_particle[needed] < 0).any():
        folding.forget()
        rows = folding.rows(made.particles(), cutoff, reached)
    return rows


def difference(padded, rows, needed):
    """Return what is wrong with what was found, or an empty text."""
    if rows.n_own != len(padded.own) or rows.row_of_particle.shape != (len(padded),):
        return "other numbers of rows or particles"
    if not np.array_equal(rows.row_of_particle[padded.own], np.arange(rows.n_own)):
        return "contributing particles have other rows than their own"
    mapped = rows.row_of_particle >= 0
    if not mapped[needed].all():
        return f"{(needed & ~mapped).sum()} needed particles have no owner"
    if rows.shifts[padded.contributing].any() or rows.shifts[~mapped].any():
        return "a particle without an owner elsewhere has a shift"
    owners = padded.own[rows.row_of_particle[mapped]]
    off = padded.coordinates[mapped] - padded.coordinates[owners] - rows.shifts[mapped] @ rows.lattice
    if np.abs(off).max(initial=0.0) > padded.particles().tolerance:
        return f"coordinates differ by {np.abs(off).max():.1e} Å from owner and translations"
    wrong = rows.row_of_particle[mapped] != padded.row_of_particle[mapped]
    if not wrong.any():
        return ""
    if padded.is_ordered or not all(is_symmetry(padded, each) for each in translations_to_owners(padded, rows)):
        return f"{wrong.sum()} of {mapped.sum()} particles have a wrong owner"
    return ""
