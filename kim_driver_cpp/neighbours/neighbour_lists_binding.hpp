// SPDX-License-Identifier: LGPL-2.1-or-later
// What Python sees of the neighbour lists: an object that returns them, and edges, as numpy arrays.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <optional>

#include "neighbours/neighbour_lists.hpp"

namespace kim_torchml {

// Row of each particle, [n]. Numbers that are not whole are refused, not rounded.
using RowOfParticle = pybind11::array_t<std::int64_t, pybind11::array::c_style>;

// Valid during one compute only. Its arrays own their memory: a model may keep them. The source is asked once for each
// particle's list, however often lists or edges of the same cutoff are asked for.
class NeighbourAccess {
  public:
    // release_gil: whether the source may be asked without the GIL.
    NeighbourAccess(const Configuration& configuration, NeighbourSource source, NeighbourLists* scratch,
                    bool release_gil);

    // (counts int32 [contributing], neighbours int32 [sum])
    pybind11::tuple of_contributing(double cutoff);

    // n_layers arrays int64 [2, E_k]
    pybind11::list staged_edges(double cutoff, int n_layers);

    // (particle_of_row int64 [rows], edge_index int64 [2, E], particles int64 [2, E], vectors float64 [E, 3])
    pybind11::tuple edges(double cutoff, int n_layers);

    // (edge_index int64 [2, E], particles int64 [2, E], vectors float64 [E, 3]), or None where an edge leads to a
    // particle that has no row.
    pybind11::object folded_edges(double cutoff, const RowOfParticle& row_of_particle);

    // bool [n]: contributing particles, and those within the cutoff of one.
    pybind11::array_t<bool> reached(double cutoff);

    // (first, second, distance in Å) of the closest pair; None where no two particles are within the cutoff, or no list
    // was asked for: the scratch memory may hold those of the last compute.
    pybind11::object closest_pair() const;

    // (particle, number of its neighbours), of the one that has most; None where no list was asked for.
    pybind11::object most_neighbours() const;

  private:
    void use_cutoff(double cutoff);

    Configuration configuration_;
    NeighbourSource source_;
    NeighbourLists* scratch_;
    bool release_gil_;
    std::optional<double> cutoff_of_lists_;  // cutoff of the lists in the scratch memory, once there are any
};

// Registers the class. Call this once per library.
void bind_neighbour_access(pybind11::module_& module);

}  // namespace kim_torchml
