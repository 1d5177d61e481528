// SPDX-License-Identifier: LGPL-2.1-or-later
#include "neighbours/neighbour_lists_binding.hpp"

#include <pybind11/numpy.h>

#include <algorithm>
#include <utility>

#include "gil.hpp"

namespace py = pybind11;

namespace kim_torchml {
namespace {

template <class Value>
py::array_t<Value> to_numpy(const std::vector<Value>& values) {
    return py::array_t<Value>(static_cast<py::ssize_t>(values.size()), values.data());
}

py::array_t<std::int64_t> to_edge_index(const Edges& edges) {
    const auto count = static_cast<py::ssize_t>(edges.first.size());
    py::array_t<std::int64_t> edge_index({static_cast<py::ssize_t>(2), count});
    std::int64_t* out = edge_index.mutable_data();
    std::copy(edges.second.begin(), edges.second.end(), std::copy(edges.first.begin(), edges.first.end(), out));
    return edge_index;
}

}  // namespace

NeighbourAccess::NeighbourAccess(const Configuration& configuration, NeighbourSource source, NeighbourLists* scratch,
                                 bool release_gil)
    : configuration_(configuration), source_(std::move(source)), scratch_(scratch), release_gil_(release_gil) {}

py::tuple NeighbourAccess::of_contributing(double cutoff) {
    ContributingNeighbours lists;
    {
        const GilRelease released(release_gil_);
        scratch_->reset(configuration_, source_, cutoff);
        lists = scratch_->of_contributing_particles();
    }
    return py::make_tuple(to_numpy(lists.counts), to_numpy(lists.neighbours));
}

py::list NeighbourAccess::staged_edges(double cutoff, int n_layers) {
    std::vector<Edges> stages;
    {
        const GilRelease released(release_gil_);
        scratch_->reset(configuration_, source_, cutoff);
        stages = scratch_->staged_edges(n_layers);
    }
    py::list edge_indices;
    for (const Edges& edges : stages) {
        edge_indices.append(to_edge_index(edges));
    }
    return edge_indices;
}

void bind_neighbour_access(py::module_& module) {
    py::class_<NeighbourAccess>(module, "NeighbourAccess", py::module_local())
        .def("of_contributing", &NeighbourAccess::of_contributing, py::arg("cutoff"))
        .def("staged_edges", &NeighbourAccess::staged_edges, py::arg("cutoff"), py::arg("n_layers"));
}

}  // namespace kim_torchml
