// SPDX-License-Identifier: LGPL-2.1-or-later
// kim_torchml.inputs._neighbour_lists: the driver's neighbour lists without KIM, made from lists that are given as
// arrays. It serves tests, benchmarks, and training with exactly the edges that the driver will give.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <memory>
#include <optional>
#include <stdexcept>

#include "neighbours/neighbour_lists_binding.hpp"

namespace py = pybind11;
using namespace kim_torchml;

namespace {

template <class Value>
using Array = py::array_t<Value, py::array::c_style | py::array::forcecast>;

// Owns what NeighbourAccess borrows.
class ArrayNeighbours {
  public:
    ArrayNeighbours(Array<double> coordinates, Array<std::int32_t> contributing, Array<std::int32_t> counts,
                    Array<std::int32_t> neighbours)
        : coordinates_(std::move(coordinates)),
          contributing_(std::move(contributing)),
          neighbours_(std::move(neighbours)) {
        const auto n = contributing_.size();
        if (coordinates_.ndim() != 2 || coordinates_.shape(0) != n || coordinates_.shape(1) != 3) {
            throw py::value_error("`coordinates` must have the shape [n, 3] with n = " + std::to_string(n));
        }
        if (counts.size() != n) {
            throw py::value_error("`counts` must have one entry for each of the " + std::to_string(n) +
                                  " particles, got " + std::to_string(counts.size()));
        }
        offsets_.push_back(0);
        for (py::ssize_t i = 0; i < n; ++i) {
            if (counts.at(i) < 0) {
                throw py::value_error("`counts` must not be negative, got " + std::to_string(counts.at(i)));
            }
            offsets_.push_back(offsets_.back() + counts.at(i));
        }
        if (offsets_.back() != neighbours_.size()) {
            throw py::value_error("`counts` must sum to the " + std::to_string(neighbours_.size()) +
                                  " neighbours given, got " + std::to_string(offsets_.back()));
        }
    }

    py::tuple of_contributing(double cutoff) {
        return fresh_access().of_contributing(cutoff);
    }

    py::list staged_edges(double cutoff, int n_layers) {
        return fresh_access().staged_edges(cutoff, n_layers);
    }

    py::tuple edges(double cutoff, int n_layers) {
        return fresh_access().edges(cutoff, n_layers);
    }

    py::object folded_edges(double cutoff, const RowOfParticle& row_of_particle) {
        return fresh_access().folded_edges(cutoff, row_of_particle);
    }

    py::array_t<bool> reached(double cutoff) {
        return fresh_access().reached(cutoff);
    }

    py::object closest_pair() {
        return last_access_ ? last_access_->closest_pair() : py::none();
    }

    py::object most_neighbours() {
        return last_access_ ? last_access_->most_neighbours() : py::none();
    }

  private:
    // Arrays may have changed since the last call.
    NeighbourAccess& fresh_access() {
        const Configuration configuration{static_cast<int>(contributing_.size()), coordinates_.data(),
                                          contributing_.data()};
        return last_access_.emplace(
            configuration,
            [this](int i) {
                const auto at = static_cast<std::size_t>(i);
                return NeighbourList{static_cast<int>(offsets_[at + 1] - offsets_[at]),
                                     neighbours_.data() + offsets_[at]};
            },
            &scratch_, true);
    }

    Array<double> coordinates_;
    Array<std::int32_t> contributing_;
    Array<std::int32_t> neighbours_;
    std::vector<py::ssize_t> offsets_;
    NeighbourLists scratch_;
    std::optional<NeighbourAccess> last_access_;
};

}  // namespace

PYBIND11_MODULE(_neighbour_lists, module) {
    module.doc() = "Neighbour lists filtered to a cutoff, and the edges of message-passing models.";
    py::class_<ArrayNeighbours>(module, "NeighbourLists",
                                "Neighbour lists given as arrays.\n\n"
                                "Args:\n"
                                "    coordinates: shape [n, 3], float64, Å.\n"
                                "    contributing: shape [n], int32, 1 = contributing.\n"
                                "    counts: length of each particle's list, shape [n], int32.\n"
                                "    neighbours: the lists one after the other, shape [sum of counts], int32.\n"
                                "Raises:\n"
                                "    ValueError: If the shapes disagree.")
        .def(py::init<Array<double>, Array<std::int32_t>, Array<std::int32_t>, Array<std::int32_t>>(),
             py::arg("coordinates"), py::arg("contributing"), py::arg("counts"), py::arg("neighbours"))
        .def("of_contributing", &ArrayNeighbours::of_contributing, py::arg("cutoff"),
             "Return (counts int32 [contributing], neighbours int32 [sum]) within the cutoff, sorted.")
        .def("staged_edges", &ArrayNeighbours::staged_edges, py::arg("cutoff"), py::arg("n_layers"),
             "Return E_1 ... E_L, each int64 [2, E_k], sorted by (first, second).")
        .def("edges", &ArrayNeighbours::edges, py::arg("cutoff"), py::arg("n_layers"),
             "Return (particle_of_row [rows], edge_index [2, E], particles [2, E], vectors [E, 3]), in order.")
        .def(
            "folded_edges", &ArrayNeighbours::folded_edges, py::arg("cutoff"), py::arg("row_of_particle"),
            "Return (edge_index [2, E], particles [2, E], vectors [E, 3]) of the edges from contributing particles.\n\n"
            "Args:\n"
            "    cutoff: in Å.\n"
            "    row_of_particle: row of each particle, shape [n], int64; -1 where it has none.\n"
            "Returns:\n"
            "    Rows and particles of (centre, neighbour), and vectors between them, sorted by the particles; None\n"
            "    where an edge leads to a particle without a row.\n"
            "Raises:\n"
            "    ValueError: If a row is none of 0 to n - 1, nor -1, or there is not one for each particle.")
        .def("reached", &ArrayNeighbours::reached, py::arg("cutoff"),
             "Return which particles contribute or are within the cutoff of one that does, bool [n].")
        .def("closest_pair", &ArrayNeighbours::closest_pair,
             "Return (first, second, distance in Å) of the closest pair within the last cutoff, or None.")
        .def("most_neighbours", &ArrayNeighbours::most_neighbours,
             "Return (particle, count) of the particle with the most neighbours, or None before lists were asked for.");
}
