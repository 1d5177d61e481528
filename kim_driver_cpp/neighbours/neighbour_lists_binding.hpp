// SPDX-License-Identifier: LGPL-2.1-or-later
// What Python sees of the neighbour lists: an object that fills numpy arrays on request.
#pragma once

#include <pybind11/pybind11.h>

#include "neighbours/neighbour_lists.hpp"

namespace kim_torchml {

// Valid during one compute only. Its arrays own their memory: a model may keep them.
class NeighbourAccess {
  public:
    // release_gil: whether the source may be asked without the GIL.
    NeighbourAccess(const Configuration& configuration, NeighbourSource source, NeighbourLists* scratch,
                    bool release_gil);

    // (counts int32 [contributing], neighbours int32 [sum])
    pybind11::tuple of_contributing(double cutoff);

    // n_layers arrays int64 [2, E_k]
    pybind11::list staged_edges(double cutoff, int n_layers);

  private:
    Configuration configuration_;
    NeighbourSource source_;
    NeighbourLists* scratch_;
    bool release_gil_;
};

// Registers the class; once per library.
void bind_neighbour_access(pybind11::module_& module);

}  // namespace kim_torchml
