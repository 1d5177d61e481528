# SPDX-License-Identifier: LGPL-2.1-or-later
"""Neighbourhoods for descriptors, gradients of descriptors, and the same particles in another order."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from particles import spread

from kim_torchml.descriptors.base import Neighbourhoods


@dataclass
class Golden:
    """One file of golden data: the descriptor, and d(sum of weights * descriptor) / d(coordinates)."""

    neighbourhoods: Neighbourhoods
    species: tuple
    cutoff: float
    values: np.ndarray
    weights: np.ndarray
    gradient: np.ndarray


def surroundings(coordinates, species_codes, centres, lists, dtype=torch.float64, device="cpu"):
    """Neighbourhoods of some particles, given a list of neighbours of each."""

    def integers(values):
        return torch.tensor(np.asarray(values, dtype=np.int64), device=device)

    return Neighbourhoods(
        torch.tensor(np.asarray(coordinates), dtype=dtype, device=device),
        integers(species_codes),
        integers(centres),
        integers([len(found) for found in lists]),
        integers(np.concatenate([*lists, []])),
    )


def all_pairs(coordinates, species_codes=None, centres=None, **options):
    """Neighbourhoods in which each particle's neighbours are all others, however far."""
    n = len(coordinates)
    codes = np.zeros(n) if species_codes is None else species_codes
    centres = np.arange(n) if centres is None else np.asarray(centres)
    lists = [np.delete(np.arange(n), centre) for centre in centres]
    return surroundings(coordinates, codes, centres, lists, **options)


def random_cluster(n=12, edge=4.0, seed=1, n_species=2, n_centres=None, **options):
    """A cluster of several species; the centres are particles in random places of the list."""
    random = np.random.default_rng(seed)
    centres = np.sort(random.permutation(n)[: n_centres or n])
    return all_pairs(spread(n, edge, seed), random.integers(0, n_species, n), centres, **options)


def moved(neighbourhoods, coordinates):
    """The same with other coordinates."""
    return replace(neighbourhoods, coordinates=coordinates)


def on(neighbourhoods, dtype, device="cpu"):
    """The same with coordinates of another dtype, on another device."""
    names = ("species_codes", "centres", "counts", "neighbours")
    tensors = {name: getattr(neighbourhoods, name).to(device) for name in names}
    return Neighbourhoods(neighbourhoods.coordinates.detach().to(device, dtype), **tensors)


def values_and_gradient(descriptor, neighbourhoods, weights):
    """The descriptor, and d(sum of weights * descriptor) / d(coordinates)."""
    coordinates = neighbourhoods.coordinates.detach().clone().requires_grad_(True)
    values = descriptor(moved(neighbourhoods, coordinates))
    (gradient,) = torch.autograd.grad(values, coordinates, torch.as_tensor(weights).to(values))
    return values.detach(), gradient


def in_another_order(neighbourhoods, seed=0):
    """The same particles and neighbours in another order.

    Returns:
        The neighbourhoods; the new row of each old row; the new index of each old particle.
    """
    random = np.random.default_rng(seed)
    n = len(neighbourhoods.coordinates)
    old_of_new = random.permutation(n)
    new_of_old = np.argsort(old_of_new)
    lists = torch.split(neighbourhoods.neighbours, neighbourhoods.counts.tolist())
    centres = new_of_old[neighbourhoods.centres]
    order = np.argsort(centres)
    shuffled = surroundings(
        neighbourhoods.coordinates[old_of_new],
        neighbourhoods.species_codes[old_of_new],
        centres[order],
        [random.permutation(new_of_old[lists[row]]) for row in order],
    )
    return shuffled, torch.tensor(np.argsort(order)), torch.tensor(new_of_old)


def relative_error(found, expected):
    """The largest difference, relative to the largest entry."""
    expected = torch.as_tensor(expected)
    return ((found - expected).abs().max() / expected.abs().max()).item()
