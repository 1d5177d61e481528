# SPDX-License-Identifier: LGPL-2.1-or-later
"""Configurations as simulators hand them over: particles, some of them not contributing."""

import itertools
from dataclasses import dataclass

import numpy as np
from slow_neighbours import SlowNeighbours


@dataclass
class Configuration:
    coordinates: np.ndarray
    species_codes: np.ndarray
    contributing: np.ndarray

    def __post_init__(self):
        self.coordinates = np.array(self.coordinates, dtype=np.float64).reshape(-1, 3)
        self.species_codes = np.array(self.species_codes, dtype=np.int32)
        self.contributing = np.array(self.contributing, dtype=np.int32)

    def __len__(self):
        return len(self.species_codes)

    def neighbours(self):
        return SlowNeighbours(self.coordinates, self.contributing)

    def in_order(self, order):
        """Return the same particles in another order."""
        return Configuration(self.coordinates[order], self.species_codes[order], self.contributing[order])

    def moved(self, coordinates):
        return Configuration(coordinates, self.species_codes, self.contributing)


def spread(n, edge, seed, closest=0.9):
    """Return n random points in a cube, no two of them closer than `closest`."""
    random = np.random.default_rng(seed)
    points = np.empty((0, 3))
    while len(points) < n:
        point = random.uniform(0, edge, 3)
        if (np.linalg.norm(points - point, axis=1) >= closest).all():
            points = np.vstack([points, point])
    return points


def cluster(n=14, edge=3.6, seed=1, n_contributing=None, n_species=1):
    """Return a compact cluster; contributing particles come first."""
    flags = np.arange(n) < (n if n_contributing is None else n_contributing)
    return Configuration(spread(n, edge, seed), np.arange(n) % n_species, flags)


def interleaved(configuration, seed=0):
    """Return the particles in an arbitrary order, contributing ones among the others."""
    return configuration.in_order(np.random.default_rng(seed).permutation(len(configuration)))


def with_images(coordinates, cell, reach, periodic=(True, True, True), n_species=1):
    """Return a periodic configuration: its own particles contribute, their images within reach do not.

    Args:
        coordinates: Coordinates inside the cell, shape [n, 3].
        cell: Edge lengths of the rectangular cell, shape [3].
        reach: Thickness of the layer of images around the cell.
        periodic: Flags of the directions that repeat.
        n_species: Number of species; the particles get their codes in turn.
    """
    coordinates, cell = np.asarray(coordinates), np.asarray(cell, dtype=float)
    copies = [range(-c, c + 1) for c in np.where(periodic, np.ceil(reach / cell), 0).astype(int)]
    low, high = coordinates.min(axis=0) - reach, coordinates.max(axis=0) + reach
    codes = np.arange(len(coordinates)) % n_species
    points, species, flags = [coordinates], [codes], [np.ones(len(coordinates))]
    for shift in itertools.product(*copies):
        if any(shift):
            images = coordinates + np.array(shift) * cell
            near = ((images >= low) & (images <= high)).all(axis=1)
            points.append(images[near])
            species.append(codes[near])
            flags.append(np.zeros(near.sum()))
    return Configuration(np.concatenate(points), np.concatenate(species), np.concatenate(flags))


def owner_of_image(coordinates, configuration, cell):
    """Return, for each particle of a periodic configuration, the index in `coordinates` of what it is an image of."""
    difference = configuration.coordinates[:, None] - np.asarray(coordinates)[None]
    difference -= np.round(difference / cell) * cell
    return np.linalg.norm(difference, axis=2).argmin(axis=1)
