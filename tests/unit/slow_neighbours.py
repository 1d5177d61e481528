# SPDX-License-Identifier: LGPL-2.1-or-later
"""Neighbour lists and staged edges by plain loops and sets, from their definition.

With A_1 = contributing particles, for k = 1 to the number of layers:

    E_k     = {(i, j), (j, i) : i in A_k, j a neighbour of i within the cutoff}
    A_(k+1) = {j : j within the cutoff of some i in A_k}

Each E_k is sorted by (first, second). The tests use this code in place of the compiled part wherever they compute with
a model, and compare the compiled part with it.
"""

import math

import numpy as np


class SlowNeighbours:
    """Neighbours after the protocol `kim_torchml.inputs.Neighbours`.

    It works from all pairs of particles, however far apart, like a simulator whose lists reach as far as possible.
    """

    def __init__(self, coordinates, contributing):
        self._points = [tuple(map(float, point)) for point in coordinates]
        self._contributing = [i for i, flag in enumerate(contributing) if flag]
        self.asked = {}

    def neighbours(self, i, cutoff):
        """Return all particles within the cutoff of particle i, in ascending order."""
        here = self._points[i]
        self.asked[i] = [j for j, there in enumerate(self._points) if j != i and math.dist(here, there) <= cutoff]
        return self.asked[i]

    def closest_pair(self):
        pairs = [(math.dist(self._points[i], self._points[j]), i, j) for i, near in self.asked.items() for j in near]
        distance, first, second = min(pairs, default=(math.inf, -1, -1))
        return (first, second, distance) if pairs else None

    def most_neighbours(self):
        if not self.asked:
            return None
        particle = max(self.asked, key=lambda i: len(self.asked[i]))
        return particle, len(self.asked[particle])

    def of_contributing(self, cutoff):
        self.asked.clear()
        lists = [self.neighbours(i, cutoff) for i in self._contributing]
        counts = np.array([len(neighbours) for neighbours in lists], dtype=np.int32)
        return counts, np.array([j for neighbours in lists for j in neighbours], dtype=np.int32)

    def edges(self, cutoff, n_layers):
        self.asked.clear()
        members = set(self._contributing)
        for _ in range(n_layers - 1):
            members |= {j for i in members for j in self.neighbours(i, cutoff)}
        pairs = sorted({pair for i in members for j in self.neighbours(i, cutoff) for pair in ((i, j), (j, i))})
        rows = sorted({i for pair in pairs for i in pair} | set(self._contributing))
        row_of = {particle: row for row, particle in enumerate(rows)}
        particles = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        edge_index = np.array([[row_of[i], row_of[j]] for i, j in pairs], dtype=np.int64).reshape(-1, 2).T
        points = np.array(self._points).reshape(-1, 3)
        vectors = points[particles[1]] - points[particles[0]]
        return (
            np.array(rows, dtype=np.int64),
            np.ascontiguousarray(edge_index),
            np.ascontiguousarray(particles),
            vectors,
        )

    def folded_edges(self, cutoff, row_of_particle):
        self.asked.clear()
        edge_index, particles, vectors = [], [], []
        for i in self._contributing:
            for j in self.neighbours(i, cutoff):
                rows = (int(row_of_particle[i]), int(row_of_particle[j]))
                if -1 in rows:
                    return None
                edge_index.append(rows)
                particles.append((i, j))
                vectors.append([there - here for here, there in zip(self._points[i], self._points[j], strict=True)])
        pairs = (np.array(each, dtype=np.int64).reshape(-1, 2).T.copy() for each in (edge_index, particles))
        return (*pairs, np.array(vectors, dtype=np.float64).reshape(-1, 3))

    def reached(self, cutoff):
        self.asked.clear()
        near = {j for i in self._contributing for j in self.neighbours(i, cutoff)} | set(self._contributing)
        return np.array([i in near for i in range(len(self._points))], dtype=bool)

    def edge_sets(self, cutoff, n_layers):
        """Return [E_1, ..., E_L] as sets of pairs."""
        self.asked.clear()

        def neighbours(i):
            return self.asked[i] if i in self.asked else self.neighbours(i, cutoff)

        stages = []
        members = set(self._contributing)
        for _ in range(n_layers):
            stages.append({pair for i in members for j in neighbours(i) for pair in ((i, j), (j, i))})
            members = {j for i in members for j in neighbours(i)}
        return stages

    def staged_edges(self, cutoff, n_layers):
        stages = [sorted(edges) for edges in self.edge_sets(cutoff, n_layers)]
        return [np.array(edges, dtype=np.int64).reshape(-1, 2).T.copy() for edges in stages]
