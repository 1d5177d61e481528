# SPDX-License-Identifier: LGPL-2.1-or-later
"""Rows of several ranks: each image has the row of its owner, or of a copy of it, wherever that is."""

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ranks_in_threads import decomposed, on_ranks

from kim_torchml.inputs.folding import FoldingRefusedError, ParticleList
from kim_torchml.inputs.joint import JointFolding
from kim_torchml.process.communicator import OtherRankError, agreed

CUTOFF = 3.5


def silicon(*repeats, displaced=0.05):
    atoms = bulk("Si", "diamond", a=5.431, cubic=True) * repeats
    if displaced:
        atoms.rattle(displaced, seed=1)
    atoms.wrap()
    return atoms


def with_a_foreign_atom():
    """Return a perfect crystal with a foreign atom, deeper in its rank than images reach."""
    atoms = silicon(6, 3, 3, displaced=0.0)
    atoms.symbols[int(np.linalg.norm(atoms.positions - [6.0, 8.0, 8.0], axis=1).argmin())] = "Ge"
    return atoms


def tilted():
    atoms = silicon(3, 2, 2)
    atoms.set_cell(atoms.cell.array @ [[1.0, 0.0, 0.0], [0.3, 1.0, 0.0], [0.2, -0.1, 1.0]], scale_atoms=True)
    return atoms


def slab():
    atoms = silicon(3, 2, 2)
    atoms.cell[2, 2] += 20.0
    atoms.pbc = (True, True, False)
    return atoms


def cluster():
    atoms = silicon(3, 2, 2)
    atoms.center(vacuum=5.0)
    atoms.pbc = False
    return atoms


def at_one_end():
    """Return atoms that leave ranks without any."""
    atoms = silicon(1, 2, 2)
    atoms.cell[0, 0] = 40.0
    return atoms


def small():
    return Atoms("SiGe", positions=[[0.1, 0.2, 0.3], [1.4, 1.2, 2.7]], cell=np.diag([2.7, 2.6, 4.9]), pbc=True)


STRUCTURES = {
    "cubic": lambda: silicon(3, 2, 2),
    "perfect": lambda: silicon(3, 2, 2, displaced=0.0),
    "foreign atom": with_a_foreign_atom,
    "long": lambda: silicon(60, 1, 1),
    "tilted": tilted,
    "slab": slab,
    "cluster": cluster,
    "empty ranks": at_one_end,
    "smaller than the cutoff": small,
    "liquid": lambda: silicon(3, 2, 2, displaced=0.5),
}


def lists_of(atoms, size, **options):
    codes = np.where(atoms.symbols == "Ge", 1, 0)
    return decomposed(atoms.positions, codes, atoms.cell.array, atoms.pbc, size, CUTOFF + 0.3, **options)


def reached(particles):
    own = particles.coordinates[particles.own]
    distances = np.linalg.norm(particles.coordinates[:, None] - own, axis=2).min(axis=1, initial=np.inf)
    return distances < CUTOFF


def rows_on_ranks(lists, foldings):
    def rows(ranks):
        particles = lists[ranks.rank]
        with agreed(ranks):
            return foldings[ranks.rank].rows(particles, CUTOFF, lambda: reached(particles), ranks)

    return on_ranks(len(lists), rows)


def check_rows(rows, lists, atoms):
    """Check rows against the atoms that particles are images of."""
    own = [owner[: each.n_own] for each, owner in zip(rows, atoms, strict=True)]
    for rank, (each, particles, owner) in enumerate(zip(rows, lists, atoms, strict=True)):
        assert each.n_own == len(particles.own)
        atom_of_row = owner[each.particle_of_row]
        assert len(set(atom_of_row.tolist())) == each.n_rows
        has_row = each.row_of_particle >= 0
        np.testing.assert_array_equal(atom_of_row[each.row_of_particle[has_row]], owner[has_row])
        if each.n_own:
            assert has_row[reached(particles)].all()
        # What comes from each rank, in its order, is what the copies stand for.
        taken = []
        for other, theirs in enumerate(rows):
            ends = np.cumsum(theirs.n_given)
            given = theirs.given[ends[rank] - theirs.n_given[rank] : ends[rank]]
            assert len(given) == each.n_taken[other]
            taken.append(own[other][given])
        np.testing.assert_array_equal(np.concatenate(taken), atom_of_row[each.n_own :])


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("name", STRUCTURES)
def test_rows_are_those_of_owners(name, size):
    lists, atoms = lists_of(STRUCTURES[name](), size)
    foldings = [JointFolding() for _ in lists]
    rows = rows_on_ranks(lists, foldings)
    check_rows(rows, lists, atoms)


def check_refused(found):
    """Check that all ranks have failed for one reason, which the first says."""
    assert isinstance(found[0], FoldingRefusedError)
    for each in found[1:]:
        assert isinstance(each, OtherRankError)
        assert str(each) == f"another rank has failed, and says why; this one has failed too: {found[0]}"


def test_steps_keep_the_rows_and_other_lists_do_not():
    structure = silicon(3, 2, 2)
    lists, atoms = lists_of(structure, 2)
    foldings = [JointFolding() for _ in lists]
    first = rows_on_ranks(lists, foldings)
    # All atoms move with their images, and the cell is strained.
    steps = np.random.default_rng(1).normal(scale=0.02, size=(len(structure), 3))
    strain = np.eye(3) + 1e-4 * np.array([[1.0, 0.5, 0.0], [0.0, -1.0, 0.3], [0.0, 0.0, 2.0]])
    moved = [
        replace(each, coordinates=(each.coordinates + steps[atom]) @ strain)
        for each, atom in zip(lists, atoms, strict=True)
    ]
    again = rows_on_ranks(moved, foldings)
    assert [id(each) for each in again] == [id(each) for each in first]
    assert [each.n_planned for each in foldings] == [1, 1]
    # An image that does not move with its owner: nothing is taken for granted.
    wrong = moved[1].coordinates.copy()
    wrong[-1] += 0.3
    found = rows_on_ranks([moved[0], replace(moved[1], coordinates=wrong)], foldings)
    check_refused(found)
    # Particles that go to another rank: new rows, on all ranks.
    lists, atoms = lists_of(structure, 2, shuffled=True)
    check_rows(rows_on_ranks(lists, foldings), lists, atoms)


def moved(structure, step=0.3, strain=1e-4):
    """Return a structure some time later: atoms have moved, and the cell is strained."""
    later = structure.copy()
    later.positions += np.random.default_rng(2).normal(scale=step, size=(len(later), 3))
    later.set_cell(later.cell.array @ (np.eye(3) + strain * np.array([[1, 0.5, 0], [0, -1, 0.3], [0, 0, 2]])), True)
    later.wrap()
    return later


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("name", STRUCTURES)
def test_a_lattice_that_is_known_needs_no_list_of_all_ranks(name, size):
    structure = STRUCTURES[name]()
    foldings = [JointFolding() for _ in range(size)]
    rows_on_ranks(lists_of(structure, size)[0], foldings)
    for _ in range(2):
        for each in foldings:
            each.forget()
        # Only atoms that stay where they are leave a crystal perfect.
        structure = moved(structure, 0.0 if name in ("perfect", "foreign atom") else 0.3)
        lists, atoms = lists_of(structure, size)
        check_rows(rows_on_ranks(lists, foldings), lists, atoms)
        # Steps that follow keep these rows.
        again = rows_on_ranks([replace(each, coordinates=each.coordinates + 0.01) for each in lists], foldings)
        check_rows(again, lists, atoms)
    assert [each.n_planned for each in foldings] == [3] * size
    # Perfect crystals, with other lattices that explain images, and lists too short to have an order, must be looked at
    # as a whole.
    is_whole = name in ("perfect", "foreign atom") or (name == "smaller than the cutoff" and size > 1)
    assert [each.n_inferred for each in foldings] == [3 if is_whole else 1] * size


def test_part_of_a_system_may_be_a_perfect_crystal():
    structure = silicon(6, 3, 3, displaced=0.0)
    foldings = [JointFolding() for _ in range(2)]
    for seed in range(3):
        is_mobile = structure.positions[:, 2] > 0.4 * structure.cell[2, 2]
        structure.positions[is_mobile] += np.random.default_rng(seed).normal(scale=0.01, size=(is_mobile.sum(), 3))
        lists, atoms = lists_of(structure, 2)
        for each in foldings:
            each.forget()
        check_rows(rows_on_ranks(lists, foldings), lists, atoms)
    assert [each.n_inferred for each in foldings] == [1, 1]


def in_order_along_the_third_vector(atoms):
    atoms.wrap()
    return atoms[np.lexsort(np.round(atoms.get_scaled_positions(), 6).T)]


@pytest.mark.parametrize("size", [1, 2])
def test_another_box_whose_images_the_one_before_explains_in_order(size):
    structure = Atoms("Si", cell=np.eye(3) * 2.5, positions=[[0.1, 0.1, 0.1]], pbc=True) * (6, 6, 6)
    middle = np.linalg.norm(structure.positions - structure.cell.array.sum(axis=0) / 2, axis=1).argmin()
    structure.symbols[middle] = "Ge"
    foldings = [JointFolding() for _ in range(size)]
    rows_on_ranks(lists_of(in_order_along_the_third_vector(structure), size)[0], foldings)
    # As `change_box` without `remap` does it: all atoms stay where they are, and images of other atoms are listed.
    structure.set_cell(structure.cell.array + np.array([[0, 0, 2.5], [0, 0, 0], [0, 0, 0]]))
    lists, atoms = lists_of(in_order_along_the_third_vector(structure), size)
    check_rows(rows_on_ranks(lists, foldings), lists, atoms)
    assert [each.n_inferred for each in foldings] == [2] * size


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("particle", [0, -1])
def test_a_coordinate_that_is_no_number(particle, number):
    foldings = [JointFolding() for _ in range(2)]
    lists, _ = lists_of(silicon(3, 2, 2), 2)
    coordinates = lists[1].coordinates.copy()
    coordinates[particle, 1] = number
    for _ in range(2):
        found = rows_on_ranks([lists[0], replace(lists[1], coordinates=coordinates)], foldings)
        assert [type(each) for each in found] == [OtherRankError, FoldingRefusedError]
        assert "coordinates must be numbers and within 2.5e5 Å of the origin" in str(found[1])
        # The next time there is a lattice that was proven before.
        rows_on_ranks(lists, foldings)


class Asking:
    """Ranks of which one notes how many particles come from each when boxes are asked."""

    def __init__(self, ranks):
        self._ranks, self.rank, self.n_taken = ranks, ranks.rank, []
        self.all_are, self.gathered, self.agreed = ranks.all_are, ranks.gathered, ranks

    def exchanged(self, rows, n_given, n_taken):
        if rows.shape[1:] == (5,):
            self.n_taken.append(n_taken)
        return self._ranks.exchanged(rows, n_given, n_taken)


def test_ranks_ask_those_whose_boxes_meet_theirs():
    structure = silicon(16, 2, 2)
    foldings = [JointFolding() for _ in range(8)]
    rows_on_ranks(lists_of(structure, 8)[0], foldings)
    later = moved(structure)
    lists, atoms = lists_of(later, 8)
    asked = {}

    def rows(ranks):
        asking, particles = Asking(ranks), lists[ranks.rank]
        with agreed(ranks):
            found = foldings[ranks.rank].rows(particles, CUTOFF, lambda: reached(particles), asking)
        (asked[ranks.rank],) = asking.n_taken
        return found

    check_rows(on_ranks(8, rows), lists, atoms)
    for rank, n_taken in asked.items():
        beside = [(rank + 1) % 8, (rank - 1) % 8]
        assert set(np.flatnonzero(n_taken)) == {rank, *beside}
        assert n_taken[rank] == len(lists[rank].own)
        # What is farther away than images, with the margin of a box, is not asked for.
        assert (n_taken[beside] < 0.5 * len(lists[rank].own)).all()


def without_an_atom(structure):
    later = structure.copy()
    del later[-1]
    return later


def in_another_box(structure):
    later = structure.copy()
    later.set_cell(later.cell.array * 1.1, scale_atoms=False)
    return later


def far_strained(structure):
    later = structure.copy()
    later.set_cell(later.cell.array * 1.02, scale_atoms=True)
    return later


@pytest.mark.parametrize("change", [without_an_atom, in_another_box, far_strained])
def test_what_may_be_another_lattice_is_inferred_by_all(change):
    structure = silicon(3, 2, 2)
    foldings = [JointFolding() for _ in range(2)]
    rows_on_ranks(lists_of(structure, 2)[0], foldings)
    lists, atoms = lists_of(change(structure), 2)
    check_rows(rows_on_ranks(lists, foldings), lists, atoms)
    assert [each.n_inferred for each in foldings] == [2, 2]


@pytest.mark.parametrize("size", [1, 2])
def test_a_lattice_of_before_that_explains_a_crystal_in_another_box(size):
    """A box that is sheared by a vector of a crystal has the same images, of other atoms: the order of lists tells."""
    structure = with_a_foreign_atom()
    foldings = [JointFolding() for _ in range(size)]
    rows_on_ranks(lists_of(structure, size)[0], foldings)
    structure.cell[2, 0] += 5.431
    structure.wrap()
    lists, atoms = lists_of(structure, size)
    check_rows(rows_on_ranks(lists, foldings), lists, atoms)
    assert [each.n_inferred for each in foldings] == [2] * size


def with_another_species(lists):
    """Return lists in which one image is of another species than its owner."""
    codes = lists[1].species_codes.copy()
    codes[-1] += 1
    return [lists[0], replace(lists[1], species_codes=codes)]


def with_an_image_elsewhere(lists):
    coordinates = lists[1].coordinates.copy()
    coordinates[-1] += 0.3
    return [lists[0], replace(lists[1], coordinates=coordinates)]


def with_a_contributing_image(lists):
    """Return lists of which one has an image that contributes, and so is the image of a contributing particle."""
    last = lists[1]
    contributing = last.contributing.copy()
    contributing[-1] = True
    return [lists[0], replace(last, contributing=contributing)]


def with_a_particle_listed_twice(lists):
    coordinates = lists[1].coordinates.copy()
    coordinates[-1] = coordinates[lists[1].own[0]]
    return [lists[0], replace(lists[1], coordinates=coordinates)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (with_another_species, "must be a periodic image of a contributing particle"),
        (with_an_image_elsewhere, "must be a periodic image of a contributing particle"),
        (with_a_contributing_image, "must be a periodic image of a contributing particle"),
        (with_a_particle_listed_twice, "no particle may be where a contributing one is"),
    ],
)
def test_what_is_wrong_is_told_when_rows_are_found_anew(change, said):
    foldings = [JointFolding() for _ in range(2)]
    lists, _ = lists_of(silicon(3, 2, 2), 2)
    rows_on_ranks(lists, foldings)
    for each in foldings:
        each.forget()
    found = rows_on_ranks(change(lists), foldings)
    assert {type(each) for each in found} == {FoldingRefusedError, OtherRankError}
    assert said in " ".join(map(str, found))
    assert [each.n_inferred for each in foldings] == [2, 2]


def test_an_image_that_one_rank_alone_finds_too_far_away():
    """It is near enough to its owner for the lattice of before, and not for that of all images as they are now."""
    structure = silicon(3, 2, 2)
    foldings = [JointFolding() for _ in range(2)]
    lists, atoms = lists_of(structure, 2)
    rows_on_ranks(lists, foldings)
    changed = []
    for particles, atom in zip(lists, atoms, strict=True):
        shifts = (particles.coordinates - structure.positions[atom]) @ np.linalg.inv(structure.cell.array)
        coordinates = particles.coordinates.copy()
        coordinates[:, 1] -= 0.3 * particles.tolerance * np.rint(shifts[:, 1])
        changed.append(replace(particles, coordinates=coordinates))
        last = np.flatnonzero(np.rint(shifts[:, 1]) == 1)[-1]
    coordinates[last, 1] += 1.2 * lists[1].tolerance
    for each in foldings:
        each.forget()
    found = rows_on_ranks(changed, foldings)
    assert [each.n_inferred for each in foldings] == [2, 2]
    check_refused(found)


def test_a_perfect_crystal_without_an_order_is_refused_on_all_ranks():
    lists, _ = lists_of(with_a_foreign_atom(), 2, shuffled=True)
    found = rows_on_ranks(lists, [JointFolding(), JointFolding()])
    check_refused(found)
    assert "must be the only one possible, got two" in str(found[0])


def test_a_particle_where_a_contributing_one_is():
    lists, _ = lists_of(silicon(3, 2, 2), 2)
    first = lists[0]
    twice = ParticleList(
        np.concatenate([first.coordinates, first.coordinates[:1]]),
        np.concatenate([first.species_codes, first.species_codes[:1]]),
        np.concatenate([first.contributing, [False]]),
    )
    found = rows_on_ranks([twice, lists[1]], [JointFolding(), JointFolding()])
    assert "no particle may be where a contributing one is, got particle " in str(found[0])
    assert "remove one of the two" in str(found[0])
    assert isinstance(found[1], OtherRankError)
