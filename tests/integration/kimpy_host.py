# SPDX-License-Identifier: LGPL-2.1-or-later
"""A KIM model run through kimpy, with nothing in between."""

import copy
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import kimpy
import kimpy.neighlist
import numpy as np
from configurations import Configuration
from scipy.spatial import cKDTree

ENERGY = "partialEnergy"
FORCES = "partialForces"
PARTICLE_ENERGIES = "partialParticleEnergy"
VIRIAL = "partialVirial"
PARTICLE_VIRIALS = "partialParticleVirial"
SKIN = 0.5  # Å

_SHAPES = {
    ENERGY: lambda n: (1,),
    FORCES: lambda n: (n, 3),
    PARTICLE_ENERGIES: lambda n: (n,),
    VIRIAL: lambda n: (6,),
    PARTICLE_VIRIALS: lambda n: (n, 6),
}
_OF_ALL = (ENERGY, VIRIAL)


def _named(name: str) -> kimpy.compute_argument_name.ComputeArgumentName:
    return getattr(kimpy.compute_argument_name, name)


class KimpyModel:
    """A model and one set of compute arguments, in Å and eV unless other units are asked for."""

    def __init__(
        self, name: str, with_arguments: bool = True, length: str = "A", energy: str = "eV", scale: float = 1.0
    ) -> None:
        """Create the model; `scale` is one Å in the unit of length."""
        self._scale = scale
        accepted, self.model = kimpy.model.create(
            kimpy.numbering.zeroBased,
            getattr(kimpy.length_unit, length),
            getattr(kimpy.energy_unit, energy),
            kimpy.charge_unit.unused,
            kimpy.temperature_unit.unused,
            kimpy.time_unit.unused,
            name,
        )
        assert accepted
        if with_arguments:
            self.create_arguments()

    def create_arguments(self) -> None:
        """Create new compute arguments, which makes the driver probe the model."""
        self.arguments = self.model.compute_arguments_create()

    def with_own_arguments(self) -> "KimpyModel":
        """Return the same model with compute arguments of its own, for another thread."""
        same = copy.copy(self)
        same.create_arguments()
        return same

    @property
    def cutoff(self) -> float:
        """Cutoff of the model's only neighbour list, in the unit of length that the model was created with."""
        cutoffs, _ = self.model.get_neighbor_list_cutoffs_and_hints()
        (cutoff,) = cutoffs
        return float(cutoff)

    def supports(self, name: str) -> bool:
        """Return whether an output is supported, which KIM calls optional; check that it is not supported otherwise."""
        status = self.arguments.get_argument_support_status(_named(name))
        assert status in (kimpy.support_status.optional, kimpy.support_status.notSupported)
        return status == kimpy.support_status.optional

    def compute(
        self,
        configuration: Configuration,
        outputs: Sequence[str] = (ENERGY, FORCES),
        release_gil: bool = False,
        fill: float = np.nan,
        neighbours: Callable | None = None,
        claimed_n: int | None = None,
    ) -> list[np.ndarray]:
        """Return outputs in the order of `outputs`, from arrays that held `fill` before.

        `neighbours` is a callback in place of kimpy's own lists, which reach one skin beyond the cutoff.
        `claimed_n` is a wrong number of particles to give to the model.
        """
        n = len(configuration)
        # The arrays are kept here because KIM only borrows them. They have at least one entry, so that KIM gets no NULL
        # pointers where there are no particles.
        self._inputs = {
            "numberOfParticles": np.array([n if claimed_n is None else claimed_n], dtype=np.int32),
            "particleSpeciesCodes": np.resize(configuration.codes, max(n, 1)).astype(np.int32),
            "particleContributing": np.resize(configuration.contributing, max(n, 1)).astype(np.int32),
            "coordinates": np.resize(configuration.coordinates, (max(n, 1), 3)).astype(np.float64),
        }
        # A caller may compute once more with the same arguments, and have dropped what this returns.
        self._results = results = {name: np.full(_SHAPES[name](max(n, 1)), fill) for name in outputs}
        for name, values in (self._inputs | results).items():
            self.arguments.set_argument_pointer(_named(name), values)
        for name in _SHAPES:
            if name not in outputs:
                self.arguments.set_argument_null_pointer(_named(name))
        self._set_neighbours(configuration, neighbours)
        self.model.compute(self.arguments, release_gil)
        return [values if name in _OF_ALL else values[:n] for name, values in results.items()]

    def _set_neighbours(self, configuration: Configuration, callback: Callable | None) -> None:
        get_neighbours = kimpy.compute_callback_name.GetNeighborList
        if callback is None and self._scale != 1.0:
            callback = self._lists_from_python(configuration)
        if callback is not None:
            self.arguments.set_callback(get_neighbours, callback, {})
            return
        self._lists = kimpy.neighlist.create()
        if len(configuration) > 0:
            reach = self.model.get_influence_distance() + SKIN
            everyone = np.ones(len(configuration), dtype=np.int32)
            self._lists.build(configuration.coordinates, reach, np.array([self.cutoff + SKIN]), everyone)
        self.arguments.set_callback_pointer(get_neighbours, kimpy.neighlist.get_neigh_kim(), self._lists)

    def _lists_from_python(self, configuration: Configuration) -> Callable:
        """Return a neighbour callback for units other than Å: kimpy's lists refuse the small numbers in cm or m."""
        points = configuration.coordinates / self._scale
        found = cKDTree(points).query_ball_point(points, self.cutoff / self._scale + SKIN)
        lists = [np.setdiff1d(neighbours, i).astype(np.int32) for i, neighbours in enumerate(found)]
        return lambda _, __, ___, particle: (lists[particle], 0)


def computed_together(
    hosts: Sequence[KimpyModel],
    particles: Sequence[Configuration],
    times: int,
    outputs: Sequence[str] = (ENERGY, FORCES),
    release_gil: bool = False,
) -> list[list[list[np.ndarray]]]:
    """Return what hosts give, each for its own particles so many times, in threads that begin at the same moment."""
    together = threading.Barrier(len(hosts))

    def work(index: int) -> list[list[np.ndarray]]:
        together.wait(timeout=30)
        return [hosts[index].compute(particles[index], outputs, release_gil=release_gil) for _ in range(times)]

    with ThreadPoolExecutor(len(hosts)) as pool:
        return list(pool.map(work, range(len(hosts))))


def energy(model: KimpyModel, configuration: Configuration) -> float:
    """Return the partial energy, eV."""
    (value,) = model.compute(configuration, (ENERGY,))
    return float(value[0])


def minus_gradient(model: KimpyModel, configuration: Configuration, particle: int, step: float = 1e-4) -> np.ndarray:
    """Return a particle's force by central differences of the energy of fourth order, eV/Å."""
    force = np.empty(3)
    for axis in range(3):
        e = {k: energy(model, configuration.moved(particle, axis, k * step)) for k in (-2, -1, 1, 2)}
        force[axis] = -(e[-2] - 8.0 * e[-1] + 8.0 * e[1] - e[2]) / (12.0 * step)
    return force
