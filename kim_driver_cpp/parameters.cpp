// SPDX-License-Identifier: LGPL-2.1-or-later
#include "parameters.hpp"

#include <pybind11/numpy.h>

#include <cstring>
#include <stdexcept>

namespace py = pybind11;

namespace kim_torchml {

void Parameters::read(const py::list& parameters) {
    parameters_.reserve(parameters.size());
    for (const py::handle& item : parameters) {
        auto values = item.attr("values").cast<py::array>();
        Parameter parameter;
        parameter.name = item.attr("name").cast<std::string>();
        parameter.description = item.attr("description").cast<std::string>();
        // An isinstance of array_t would make a type object to compare with, for each of hundreds of parameters.
        const py::dtype type = values.dtype();
        parameter.is_integer = type.kind() == 'i' && type.itemsize() == sizeof(int);
        if (!parameter.is_integer && !(type.kind() == 'f' && type.itemsize() == sizeof(double))) {
            throw std::logic_error("parameter '" + parameter.name + "' is neither of doubles nor of integers");
        }
        parameter.extent = static_cast<int>(values.size());
        parameter.values = values.mutable_data();
        parameter.accepted.resize(static_cast<std::size_t>(values.nbytes()));
        parameters_.push_back(std::move(parameter));
    }
    accept();
}

void Parameters::register_with(KIM::ModelDriverCreate* driver_create) {
    for (const Parameter& parameter : parameters_) {
        const int error =
            parameter.is_integer
                ? driver_create->SetParameterPointer(parameter.extent, static_cast<int*>(parameter.values),
                                                     parameter.name, parameter.description)
                : driver_create->SetParameterPointer(parameter.extent, static_cast<double*>(parameter.values),
                                                     parameter.name, parameter.description);
        if (error != 0) {
            throw std::runtime_error("KIM refused the parameter '" + parameter.name + "'");
        }
    }
}

std::vector<int> Parameters::changed_indices() const {
    std::vector<int> indices;
    int index = 0;
    for (const Parameter& parameter : parameters_) {
        if (std::memcmp(parameter.values, parameter.accepted.data(), parameter.accepted.size()) != 0) {
            indices.push_back(index);
        }
        ++index;
    }
    return indices;
}

void Parameters::accept() {
    for (Parameter& parameter : parameters_) {
        std::memcpy(parameter.accepted.data(), parameter.values, parameter.accepted.size());
    }
}

void Parameters::set_back() {
    for (const Parameter& parameter : parameters_) {
        std::memcpy(parameter.values, parameter.accepted.data(), parameter.accepted.size());
    }
}

}  // namespace kim_torchml
