// SPDX-License-Identifier: LGPL-2.1-or-later
#include "compute_arguments.hpp"

#include <pybind11/numpy.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "gil.hpp"

namespace py = pybind11;

namespace kim_torchml {
namespace {

namespace names = KIM::COMPUTE_ARGUMENT_NAME;

// All outputs that the driver knows. Python says which of them a model supports.
const std::vector<Output>& all_outputs() {
    static const std::vector<Output> all = {
        {names::partialEnergy, false, 0},        {names::partialForces, true, 3},
        {names::partialParticleEnergy, true, 0}, {names::partialVirial, false, 6},
        {names::partialParticleVirial, true, 6},
    };
    return all;
}

template <class Value>
Value* argument(const KIM::ModelComputeArguments& arguments, KIM::ComputeArgumentName name) {
    Value* pointer = nullptr;
    if (arguments.GetArgumentPointer(name, &pointer) != 0) {
        throw std::invalid_argument("the simulator has not declared its argument `" + name.ToString() + "`");
    }
    return pointer;
}

template <class Value>
Value* required_argument(const KIM::ModelComputeArguments& arguments, KIM::ComputeArgumentName name) {
    Value* pointer = argument<Value>(arguments, name);
    if (pointer == nullptr) {
        throw std::invalid_argument("the simulator's argument `" + name.ToString() + "` must not be NULL");
    }
    return pointer;
}

void check_species_codes(const int* codes, int n, int n_elements) {
    for (int i = 0; i < n; ++i) {
        if (codes[i] < 0 || codes[i] >= n_elements) {
            throw std::invalid_argument("`particleSpeciesCodes` must be codes from 0 to " +
                                        std::to_string(n_elements - 1) + ", got " + std::to_string(codes[i]) +
                                        " for particle " + std::to_string(i) +
                                        "; use the codes that KIM gives for the model's species");
        }
    }
}

void check_finite(const double* coordinates, int n) {
    const std::size_t count = 3 * static_cast<std::size_t>(n);
    for (std::size_t k = 0; k < count; ++k) {
        if (!std::isfinite(coordinates[k])) {
            throw std::invalid_argument("`coordinates` must be finite, got " + std::to_string(coordinates[k]) +
                                        " for particle " + std::to_string(k / 3) +
                                        "; the simulation has blown up before this step (check the time step and the "
                                        "initial configuration)");
        }
    }
}

const double* converted(const double* coordinates, int n, double factor, std::vector<double>* room) {
    const std::size_t count = 3 * static_cast<std::size_t>(n);
    room->resize(count);
    std::transform(coordinates, coordinates + count, room->begin(), [factor](double x) { return x * factor; });
    return room->data();
}

// Returns an array on memory that Python does not own. Without a base, pybind11 would copy the data: an empty capsule
// is the base.
template <class Value>
py::array_t<Value> borrowed(Value* data, std::vector<py::ssize_t> shape) {
    static_assert(sizeof(int) == sizeof(std::int32_t), "KIM's int must have 32 bits");
    // The capsule must not hold the address of the data: that is NULL where there are no particles, and a capsule
    // cannot hold NULL.
    static const char nothing = 0;
    return py::array_t<Value>(std::move(shape), data, py::capsule(&nothing, [](void*) {}));
}

py::array read_only(py::array array) {
    py::detail::array_proxy(array.ptr())->flags &= ~py::detail::npy_api::NPY_ARRAY_WRITEABLE_;
    return array;
}

}  // namespace

ComputeScratch::~ComputeScratch() {
    // A host may destroy arguments while Python ends, or afterwards: then nothing of Python's can be freed any more.
    if (Py_IsInitialized() == 0) {
        memory.release();
        return;
    }
    const GilLock gil;
    memory = py::object();
}

ComputeInputs read_inputs(const KIM::ModelComputeArguments& arguments, int n_elements, double to_angstrom,
                          std::vector<double>* room) {
    const int n = *required_argument<const int>(arguments, names::numberOfParticles);
    if (n < 0) {
        throw std::invalid_argument("`numberOfParticles` must not be negative, got " + std::to_string(n));
    }
    ComputeInputs inputs;
    inputs.configuration.n = n;
    if (n == 0) {
        return inputs;
    }
    inputs.species_codes = required_argument<const int>(arguments, names::particleSpeciesCodes);
    inputs.configuration.contributing = required_argument<const int>(arguments, names::particleContributing);
    inputs.configuration.coordinates = required_argument<const double>(arguments, names::coordinates);
    check_species_codes(inputs.species_codes, n, n_elements);
    check_finite(inputs.configuration.coordinates, n);
    if (to_angstrom != 1.0) {
        inputs.configuration.coordinates = converted(inputs.configuration.coordinates, n, to_angstrom, room);
        // A number that is finite in metres may overflow in Å.
        check_finite(inputs.configuration.coordinates, n);
    }
    return inputs;
}

NeighbourSource kim_neighbours(const KIM::ModelComputeArguments& arguments) {
    return [&arguments](int particle) {
        NeighbourList list;
        if (arguments.GetNeighborList(0, particle, &list.count, &list.particles) != 0) {
            throw std::runtime_error("the simulator failed to give the neighbour list of particle " +
                                     std::to_string(particle));
        }
        if (list.count < 0 || (list.count > 0 && list.particles == nullptr)) {
            throw std::runtime_error("the simulator gave a neighbour list of " + std::to_string(list.count) +
                                     " neighbours without their numbers, for particle " + std::to_string(particle));
        }
        return list;
    };
}

py::dict requested_outputs(const KIM::ModelComputeArguments& arguments, const std::vector<Output>& supported, int n) {
    py::dict requested;
    for (const Output& output : supported) {
        double* data = argument<double>(arguments, output.name);
        if (data == nullptr) {
            continue;
        }
        std::vector<py::ssize_t> shape;
        if (output.per_particle) {
            shape.push_back(n);
        }
        if (output.columns > 0 || !output.per_particle) {
            shape.push_back(output.columns > 0 ? output.columns : 1);
        }
        requested[py::str(output.name.ToString())] = borrowed(data, std::move(shape));
    }
    return requested;
}

std::vector<Output> declare_support(KIM::ModelComputeArgumentsCreate& arguments, const py::object& supported_names) {
    std::vector<Output> supported;
    for (const Output& output : all_outputs()) {
        const bool is_supported = supported_names.contains(py::str(output.name.ToString()));
        const auto status = is_supported ? KIM::SUPPORT_STATUS::optional : KIM::SUPPORT_STATUS::notSupported;
        if (arguments.SetArgumentSupportStatus(output.name, status) != 0) {
            throw std::runtime_error("KIM refused the support status of `" + output.name.ToString() + "`");
        }
        if (is_supported) {
            supported.push_back(output);
        }
    }
    return supported;
}

py::object view(const double* data, int rows, int columns) {
    return read_only(borrowed(const_cast<double*>(data), {rows, columns}));
}

py::object view(const int* data, int rows) {
    return read_only(borrowed(const_cast<int*>(data), {rows}));
}

}  // namespace kim_torchml
