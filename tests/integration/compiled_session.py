# SPDX-License-Identifier: LGPL-2.1-or-later
"""A model compiled and uncompiled in one process, with other numbers of particles in every compute.

test_compiled_through_kim.py runs it: python compiled_session.py MODEL COUNT. It prints one JSON object: the largest
deviations of energies (eV an atom) and forces (relative to the largest, at least 1 eV/Å), the different numbers of
particles, whether repeats had the same bits, and resident memory in bytes after every tenth compute.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
from configurations import Configuration, of_atoms
from example_models import silicon
from kimpy_host import KimpyModel

_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


def any_particles(random: np.random.Generator, whole: Configuration) -> Configuration:
    """Return some particles of many, moved a little, which contribute or not: those that do not are nobody's images."""
    chosen = random.permutation(len(whole))[: random.integers(1, len(whole))]
    coordinates = whole.coordinates[chosen] + random.normal(0.0, 0.02, (len(chosen), 3))
    return Configuration(coordinates, whole.codes[chosen], random.integers(0, 2, len(chosen)).astype(np.int32))


def main() -> None:
    name, count = sys.argv[1], int(sys.argv[2])
    compiled = KimpyModel(name)
    os.environ["KIM_TORCHML_COMPILE"] = "never"
    plain = KimpyModel(name)
    whole, random = of_atoms(silicon(), 4.0), np.random.default_rng(1)
    deviation, sizes, is_repeated, memory = [0.0, 0.0], set(), True, []
    for step in range(count):
        particles = any_particles(random, whole)
        found = [each.copy() for each in compiled.compute(particles)]
        again = [each.copy() for each in compiled.compute(particles)]
        is_repeated &= all(np.array_equal(one, other) for one, other in zip(found, again, strict=True))
        energy, forces = plain.compute(particles)
        n = max(int(particles.contributing.sum()), 1)
        deviation[0] = max(deviation[0], abs(found[0] - energy).item() / n)
        deviation[1] = max(deviation[1], np.abs(found[1] - forces).max() / max(np.abs(forces).max(), 1.0))
        sizes.add(len(particles))
        if step % 10 == 0:
            memory.append(resident())
    print(json.dumps({"deviation": deviation, "sizes": len(sizes), "is_repeated": bool(is_repeated), "memory": memory}))


if __name__ == "__main__":
    main()
