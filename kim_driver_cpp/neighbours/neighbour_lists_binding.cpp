// SPDX-License-Identifier: LGPL-2.1-or-later
#include "neighbours/neighbour_lists_binding.hpp"

#include <pybind11/numpy.h>

#include <cmath>
#include <utility>

#include "gil.hpp"

namespace py = pybind11;

namespace kim_torchml {
namespace {

// Hands the memory over to numpy, without a copy: the array's base is a capsule that frees it.
template <class Value>
py::array_t<Value> to_numpy(HeapArray<Value> array, std::vector<py::ssize_t> shape) {
    const py::capsule owner(array.values.get(), [](void* values) { delete[] static_cast<Value*>(values); });
    Value* const values = array.values.release();
    return py::array_t<Value>(std::move(shape), values, owner);
}

template <class Value>
py::array_t<Value> to_numpy(HeapArray<Value> array) {
    const auto size = static_cast<py::ssize_t>(array.size);
    return to_numpy(std::move(array), {size});
}

py::array_t<std::int64_t> to_edge_index(Edges edges) {
    const auto count = static_cast<py::ssize_t>(edges.size / 2);
    return to_numpy(std::move(edges), {2, count});
}

}  // namespace

NeighbourAccess::NeighbourAccess(const Configuration& configuration, NeighbourSource source, NeighbourLists* scratch,
                                 bool release_gil)
    : configuration_(configuration), source_(std::move(source)), scratch_(scratch), release_gil_(release_gil) {}

void NeighbourAccess::use_cutoff(double cutoff) {
    if (cutoff_of_lists_ != cutoff) {
        cutoff_of_lists_.reset();
        scratch_->reset(configuration_, source_, cutoff);
        cutoff_of_lists_ = cutoff;
    }
}

py::tuple NeighbourAccess::of_contributing(double cutoff) {
    ContributingNeighbours lists;
    {
        const GilRelease released(release_gil_);
        use_cutoff(cutoff);
        lists = scratch_->of_contributing_particles();
    }
    return py::make_tuple(to_numpy(std::move(lists.counts)), to_numpy(std::move(lists.neighbours)));
}

py::list NeighbourAccess::staged_edges(double cutoff, int n_layers) {
    std::vector<Edges> stages;
    {
        const GilRelease released(release_gil_);
        use_cutoff(cutoff);
        stages = scratch_->staged_edges(n_layers);
    }
    py::list edge_indices;
    for (Edges& edges : stages) {
        edge_indices.append(to_edge_index(std::move(edges)));
    }
    return edge_indices;
}

py::tuple NeighbourAccess::edges(double cutoff, int n_layers) {
    RowEdges edges;
    {
        const GilRelease released(release_gil_);
        use_cutoff(cutoff);
        edges = scratch_->row_edges(n_layers);
    }
    const auto count = static_cast<py::ssize_t>(edges.vectors.size / 3);
    return py::make_tuple(to_numpy(std::move(edges.particle_of_row)), to_edge_index(std::move(edges.rows)),
                          to_edge_index(std::move(edges.particles)), to_numpy(std::move(edges.vectors), {count, 3}));
}

py::object NeighbourAccess::closest_pair() const {
    const Extremes& extremes = scratch_->extremes();
    if (!cutoff_of_lists_ || extremes.closest_first < 0) {
        return py::none();
    }
    return py::make_tuple(extremes.closest_first, extremes.closest_second, std::sqrt(extremes.distance_squared));
}

py::object NeighbourAccess::most_neighbours() const {
    const Extremes& extremes = scratch_->extremes();
    if (!cutoff_of_lists_ || extremes.most_particle < 0) {
        return py::none();
    }
    return py::make_tuple(extremes.most_particle, extremes.most_neighbours);
}

void bind_neighbour_access(py::module_& module) {
    py::class_<NeighbourAccess>(module, "NeighbourAccess", py::module_local())
        .def("of_contributing", &NeighbourAccess::of_contributing, py::arg("cutoff"))
        .def("staged_edges", &NeighbourAccess::staged_edges, py::arg("cutoff"), py::arg("n_layers"))
        .def("edges", &NeighbourAccess::edges, py::arg("cutoff"), py::arg("n_layers"))
        .def("closest_pair", &NeighbourAccess::closest_pair)
        .def("most_neighbours", &NeighbourAccess::most_neighbours);
}

}  // namespace kim_torchml
