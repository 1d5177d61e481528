// SPDX-License-Identifier: LGPL-2.1-or-later
#include "neighbours/neighbour_lists_binding.hpp"

#include <pybind11/numpy.h>

#include <cmath>
#include <stdexcept>
#include <string>
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

// (edge_index int64 [2, E], particles int64 [2, E], vectors float64 [E, 3])
py::tuple to_tuple(RowEdges edges) {
    const auto count = static_cast<py::ssize_t>(edges.vectors.size / 3);
    return py::make_tuple(to_edge_index(std::move(edges.rows)), to_edge_index(std::move(edges.particles)),
                          to_numpy(std::move(edges.vectors), {count, 3}));
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
    LayeredEdges layered;
    {
        const GilRelease released(release_gil_);
        use_cutoff(cutoff);
        layered = scratch_->layered_edges(n_layers);
    }
    return py::make_tuple(to_numpy(std::move(layered.particle_of_row))) + to_tuple(std::move(layered.edges));
}

py::object NeighbourAccess::folded_edges(double cutoff, const RowOfParticle& row_of_particle) {
    if (row_of_particle.ndim() != 1 || row_of_particle.size() != configuration_.n) {
        throw std::invalid_argument("`row_of_particle` must have one entry for each of the " +
                                    std::to_string(configuration_.n) + " particles, got " +
                                    std::to_string(row_of_particle.size()) + " in " +
                                    std::to_string(row_of_particle.ndim()) + " dimension(s)");
    }
    const std::int64_t* const rows = row_of_particle.data();
    std::optional<RowEdges> edges;
    {
        const GilRelease released(release_gil_);
        use_cutoff(cutoff);
        edges = scratch_->folded_edges(rows);
    }
    return edges ? py::object(to_tuple(std::move(*edges))) : py::none();
}

py::array_t<bool> NeighbourAccess::reached(double cutoff) {
    HeapArray<bool> is_reached;
    {
        const GilRelease released(release_gil_);
        use_cutoff(cutoff);
        is_reached = scratch_->reached();
    }
    return to_numpy(std::move(is_reached));
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
        .def("folded_edges", &NeighbourAccess::folded_edges, py::arg("cutoff"), py::arg("row_of_particle"))
        .def("reached", &NeighbourAccess::reached, py::arg("cutoff"))
        .def("closest_pair", &NeighbourAccess::closest_pair)
        .def("most_neighbours", &NeighbourAccess::most_neighbours);
}

}  // namespace kim_torchml
