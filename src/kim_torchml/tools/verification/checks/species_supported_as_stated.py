# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every species that the model claims appears in at least one cluster of two atoms or more that it can compute."""

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from kim_torchml.tools.kim_host.model import ModelError
from kim_torchml.tools.kim_host.structure import Floats, Structure
from kim_torchml.tools.verification.checks.base import Check
from kim_torchml.tools.verification.grades import FAILED, PASSED
from kim_torchml.tools.verification.model_under_test import Bench
from kim_torchml.tools.verification.result import Finding

SIZES = (1, 2, 3, 4)
SAMPLES = 3
# Beyond this many clusters, a random selection, with every species alone in it.
MOST_CLUSTERS = 200


def run(bench: Bench) -> Finding:
    """Compute the energy of small clusters of all combinations of species."""
    random = bench.random("species-supported-as-stated")
    clusters = _clusters(bench.species, random)
    rows, computed, last_error = [], Counter[str](), ""
    for index, cluster in enumerate(clusters):
        succeeded = 0
        for _ in range(SAMPLES):
            try:
                bench.energy(_structure(bench, cluster, random))
                succeeded += 1
            except ModelError as error:
                last_error = str(error)
        # An atom alone does not show that the model knows what it is.
        if succeeded and len(cluster) > 1:
            computed.update(set(cluster))
        rows.append({"configuration": "".join(cluster), "computed": f"{succeeded} of {SAMPLES}"})
        bench.progress((index + 1) / len(clusters))
    missing = [species for species in bench.species if not computed[species]]
    if missing:
        reason = f" ({last_error})" if last_error else ""
        comment = f"{', '.join(missing)}: stated as supported, but no cluster with it could be computed{reason}."
        return Finding(FAILED, None, comment, {"rows": rows, "missing": missing})
    partly = sum(row["computed"] != f"{SAMPLES} of {SAMPLES}" for row in rows)
    refused = f"; {partly} of {len(rows)} combinations were refused at least once" if partly else ""
    names = ", ".join(bench.species) if len(bench.species) <= 8 else f"all {len(bench.species)} species"
    return Finding(PASSED, None, f"Energies of clusters with {names} can be computed{refused}.", {"rows": rows})


def _clusters(species: Sequence[str], random: np.random.Generator) -> list[tuple[str, ...]]:
    """Return the species of each cluster: all combinations up to four atoms, or a selection if they are many."""
    alone = [(name,) * size for name in species for size in SIZES]
    if len(species) > 12:
        mixed = [tuple(random.choice(list(species), size=size)) for size in SIZES[1:] for _ in range(20)]
        return [(str(name),) * 2 for name in species] + [tuple(map(str, names)) for names in mixed]
    every: list[Any] = [
        names
        for size in SIZES
        for names in itertools.combinations_with_replacement(species, size)
        if len(set(names)) > 1
    ]
    kept = random.permutation(len(every))[: max(0, MOST_CLUSTERS - len(alone))]
    return alone + [every[index] for index in sorted(kept)]


def _structure(bench: Bench, species: Sequence[str], random: np.random.Generator) -> Structure:
    """Return a cluster with atoms at random in a ball, none closer than 0.8 of the distance at which they interact."""
    nearest = bench.nearest("fcc", bench.species)
    positions: list[Floats] = []
    while len(positions) < len(species):
        place = random.uniform(-1.2, 1.2, 3) * nearest
        if np.linalg.norm(place) < 1.2 * nearest and all(
            np.linalg.norm(place - other) > 0.8 * nearest for other in positions
        ):
            positions.append(place)
    return Structure(tuple(species), np.array(positions), np.eye(3))


CHECK = Check("species-supported-as-stated", run)
