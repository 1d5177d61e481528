# SPDX-License-Identifier: LGPL-2.1-or-later
"""Lists that more than one lattice may read: nothing but a defect deeper than the halo tells which one is right."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from effort import seed, times
from folding_cases import padded
from folding_differences import difference, rows_of_step
from folding_structures import chains, crystal, layers, water
from paddings import ase

from kim_torchml.inputs.folding.errors import FoldingRefusedError
from kim_torchml.inputs.folding.folding import Folding
from kim_torchml.inputs.folding.frames import is_framed
from kim_torchml.inputs.folding.inference import infer
from kim_torchml.inputs.folding.list_order import Mapping

# Structures, each with a cutoff in Å that is shorter than from one chain, layer or molecule to the next, or not.
BUILDERS = {
    "chains": (lambda random: chains(int(random.integers(4, 9)), random.integers(1, 5, 2)), (2.6, 4.8)),
    "layers": (lambda random: layers(*random.integers([3, 2, 1], [5, 4, 3])), (1.5, 3.2)),
    "molecules": (lambda random: water(int(random.integers(2, 5))), (2.5, 4.0)),
    "simple cubic": (lambda random: crystal("simple cubic", *random.integers(2, 6, 3)), (3.4, 5.0)),
    "fcc": (lambda random: crystal("fcc", *random.integers(1, 5, 3)), (2.6, 4.0)),
}


def made_at_random(random):
    """Return the name of a perfect structure, its list in a box that a translation of it may shear, and the cutoff."""
    name = str(random.choice(list(BUILDERS)))
    build, cutoffs = BUILDERS[name]
    structure = build(random)
    if random.random() < 0.5:
        structure = structure.sheared_box(random)
    cutoff = float(random.uniform(*cutoffs))
    return name, padded(structure, str(random.choice(["LAMMPS", "ASE"])), cutoff), cutoff


def deep_atom(made, random):
    """Return the index, among the contributing particles, of one that has no image; None if all have."""
    deep = np.flatnonzero(~np.isin(made.own, made.owner[made.images]))
    return int(random.choice(deep)) if len(deep) else None


def with_defect(made, place, random):
    """Return the list with another species at one contributing particle, or with that displaced."""
    if random.random() < 0.5:
        codes = made.species_codes.copy()
        codes[made.own[place]] += 5
        return replace(made, species_codes=codes)
    return made.moved(0.2 * random.normal(size=3) * (np.arange(len(made.own)) == place)[:, np.newaxis])


def outcome(folding, made, cutoff):
    """Return "right", "refused", or what is wrong; owners that are symmetries of the system are right."""
    needed = made.reached(cutoff)
    try:
        rows = rows_of_step(folding, made, cutoff, lambda: needed)
    except FoldingRefusedError as refusal:
        assert "KIM_TORCHML_EDGES=staged" in str(refusal)
        return "refused"
    return difference(replace(made, is_ordered=False), rows, needed) or "right"


@pytest.mark.parametrize("is_perfect_at_first", [False, True])
def test_random_structures_with_a_deep_defect(is_perfect_at_first):
    """The defect is there from the beginning, or it comes later, in a list that was read when all was perfect."""
    start, found = seed(21), Counter()
    random = np.random.default_rng(start)
    while found.total() < times(80):
        name, made, cutoff = made_at_random(random)
        place = deep_atom(made, random)
        if place is None or len(made) > 1500:
            continue
        folding = Folding()
        if is_perfect_at_first:
            assert outcome(folding, made, cutoff) in ("right", "refused"), (start, found)
        what = outcome(folding, with_defect(made, place, random), cutoff)
        assert what in ("right", "refused"), (start, found, name)
        found[name, what] += 1
    # Chains, layers and molecules that are apart may have two readings; crystals have one.
    for name in ("simple cubic", "fcc"):
        assert found[name, "right"] > 10 * found[name, "refused"], found


def by_distance(made):
    """Return the list with its images sorted by their distance from the middle of the contributing particles."""
    middle = made.coordinates[made.own].mean(axis=0)
    order = np.argsort(np.linalg.norm(made.coordinates[made.images] - middle, axis=1), kind="stable")
    return made.arranged(np.concatenate([made.own, made.images[order]]), is_ordered=False)


def by_owner(made):
    """Return the list with the images of one owner after those of the one before."""
    order = np.argsort(made.owner[made.images], kind="stable")
    return made.arranged(np.concatenate([made.own, made.images[order]]), is_ordered=False)


def test_no_chance_order_is_taken_for_evidence():
    """A lattice may give each image a translation of its own: that is in blocks in whatever order."""
    start, found = seed(22), Counter()
    random = np.random.default_rng(start)
    while found.total() < times(60):
        made = padded(chains(int(random.integers(3, 7)), random.integers(1, 4, 2)), "ASE", 3.5)
        place = deep_atom(made, random)
        if place is None:
            continue
        made = with_defect(made, place, random)
        arrangement = random.integers(3)
        made = (made.shuffled(random), by_distance(made), by_owner(made))[arrangement]
        what = outcome(Folding(), made, 3.5)
        assert what in ("right", "refused"), (start, found, arrangement)
        found[what] += 1
    assert min(found.values()) > 5


def test_when_an_order_is_evidence():
    def tells(owners, shifts, n_own=9):
        blocks = np.array(shifts)
        return Mapping(np.arange(len(owners)), np.array(owners), blocks[:, None], blocks).tells_owners(n_own)

    assert tells([*range(9)] * 2, [1] * 9 + [2] * 9)
    assert not tells([*range(9)] * 2, [1, 2] * 9)
    assert not tells([*range(9), *range(8, -1, -1)], [1] * 9 + [2] * 9)
    # Each alone in its block; few; all of one particle, but of many that contribute.
    assert not tells(range(9), range(9))
    assert not tells([0, 1, 0, 1], [1, 1, 2, 2])
    assert not tells([0] * 30, range(30))
    assert tells([0] * 30, range(30), n_own=1)


@pytest.mark.parametrize("order", [[0, 1, 2], [1, 2, 0]], ids=["x", "z"])
def test_chains_that_may_go_on_in_themselves_or_in_the_next(order):
    """A box with straight edges and one that is tilted by the distance of two chains give lists that both can read."""
    structure, said = chains(6, (12, 1)).with_foreign(), []
    points = structure.coordinates[:, order]
    for tilt in (0.0, -6.0, 6.0):
        cell = structure.cell.copy()
        cell[0, 1] = tilt
        made = ase(points, structure.species_codes, cell[np.ix_(order, order)], 4.0)
        needed = made.reached(4.0)
        try:
            assert difference(made, infer(made.particles(), 4.0, needed), needed) == ""
        except FoldingRefusedError as refusal:
            said.append(str(refusal))
    assert said
    assert all(
        "are a crystal that is perfect near the boundary but not everywhere, or apart and alike" in each
        for each in said
    )
    assert any("in a list whose order two lattices explain" in each for each in said)


def test_a_shorter_cutoff_than_from_chain_to_chain_is_what_matters():
    made = padded(chains(6, (4, 1)).with_foreign(), "ASE", 6.5)
    needed = made.reached(6.5)
    assert difference(made, infer(made.particles(), 6.5, needed), needed) == ""


@pytest.mark.parametrize("simulator", ["LAMMPS", "ASE"])
@pytest.mark.parametrize(
    "build",
    [
        lambda: crystal("diamond", 3, 3, 3),
        lambda: crystal("fcc", 4, 4, 4).sheared(0.2, -0.1, 0.3),
        lambda: crystal("simple cubic", 4, 3, 5).tilted(0.5, 0.0, 0.0),
        lambda: crystal("diamond", 4, 4, 3).bounded(True, True, False),
        lambda: crystal("diamond", 2, 2, 4).bounded(False, False, True),
        lambda: crystal("diamond", 3, 3, 3).displaced(0.1),
        lambda: water(4, displaced=0.2),
    ],
    ids=["perfect", "triclinic", "tilted", "slab", "wire", "displaced", "molecules"],
)
def test_simulators_list_frames(build, simulator):
    made = padded(build(), simulator, 5.0)
    assert is_framed(made.particles(), made.rows())
    # One image less, and it is no frame.
    missing = int(made.images[np.linalg.norm(made.coordinates[made.images], axis=1).argmin()])
    kept = np.arange(len(made)) != missing
    rows = made.rows()
    part = replace(rows, row_of_particle=rows.row_of_particle[kept], shifts=rows.shifts[kept])
    particles = made.particles()
    fewer = replace(
        particles,
        coordinates=particles.coordinates[kept],
        species_codes=particles.species_codes[kept],
        contributing=particles.contributing[kept],
    )
    assert not is_framed(fewer, part)


def test_a_sheared_lattice_reads_no_frame():
    """A translation of the crystal, added to one of the box, explains all images as well, in another frame."""
    made = padded(crystal("diamond", 4, 4, 4), "ASE", 5.0)
    sheared = made.lattice + np.array([[0.0, 2.7155, 2.7155], [0.0] * 3, [0.0] * 3])
    assert not is_framed(made.particles(), replace(made.rows(), lattice=sheared))


@pytest.mark.parametrize("code", [0, 1, 7])
def test_codes_of_species_do_not_matter(code):
    """A model's species are numbered in the model's order: a simulation of one need not have the first."""
    for structure in (crystal("diamond", 2, 2, 2), water(1), crystal("bcc", 3, 3, 3).with_foreign()):
        shifted = replace(structure, species_codes=structure.species_codes + code)
        made = padded(shifted, "LAMMPS", 5.0)
        needed = made.reached(5.0)
        assert difference(made, infer(made.particles(), 5.0, needed), needed) == ""
