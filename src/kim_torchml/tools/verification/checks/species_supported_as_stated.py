# SPDX-License-Identifier: LGPL-2.1-or-later
"""The model can compute a cluster of two or more atoms with each species that it claims to support."""

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from kim_torchml.tools.kim_host.model import ModelError
from kim_torchml.tools.kim_host.structure import Floats, Structure
from kim_torchml.tools.verification.checks.base import Check
from kim_torchml.tools.verification.grades import FAILED, PASSED
from kim_torchml.tools.verification.model_under_test import ModelUnderTest
from kim_torchml.tools.verification.result import CheckOutcome

SIZES = (1, 2, 3, 4)
SAMPLES = 3
# If there are more clusters than this, a random selection is computed, which has clusters of each species alone.
MOST_CLUSTERS = 200


def run(under_test: ModelUnderTest) -> CheckOutcome:
    """Compute the energy of small clusters of all combinations of species."""
    random = under_test.random("species-supported-as-stated")
    clusters = _clusters(under_test.species, random)
    rows, computed, last_error = [], Counter[str](), ""
    for index, cluster in enumerate(clusters):
        succeeded = 0
        for _ in range(SAMPLES):
            try:
                under_test.energy(_structure(under_test, cluster, random))
                succeeded += 1
            except ModelError as error:
                last_error = str(error)
        # A model may compute a single atom without any knowledge of its species.
        if succeeded and len(cluster) > 1:
            computed.update(set(cluster))
        rows.append({"configuration": "".join(cluster), "computed": f"{succeeded} of {SAMPLES}"})
        under_test.progress((index + 1) / len(clusters))
    missing = [species for species in under_test.species if not computed[species]]
    if missing:
        reason = f" ({last_error})" if last_error else ""
        comment = f"{', '.join(missing)}: stated as supported, but no cluster with it could be computed{reason}."
        return CheckOutcome(FAILED, None, comment, {"rows": rows, "missing": missing})
    partly = sum(row["computed"] != f"{SAMPLES} of {SAMPLES}" for row in rows)
    refused = f"; {partly} of {len(rows)} combinations were refused at least once" if partly else ""
    names = ", ".join(under_test.species) if len(under_test.species) <= 8 else f"all {len(under_test.species)} species"
    return CheckOutcome(PASSED, None, f"Energies of clusters with {names} can be computed{refused}.", {"rows": rows})


def _clusters(species: Sequence[str], random: np.random.Generator) -> list[tuple[str, ...]]:
    """Return the species of each cluster: all combinations of up to four atoms, or a selection if there are many."""
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


def _structure(under_test: ModelUnderTest, species: Sequence[str], random: np.random.Generator) -> Structure:
    """Return atoms at random places in a ball, none closer to another than 0.8 of the distance in the fcc crystal."""
    nearest = under_test.nearest("fcc", under_test.species)
    positions: list[Floats] = []
    while len(positions) < len(species):
        place = random.uniform(-1.2, 1.2, 3) * nearest
        if np.linalg.norm(place) < 1.2 * nearest and all(
            np.linalg.norm(place - other) > 0.8 * nearest for other in positions
        ):
            positions.append(place)
    return Structure(tuple(species), np.array(positions), np.eye(3))


CHECK = Check("species-supported-as-stated", run)
