# SPDX-License-Identifier: LGPL-2.1-or-later
"""The proof of a mapping: right ones pass, and none that is wrong, be it in one place or everywhere."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from effort import seed, times
from folding_cases import CASES
from folding_differences import ADVICE
from folding_mutations import MUTATIONS, changed, remapped, sheared
from folding_structures import crystal, primitive
from paddings import ase, lammps

from kim_torchml.inputs.folding.errors import FoldingRefusedError
from kim_torchml.inputs.folding.proof import prove

# Right mappings that are changed: lists with and without order, all kinds of boxes.
BASES = (
    "displaced; LAMMPS, listed",
    "displaced; LAMMPS, shuffled",
    "displaced little; LAMMPS, interleaved",
    "perfect; ASE, listed",
    "perfect, foreign atom deeper than the halo; LAMMPS, listed",
    "random species on a perfect lattice; LAMMPS, listed",
    "triclinic, displaced; LAMMPS, shuffled",
    "triclinic, perfect; LAMMPS, interleaved",
    "tilts of half boxes, perfect; LAMMPS, listed",
    "slab, displaced; ASE, listed",
    "wire, perfect; LAMMPS, listed",
    "box much smaller than the cutoff; ASE, listed",
    "two atoms, triclinic; LAMMPS, listed",
    "molecules, parallel; LAMMPS, listed",
    "far, displaced; LAMMPS, listed",
    "perfect; LAMMPS, noise of 1e-09",
)


def is_refused(particles, rows, cutoff):
    try:
        prove(particles, rows, cutoff)
    except FoldingRefusedError:
        return True
    return False


@pytest.fixture(scope="module")
def bases():
    return {name: CASES[name].make() for name in BASES}


@pytest.mark.parametrize("name", BASES)
def test_right_mappings_are_proven(bases, name):
    prove(bases[name].particles(), bases[name].rows(), CASES[name].cutoff)


def test_every_right_mapping_of_an_ordered_list_is_proven():
    for case in CASES.values():
        padded = case.make()
        if padded.is_ordered:
            prove(padded.particles(), padded.rows(), case.cutoff, padded.reached(case.cutoff))


def test_mutations_in_one_place_are_refused(bases):
    start, tried = seed(11), 0
    random = np.random.default_rng(start)
    while tried < times(1000):
        mutation, name = MUTATIONS[tried % len(MUTATIONS)], random.choice(BASES)
        mutated = mutation(bases[name], random)
        if mutated is not None:
            assert is_refused(*mutated, CASES[name].cutoff), (start, tried, mutation.__name__, name)
            tried += 1


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_refusal_says_what_to_do(bases, mutation):
    with pytest.raises(FoldingRefusedError, match=ADVICE) as raised:
        prove(*mutation(bases[BASES[0]], np.random.default_rng(12)), 5.0)
    assert len(str(raised.value)) < 500


# What is done to rows, and what is said of it.
MALFORMED = {
    "fewer rows": (lambda rows: replace(rows, n_own=rows.n_own - 1), "must have the row of its place"),
    "more rows": (lambda rows: replace(rows, n_own=rows.n_own + 1), "must have the row of its place"),
    "a particle less": (
        lambda rows: replace(rows, row_of_particle=rows.row_of_particle[:-1], shifts=rows.shifts[:-1]),
        r"rows must be those of \d+ particles, got \d+",
    ),
    "a row too high": (
        lambda rows: replace(rows, row_of_particle=changed(rows.row_of_particle, -1, rows.n_own)),
        r"rows must be from 0 to \d+, or -1, got others",
    ),
    "a row below -1": (
        lambda rows: replace(rows, row_of_particle=changed(rows.row_of_particle, -1, -2)),
        r"rows must be from 0 to \d+, or -1, got others",
    ),
    "a translation less": (lambda rows: replace(rows, lattice=rows.lattice[:-1]), "rows must be those of"),
    "no translations": (
        lambda rows: replace(rows, lattice=rows.lattice[:0], shifts=rows.shifts[:, :0]),
        r"particle \d+ at .* must be away from its owner, particle \d+, by a translation",
    ),
    "a shift less": (lambda rows: replace(rows, shifts=rows.shifts[:, :-1]), "rows must be those of"),
    "not a number": (
        lambda rows: replace(rows, lattice=changed(rows.lattice, (0, 0), np.nan)),
        "the lattice must be finite numbers, got others",
    ),
    "a translation twice": (
        lambda rows: replace(rows, lattice=changed(rows.lattice, 1, rows.lattice[0])),
        r"must be where its owner, particle \d+, and the lattice place it, got a distance of",
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_mappings_are_refused(bases, name):
    padded = bases["displaced; LAMMPS, listed"]
    change, message = MALFORMED[name]
    with pytest.raises(FoldingRefusedError, match=message):
        prove(padded.particles(), change(padded.rows()), 5.0)


def test_images_may_lack_owners_where_none_has_an_edge(bases):
    padded = bases["displaced; LAMMPS, listed"]
    rows, is_own = padded.rows(), padded.particles().contributing
    unmapped = replace(
        rows,
        row_of_particle=np.where(is_own, rows.row_of_particle, -1),
        shifts=np.where(is_own[:, None], rows.shifts, 0),
    )
    prove(padded.particles(), unmapped, 4.0, is_own)
    # One edge is enough: what a lattice leaves of a list speaks against it.
    needed = is_own.copy()
    needed[padded.particles().images[0]] = True
    for each in (needed, None):
        with pytest.raises(FoldingRefusedError, match=ADVICE):
            prove(padded.particles(), unmapped, 4.0, each)


def test_lattices_sheared_by_the_vector_between_two_atoms_are_refused(bases):
    names = ("perfect, foreign atom deeper than the halo; LAMMPS, listed", "displaced; LAMMPS, listed",
             "random species on a perfect lattice; LAMMPS, listed", "molecules, parallel; LAMMPS, listed")  # fmt: skip
    random, tried = np.random.default_rng(seed(13)), 0
    while tried < times(60):
        name = names[tried % len(names)]
        padded = bases[name]
        mutated = sheared(padded, random)
        if mutated is not None and not np.array_equal(mutated[1].row_of_particle, padded.row_of_particle):
            assert is_refused(*mutated, CASES[name].cutoff), (tried, mutated[1].lattice)
            tried += 1


def in_order(padded, is_shuffled):
    return padded.shuffled(np.random.default_rng(14)) if is_shuffled else padded


@pytest.mark.parametrize("is_shuffled", [False, True])
@pytest.mark.parametrize("simulator", [lammps, ase])
@pytest.mark.parametrize("defect", ["with_foreign", "with_vacancy"])
@pytest.mark.parametrize("name", ["diamond", "fcc"])
def test_defect_deeper_than_the_halo(name, defect, simulator, is_shuffled):
    """A lattice sheared by a translation of the crystal explains every image, but not what lies deeper."""
    structure = getattr(crystal(name, *[{"diamond": 4, "fcc": 5}[name]] * 3), defect)()
    made = simulator(structure.coordinates, structure.species_codes, structure.cell, 6.0)
    padded, edge = in_order(made, is_shuffled), {"diamond": 5.431, "fcc": 3.61}[name]
    seen = 0
    for along, (one, other) in product(range(3), [(1, 2), (2, 1)]):
        # The translation lies in the face that the box's own one starts from.
        step = np.zeros(3)
        step[(along + one) % 3], step[(along + other) % 3] = edge / 2, (-1) ** one * edge / 2
        lattice = padded.lattice.copy()
        lattice[along] += step
        rows, explains_all = remapped(padded, lattice)
        wrong = rows.row_of_particle != padded.row_of_particle
        assert explains_all and 0.1 < wrong.mean() < 0.6
        with pytest.raises(FoldingRefusedError, match=ADVICE):
            prove(padded.particles(), rows, 6.0)
        seen += 1
    assert seen == 6


@pytest.mark.parametrize("is_shuffled", [False, True])
@pytest.mark.parametrize("simulator", [lammps, ase])
def test_lattices_that_predict_missing_images(simulator, is_shuffled):
    """Diamond is body-centred cubic with half of the sites empty: denser lattices explain every image of it."""
    structure = primitive("diamond")
    made = simulator(structure.coordinates, structure.species_codes, structure.cell, 5.0)
    padded, seen = in_order(made, is_shuffled), 0
    needed = padded.reached(5.0)
    # The four bonds of the first atom, of which any three span the body-centred lattice.
    middle = structure.coordinates[1]
    images = (padded.shifts[padded.owner == padded.own[0]] @ padded.lattice) + structure.coordinates[0]
    bonds = [each - middle for each in images if np.linalg.norm(each - middle) < 2.5]
    dense = np.array(bonds[:3])
    for parity in product(range(2), repeat=3):
        if sum(parity):
            rows, explains_all = remapped(padded, sublattice(dense, parity))
            if explains_all and (rows.row_of_particle != padded.row_of_particle).any():
                with pytest.raises(FoldingRefusedError, match=ADVICE):
                    prove(padded.particles(), rows, 5.0, needed)
                seen += 1
    assert seen == 3


def test_a_list_without_order_that_is_too_long_to_look_at(bases, monkeypatch):
    padded = bases["displaced; LAMMPS, shuffled"]
    monkeypatch.setattr("kim_torchml.inputs.folding.completeness._MOST_PREDICTED", 1000)
    with pytest.raises(
        FoldingRefusedError, match=r"must be short enough to look at all images .*; simulate fewer atoms"
    ):
        prove(padded.particles(), padded.rows(), 5.0)


def sublattice(lattice, parity):
    """Return a basis of the combinations of vectors whose numbers, those of odd parity alone, have an even sum."""
    odd = np.flatnonzero(parity)
    basis = lattice.copy()
    basis[odd[0]] *= 2.0
    basis[odd[1:]] += lattice[odd[0]]
    return basis


@pytest.mark.parametrize("simulator", [lammps, ase])
def test_equivalent_contributing_particles_are_refused(simulator):
    """Half of a translation explains every image as well, in the same blocks, but maps the crystal onto itself."""
    structure = crystal("fcc", 2, 2, 2)
    padded = simulator(structure.coordinates, structure.species_codes, structure.cell, 5.0)
    rows = padded.rows()
    halved = replace(rows, lattice=rows.lattice * [[0.5], [1.0], [1.0]], shifts=rows.shifts * np.array([2, 1, 1]))
    with pytest.raises(FoldingRefusedError, match=ADVICE):
        prove(padded.particles(), halved, 5.0)


def test_an_image_at_the_place_of_its_owner_is_refused(bases):
    """A simulator that lists a contributing particle twice lists no image."""
    padded = bases["displaced; LAMMPS, listed"]
    particles, rows, image = padded.particles(), padded.rows(), int(padded.images[3])
    owner = int(padded.owner[image])
    twice = replace(particles, coordinates=changed(particles.coordinates, image, particles.coordinates[owner]))
    expected = rf"particle {image} at .* must be away from its owner, particle {owner}, .* the two are at one place"
    with pytest.raises(FoldingRefusedError, match=expected):
        prove(twice, replace(rows, shifts=changed(rows.shifts, image, 0)), 5.0)
