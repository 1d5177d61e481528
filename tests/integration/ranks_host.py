# SPDX-License-Identifier: LGPL-2.1-or-later
"""One of several ranks of a host in Python, which computes step by step; in some steps the last rank fails.

Usage: mpirun -np 2 python ranks_host.py MODEL STEP...

Prints one line of JSON for each rank: for each step, its part of the energy, or the words "has failed".
"""

import json
import sys
from dataclasses import replace

import numpy as np
from configurations import Configuration, crystal, of_atoms
from kimpy_host import ENERGY, FORCES, KimpyModel
from mpi4py import MPI

REACH = 3.5  # Å
WORLD = MPI.COMM_WORLD


def particles_of_rank(rank: int, size: int) -> Configuration:
    """Return a crystal of which each rank has a slice; all other particles are listed as well."""
    atoms = crystal()
    particles = of_atoms(atoms, REACH, by_translation=True)
    slices = np.floor(atoms.get_scaled_positions()[:, 0] * size)
    contributing = np.zeros(len(particles), dtype=np.int32)
    contributing[: len(atoms)] = slices == rank
    return replace(particles, contributing=contributing)


def other_order(particles: Configuration) -> Configuration:
    """Return the same particles, so that which of them are images of which is found anew."""
    return particles.reordered(np.arange(len(particles))[::-1])


def failing(step: str, particles: Configuration) -> Configuration:
    """Return particles of which one is wrong."""
    if step == "species":
        return replace(particles, codes=np.where(np.arange(len(particles)) == 3, 7, particles.codes).astype(np.int32))
    if step == "coordinates":
        return particles.moved(3, 0, np.nan)
    if step == "owners":
        return particles.moved(len(particles) - 1, 0, 0.3)
    return particles


def no_neighbours(*_: object) -> tuple[np.ndarray, int]:
    """Fail as KIM's callback does."""
    return np.zeros(0, dtype=np.int32), 1


def energy(model: KimpyModel, step: str, is_failing: bool) -> float:
    """Return this rank's part of the energy in a step."""
    particles = particles_of_rank(WORLD.rank, WORLD.size)
    if step in ("scale", "bad scale"):
        # The first parameter is the number of elements.
        model.model.set_parameter(1, 0, np.nan if is_failing and step == "bad scale" else 2.0)
        model.model.clear_then_refresh()
    if step == "neighbours of another list":
        particles = other_order(particles)
    if not is_failing:
        return float(model.compute(particles, (ENERGY, FORCES))[0][0])
    # kimpy's own lists crash where coordinates are no numbers.
    neighbours = no_neighbours if step.startswith(("neighbours", "coordinates")) else None
    return float(model.compute(failing(step, particles), (ENERGY, FORCES), neighbours=neighbours)[0][0])


def main() -> None:
    """Compute all steps; no rank goes on to one before all have ended the last."""
    model, found = KimpyModel(sys.argv[1]), []
    for step in sys.argv[2:]:
        try:
            found.append(energy(model, step, WORLD.rank == WORLD.size - 1))
        except RuntimeError:
            found.append("has failed")
        WORLD.Barrier()
    # In one piece, so that lines do not mix.
    sys.stdout.write(json.dumps(found) + "\n")


main()
