# SPDX-License-Identifier: LGPL-2.1-or-later
"""Folding from step to step: what moves, is strained, listed anew, changes species or number; and who is asked when."""

import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from folding_cases import SKIN, padded
from folding_differences import ADVICE, difference, rows_of_step
from folding_mutations import changed
from folding_structures import Structure, crystal, primitive, water
from paddings import ase, sorted_by_bins

from kim_torchml.inputs.folding.errors import FoldingRefusedError
from kim_torchml.inputs.folding.folding import Folding
from kim_torchml.inputs.folding.inference import Known, infer
from kim_torchml.inputs.folding.rows import ParticleList

CUTOFF = 5.0


class Simulator:
    """Hands configurations to one Folding and counts what it asks for."""

    def __init__(self, cutoff=CUTOFF):
        self.folding = Folding()
        self.cutoff = cutoff
        self.asked = 0

    def rows(self, made):
        """Return the rows of a configuration, which are checked, and whether `reached` was asked."""
        needed, before = made.reached(self.cutoff), self.asked
        rows = rows_of_step(self.folding, made, self.cutoff, lambda: self._answer(needed))
        assert difference(made, rows, needed) == ""
        return rows, self.asked - before

    def _answer(self, needed):
        self.asked += 1
        return needed


def silicon(cells=2, displaced=0.05):
    return crystal("diamond", cells, cells, cells).displaced(displaced)


def listed_anew(made, structure, simulator, by_bins=False):
    """Return the list that a simulator makes of the contributing particles where they are, and in which box."""
    points, codes = made.coordinates[made.own], made.species_codes[made.own]
    cell = structure.cell.copy()
    cell[list(structure.periodic)] = made.lattice
    if by_bins:
        order = sorted_by_bins(points, cell, 0.5 * (CUTOFF + SKIN))
        points, codes = points[order], codes[order]
    return padded(replace(structure, coordinates=points, species_codes=codes, cell=cell), simulator, CUTOFF)


def random_steps(made, random, size):
    return random.normal(0.0, size, (len(made.own), 3))


@pytest.mark.parametrize("simulator", ["LAMMPS", "ASE"])
def test_moving_coordinates(simulator):
    made, random, host = padded(silicon(), simulator, CUTOFF), np.random.default_rng(1), Simulator()
    _, asked = host.rows(made)
    assert asked == 1
    for _ in range(20):
        made = made.moved(random_steps(made, random, 0.005))
        _, asked = host.rows(made)
        assert asked == 0


def test_nothing_moves():
    made, host = padded(silicon(), "LAMMPS", CUTOFF), Simulator()
    first, _ = host.rows(made)
    again, asked = host.rows(made)
    assert asked == 0
    assert np.array_equal(first.row_of_particle, again.row_of_particle)
    assert np.abs(first.shifts @ first.lattice - again.shifts @ again.lattice).max() < 1e-9


@pytest.mark.parametrize("displaced", [0.05, 0.0], ids=["displaced", "perfect"])
def test_strain_in_every_step(displaced):
    """A barostat changes the lattice in every step: it is fitted again, and owners need not be inferred again."""
    made, random, host = padded(silicon(3, displaced), "LAMMPS", CUTOFF), np.random.default_rng(2), Simulator()
    before, _ = host.rows(made)
    for _ in range(20):
        strain = np.tril(random.uniform(-3e-4, 3e-4, (3, 3)))
        made = made.strained(strain).moved(random_steps(made, random, 0.003 if displaced else 0.0))
        rows, asked = host.rows(made)
        assert asked == 0
        assert np.abs(rows.lattice - before.lattice).max() > 1e-6
        before = rows


@pytest.mark.parametrize("strain", [0.0, 2e-3], ids=["constant box", "strained box"])
@pytest.mark.parametrize("by_bins", [False, True], ids=["same order", "sorted"])
@pytest.mark.parametrize("simulator", ["LAMMPS", "ASE"])
def test_listing_anew(simulator, by_bins, strain):
    """Atoms cross the faces of the box; they and their images are listed anew every few steps."""
    structure, random, host = silicon(3), np.random.default_rng(3), Simulator()
    made = padded(structure, simulator, CUTOFF)
    host.rows(made)
    for _ in range(6):
        for _ in range(3):
            made = made.strained(np.tril(random.uniform(-strain, strain, (3, 3)) / 3))
            made = made.moved(random_steps(made, random, 0.1))
            _, asked = host.rows(made)
            assert asked <= 1
        made = listed_anew(made, structure, simulator, by_bins)
        _, asked = host.rows(made)
        assert asked == 1


@pytest.mark.parametrize("build", [
    lambda: crystal("diamond", 3, 3, 2).displaced(0.05).bounded(True, True, False),
    lambda: crystal("fcc", 2, 2, 4).displaced(0.05).bounded(False, False, True),
    lambda: crystal("diamond", 2, 2, 2).sheared(0.2, -0.1, 0.3).displaced(0.05),
    lambda: water(4, displaced=0.2, turned=True),
    lambda: crystal("diamond", 3, 3, 3),
    lambda: crystal("diamond", 4, 4, 4).with_foreign(),
    lambda: crystal("CsCl", 1, 1, 1),
], ids=["slab", "wire", "triclinic", "molecules", "perfect", "foreign atom", "two atoms"])  # fmt: skip
def test_listing_anew_after_a_strain(build):
    """A relaxation of the cell strains by a percent and more from list to list."""
    structure, random, host = build(), np.random.default_rng(4), Simulator()
    made = padded(structure, "LAMMPS", CUTOFF)
    host.rows(made)
    for _ in range(3):
        made = made.strained(np.tril(random.uniform(-0.01, 0.01, (3, 3))))
        made = listed_anew(made, structure, "LAMMPS")
        # Where the list is the same but for the strain, the lattice needs to be fitted only.
        _, asked = host.rows(made)
        assert asked <= 1


def test_other_order_of_as_many_particles():
    """Atoms and images change places in the list, and nothing else: the numbers stay."""
    made, random, host = padded(silicon(), "ASE", CUTOFF), np.random.default_rng(5), Simulator()
    host.rows(made)
    for _ in range(3):
        _, asked = host.rows(made.interleaved(random))
        assert asked == 1


def test_a_flip_of_the_box():
    """LAMMPS flips a tilt of more than half of an edge: other translations, the same lattice, another list."""
    structure, host = silicon(3), Simulator()
    for tilt in (0.49, 0.51, -0.49, 0.49):
        host.rows(padded(structure.tilted(tilt, 0.0, 0.0), "LAMMPS", CUTOFF))


def test_species_that_change_with_their_images():
    """An exchange of two atoms of different species, as Monte Carlo makes it, leaves the owners as they are."""
    structure, random, host = silicon().with_random_species(2), np.random.default_rng(6), Simulator()
    made = padded(structure, "LAMMPS", CUTOFF)
    host.rows(made)
    for _ in range(5):
        codes = made.species_codes[made.own]
        one, other = random.choice(np.flatnonzero(codes == 0)), random.choice(np.flatnonzero(codes == 1))
        codes[[one, other]] = codes[[other, one]]
        made = replace(made, species_codes=codes[made.row_of_particle])
        _, asked = host.rows(made)
        assert asked <= 1


def test_an_image_that_changes_its_species_alone():
    made, host = padded(silicon(), "LAMMPS", CUTOFF), Simulator()
    host.rows(made)
    image = nearest_image(made)
    with pytest.raises(FoldingRefusedError, match=ADVICE) as raised:
        host.rows(replace(made, species_codes=changed(made.species_codes, image, 5)))
    assert f"particle {image}" in str(raised.value)


def nearest_image(made):
    """Return the image that is nearest to the middle of the contributing particles; it has edges."""
    middle = made.coordinates[made.own].mean(axis=0)
    return int(made.images[np.linalg.norm(made.coordinates[made.images] - middle, axis=1).argmin()])


def test_an_image_that_moves_without_its_owner():
    """The step at which it happens is refused; the next one is as right as before."""
    made, host = padded(silicon(), "LAMMPS", CUTOFF), Simulator()
    host.rows(made)
    image = nearest_image(made)
    wrong = changed(made.coordinates, image, made.coordinates[image] + 1e-3)
    with pytest.raises(FoldingRefusedError, match=ADVICE) as raised:
        host.rows(replace(made, coordinates=wrong))
    assert f"particle {image}" in str(raised.value)
    host.rows(made)


def test_other_numbers_of_particles():
    structure, host = silicon(3), Simulator()
    for kept in (len(structure), len(structure) - 1, 100, 101, len(structure)):
        part = replace(
            structure, coordinates=structure.coordinates[:kept], species_codes=structure.species_codes[:kept]
        )
        _, asked = host.rows(padded(part, "LAMMPS", CUTOFF))
        assert asked == 1


def with_stray(made, distance):
    """Add a particle that is nobody's image, so far below the lowest contributing particle."""
    lowest = made.coordinates[made.own][made.coordinates[made.own][:, 2].argmin()]
    stray = lowest - [0.0, 0.0, distance]
    return ParticleList(
        np.vstack([made.coordinates, stray]),
        np.append(made.species_codes, made.species_codes[0]).astype(np.int32),
        np.append(made.contributing, False),
    )


def test_an_image_that_appears_with_an_edge():
    """A particle that no edge needs may be nobody's image; once an edge needs it, owners are inferred again."""
    made = padded(silicon(2).bounded(True, True, False), "LAMMPS", CUTOFF)
    folding, asked = Folding(), []

    def reached(needs_stray):
        asked.append(needs_stray)
        return np.append(made.reached(CUTOFF), needs_stray)

    particles = with_stray(made, 6.0)
    rows = folding.rows(particles, CUTOFF, lambda: reached(False))
    assert rows.row_of_particle[-1] == -1
    assert not rows.shifts[-1].any()
    near = with_stray(made, 4.0)
    assert folding.rows(near, CUTOFF, lambda: reached(False)).row_of_particle[-1] == -1
    assert asked == [False]
    folding.forget()
    with pytest.raises(FoldingRefusedError, match=ADVICE) as raised:
        folding.rows(near, CUTOFF, lambda: reached(True))
    assert f"particle {len(made)}" in str(raised.value)
    assert asked == [False, True]


def test_forgetting_asks_again():
    made, host = padded(silicon(), "LAMMPS", CUTOFF), Simulator()
    for _ in range(3):
        _, asked = host.rows(made)
        assert asked == 1
        host.folding.forget()


def test_a_cluster():
    """Nothing is folded, whatever moves, comes or goes."""
    cluster, random, host = silicon().bounded(False, False, False), np.random.default_rng(7), Simulator()
    made = padded(cluster, "LAMMPS", CUTOFF)
    for _ in range(3):
        rows, asked = host.rows(made)
        assert asked <= 1
        assert np.array_equal(rows.row_of_particle, np.arange(len(made)))
        assert rows.lattice.shape == (0, 3)
        assert rows.shifts.shape == (len(made), 0)
        made = made.moved(random_steps(made, random, 0.05))
    host.rows(padded(silicon(), "LAMMPS", CUTOFF))
    host.rows(made)


def test_no_particles_and_none_that_contributes():
    folding = Folding()
    none = ParticleList(np.zeros((0, 3)), np.zeros(0, dtype=np.int32), np.zeros(0, dtype=bool))
    rows = folding.rows(none, CUTOFF, lambda: np.zeros(0, dtype=bool))
    assert rows.n_own == 0
    assert rows.row_of_particle.shape == (0,)
    alone = ParticleList(np.array([[0.0] * 3, [3.0] * 3]), np.zeros(2, dtype=np.int32), np.zeros(2, dtype=bool))
    rows = folding.rows(alone, CUTOFF, lambda: np.zeros(2, dtype=bool))
    assert rows.n_own == 0
    assert rows.row_of_particle.tolist() == [-1, -1]


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e100, 3e5])
@pytest.mark.parametrize("of_image", [False, True], ids=["contributing", "image"])
def test_coordinates_that_cannot_be_told_apart(value, of_image):
    """Rounding so far from the origin is as large as displacements of atoms are; the next step is right again."""
    made, host = padded(silicon(), "LAMMPS", CUTOFF), Simulator()
    host.rows(made)
    place = int(made.images[7] if of_image else made.own[7])
    wrong = replace(made, coordinates=changed(made.coordinates, (place, 1), value)).particles()
    expected = rf"coordinates must be numbers and within 2.5e5 Å of the origin.* got particle {place} at .*=staged"
    for folding in (host.folding, Folding()):
        with pytest.raises(FoldingRefusedError, match=expected):
            folding.rows(wrong, CUTOFF, lambda: np.ones(len(made), dtype=bool))
    host.rows(made)
    # A cluster has no images that must be told apart.
    cluster = ParticleList(wrong.coordinates, wrong.species_codes, np.ones(len(made), dtype=bool))
    assert Folding().rows(cluster, CUTOFF, lambda: np.ones(len(made), dtype=bool)).n_own == len(made)


def test_atoms_at_one_place():
    """They are no reason to refuse a cluster; where there are images, they are what the refusal names."""
    twice = replace(silicon(), coordinates=changed(silicon().coordinates, 9, silicon().coordinates[4]))
    rows, _ = Simulator().rows(padded(twice.bounded(False, False, False), "LAMMPS", CUTOFF))
    assert rows.row_of_particle.tolist() == list(range(64))
    expected = r"may be at one place, got particle 4 at .* and particle 9 at .* Å; remove one of the two$"
    with pytest.raises(FoldingRefusedError, match=expected):
        Simulator().rows(padded(twice, "LAMMPS", CUTOFF))


def test_images_that_are_missing_are_told_of_once():
    """An atom drifts away from the others, cell by cell, and its images are not listed."""
    made, said = padded(silicon(), "ASE", CUTOFF), []
    folding, drifting = Folding(said.append), made.owner == 5
    for cells in (0, 3, 4, 5):
        listed = np.ones(len(made), dtype=bool) if cells == 0 else made.contributing | ~drifting
        coordinates = made.coordinates + np.where(drifting[:, None], cells * made.lattice[0], 0.0)
        particles = ParticleList(coordinates[listed], made.species_codes[listed], made.contributing[listed])
        folding.rows(particles, CUTOFF, partial(np.ones, len(particles), dtype=bool))
        folding.forget()
        assert len(said) == (cells > 0)
    assert "lacks the image of particle" in said[0]


def test_images_that_are_missing_where_no_edge_shows_it():
    """Two atoms that have left each other by cells: no image is within the cutoff, and others are not listed."""
    structure, said = primitive("diamond").displaced(0.02), []
    points = structure.coordinates + np.array([[0.0], [3.0]]) * structure.cell[0]
    made = ase(points, structure.species_codes, structure.cell, 3.0)
    needed = made.reached(3.0)
    assert np.array_equal(needed, made.contributing)
    folding = Folding(said.append)
    for _ in range(2):
        rows = folding.rows(made.particles(), 3.0, lambda: needed)
        assert (rows.row_of_particle[made.images] == -1).all()
        folding.forget()
    assert len(said) == 1
    assert re.search("lacks the image of particle .* spread over .* cells; energies and forces are wrong: ", said[0])


def test_a_known_lattice_is_not_trusted_in_a_supercell():
    """A supercell of a large cell, in a box sheared by a vector of that cell, and then in the straight box."""
    random, host = np.random.default_rng(10), Simulator(4.0)
    points, codes = random.uniform(0.0, 7.0, (20, 3)), random.integers(0, 2, 20)
    copies = (points + 7.0 * np.arange(5)[:, None, None] * np.array([0.0, 0.0, 1.0])).reshape(-1, 3)
    cell = np.diag([7.0, 7.0, 35.0])
    sheared = cell + np.array([[0.0, 0.0, 7.0], [0.0] * 3, [0.0] * 3])
    noisy = copies + random.normal(0.0, 0.03, copies.shape)
    for first in (sheared, cell):
        host.rows(ase(noisy, np.tile(codes, 5), first, 4.0))
        foreign = np.tile(codes, 5)
        foreign[45] = 3
        for second in (cell, sheared):
            host.rows(ase(copies, foreign, second, 4.0))


def test_an_earlier_lattice_is_not_trusted():
    """The lattice of an earlier box, sheared by a translation of the crystal, explains every image of this one."""
    structure = crystal("diamond", 4, 4, 4).with_foreign()
    box, sheared = (padded(structure.tilted(tilt, 0.0, 0.0), "LAMMPS", CUTOFF) for tilt in (0.0, 0.125))
    step = np.array([0.0, 5.431 / 2, 5.431 / 2])
    for lattice in (box.lattice + step * [[1.0], [0.0], [0.0]], sheared.lattice, 2.0 * box.lattice):
        rows = infer(box.particles(), CUTOFF, known=Known(lattice, is_ordered=True, cell=np.eye(3)))
        assert difference(box, rows, np.ones(len(box), dtype=bool)) == ""


def test_each_folding_has_its_own_memory():
    """Two simulations in turns, as of a band of images with one calculator each."""
    hosts = [Simulator(), Simulator()]
    made = [padded(silicon(2), "LAMMPS", CUTOFF), padded(water(4, displaced=0.2), "ASE", CUTOFF)]
    random = np.random.default_rng(8)
    for step in range(4):
        for k, host in enumerate(hosts):
            _, asked = host.rows(made[k])
            assert asked == (step == 0)
            made[k] = made[k].moved(random_steps(made[k], random, 0.003))


def test_one_folding_for_two_systems_in_turns():
    """A band of images that share one calculator: each step is another system, or the same one elsewhere."""
    host, random = Simulator(), np.random.default_rng(9)
    structures: list[Structure] = [silicon(2), silicon(2).sheared(0.1, 0.0, 0.0), silicon(2).displaced(0.2)]
    for _ in range(3):
        for structure in structures:
            made = padded(structure, "ASE", CUTOFF)
            host.rows(made.moved(random_steps(made, random, 0.01)))


def test_an_atom_so_far_away_that_rounding_hides_images():
    made = padded(silicon(), "LAMMPS", CUTOFF)
    simulator = Simulator()
    simulator.rows(made)
    lost = made.particles().coordinates.copy()
    lost[3] += 1e8
    expected = (
        r"^coordinates must be numbers and within .*, got particle 3 at .*move the atoms towards the origin.*=staged"
    )
    particles = replace(made.particles(), coordinates=lost)
    with pytest.raises(FoldingRefusedError, match=expected):
        simulator.folding.rows(particles, CUTOFF, lambda: made.reached(CUTOFF))


def test_a_cluster_may_spread_as_far_as_it_likes():
    points = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1e8, 0.0, 0.0]])
    particles = ParticleList(points, np.zeros(3, dtype=np.int32), np.ones(3, dtype=bool))
    rows = Folding().rows(particles, CUTOFF, lambda: np.ones(3, dtype=bool))
    assert rows.row_of_particle.tolist() == [0, 1, 2]


@pytest.mark.parametrize("simulator", ["LAMMPS", "ASE"])
def test_the_image_that_is_wrong_is_named(simulator):
    """Without an earlier list, and in one whose order does not tell either."""
    made = padded(silicon(), simulator, CUTOFF)
    for listed in (made, made.shuffled(np.random.default_rng(11))):
        image = nearest_image(listed)
        moved = changed(listed.coordinates, image, listed.coordinates[image] + 1e-3)
        expected = rf"particle {image} at .*got none that it is an image of under the lattice that explains the others"
        with pytest.raises(FoldingRefusedError, match=expected):
            Simulator().rows(replace(listed, coordinates=moved))


def test_no_particle_contributes_but_images_have_edges():
    alone = ParticleList(np.zeros((1, 3)), np.zeros(1, dtype=np.int32), np.zeros(1, dtype=bool))
    expected = "particles that do not contribute must be images of contributing ones, got none; set KIM_TORCHML_EDGES="
    with pytest.raises(FoldingRefusedError, match=expected):
        infer(alone, CUTOFF)
