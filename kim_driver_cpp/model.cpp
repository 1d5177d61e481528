// SPDX-License-Identifier: LGPL-2.1-or-later
#include "model.hpp"

#include <pybind11/stl.h>

#include <exception>
#include <stdexcept>

#include "compute_arguments.hpp"
#include "gil.hpp"
#include "neighbour_lists_binding.hpp"

namespace py = pybind11;

namespace kim_torchml {
namespace {

// What a simulator does wrong is one sentence too, without a traceback.
void raise_as_driver_error(std::exception_ptr failure) {
    try {
        std::rethrow_exception(failure);
    } catch (const std::exception& error) {
        PyErr_SetString(py::module_::import("kim_torchml.errors").attr("DriverError").ptr(), error.what());
    }
}

// The private module that holds the class Python sees; created once per process.
void register_neighbour_access() {
    static PyModuleDef definition = {
        PyModuleDef_HEAD_INIT, "kim_torchml_shim", nullptr, -1, nullptr, nullptr, nullptr, nullptr, nullptr};
    static py::module_* module = nullptr;
    if (module == nullptr) {
        module = new py::module_(py::module_::create_extension_module("kim_torchml_shim", nullptr, &definition));
        bind_neighbour_access(*module);
        py::register_local_exception_translator(raise_as_driver_error);
    }
}

std::vector<std::string> parameter_file_names(const KIM::ModelDriverCreate& driver_create) {
    int count = 0;
    driver_create.GetNumberOfParameterFiles(&count);
    std::vector<std::string> file_names;
    for (int i = 0; i < count; ++i) {
        const std::string* name = nullptr;
        if (driver_create.GetParameterFileBasename(i, &name) != 0) {
            throw std::runtime_error("KIM did not give the name of parameter file " + std::to_string(i));
        }
        file_names.push_back(*name);
    }
    return file_names;
}

}  // namespace

Model::Model(KIM::ModelDriverCreate* driver_create, const std::string& driver_folder) {
    const std::string* parameter_folder = nullptr;
    driver_create->GetParameterFileDirectoryName(&parameter_folder);
    const GilLock gil;
    const py::module_ driver = import_driver_module(driver_folder);
    if (interpreter_is_ours()) {
        driver.attr("own_this_process")();
    }
    register_neighbour_access();
    py::object model = driver.attr("open_model")(*parameter_folder, parameter_file_names(*driver_create));
    species_ = model.attr("species").cast<std::vector<std::string>>();
    influence_distance_ = model.attr("influence_distance").cast<double>();
    cutoff_ = model.attr("cutoff").cast<double>();
    will_not_request_of_noncontributing_ = model.attr("needs_noncontributing_neighbours").cast<bool>() ? 0 : 1;
    n_elements_ = static_cast<int>(species_.size());
    // Last, so that a throw above cannot leave a Python object to be dropped without the GIL.
    model_ = std::move(model);
}

Model::~Model() {
    const GilLock gil;
    model_ = py::object();
}

void Model::register_units(KIM::ModelDriverCreate* driver_create, const RequestedUnits& units) {
    if (units.length != KIM::LENGTH_UNIT::A || units.energy != KIM::ENERGY_UNIT::eV) {
        throw std::invalid_argument("this version of the driver works in the units A and eV, got " +
                                    units.length.ToString() + " and " + units.energy.ToString() +
                                    "; ask for those (LAMMPS: units metal)");
    }
    if (driver_create->SetUnits(units.length, units.energy, KIM::CHARGE_UNIT::unused, KIM::TEMPERATURE_UNIT::unused,
                                KIM::TIME_UNIT::unused) != 0) {
        throw std::runtime_error("KIM refused the units A and eV");
    }
    if (driver_create->SetModelNumbering(KIM::NUMBERING::zeroBased) != 0) {
        throw std::runtime_error("KIM refused zero-based numbering");
    }
}

void Model::register_species(KIM::ModelDriverCreate* driver_create) {
    for (int code = 0; code < n_elements_; ++code) {
        const std::string& name = species_[static_cast<std::size_t>(code)];
        if (driver_create->SetSpeciesCode(KIM::SpeciesName(name), code) != 0) {
            throw std::runtime_error("KIM does not know the species '" + name + "'");
        }
    }
}

void Model::register_parameters(KIM::ModelDriverCreate* driver_create) {
    if (driver_create->SetParameterPointer(1, &n_elements_, "n_elements",
                                           "Number of chemical elements of the model. Read-only.") != 0) {
        throw std::runtime_error("KIM refused the parameter n_elements");
    }
}

void Model::check_parameters() {
    const auto expected = static_cast<int>(species_.size());
    if (n_elements_ != expected) {
        const int found = n_elements_;
        n_elements_ = expected;
        throw std::invalid_argument("the parameter `n_elements` is read-only: it must be " + std::to_string(expected) +
                                    ", got " + std::to_string(found) + "; it has been set back");
    }
}

void Model::create_arguments(KIM::ModelComputeArgumentsCreate* arguments) {
    auto scratch = std::make_unique<ComputeScratch>();
    const GilLock gil;
    scratch->supported = declare_support(*arguments, model_.attr("prepare")());
    arguments->SetModelBufferPointer(scratch.release());
}

void Model::compute(const KIM::ModelComputeArguments& arguments) {
    // A Python host's callback may be Python too, even where the host gave up the GIL for the compute, as kimpy can.
    const bool callback_needs_gil = !interpreter_is_ours() || PyGILState_Check() != 0;
    const ComputeInputs inputs = read_inputs(arguments, static_cast<int>(species_.size()));
    void* buffer = nullptr;
    arguments.GetModelBufferPointer(&buffer);
    auto* scratch = static_cast<ComputeScratch*>(buffer);

    const Configuration& particles = inputs.configuration;
    const GilLock gil;
    const py::object neighbours =
        py::cast(NeighbourAccess(particles, kim_neighbours(arguments), &scratch->neighbour_lists, !callback_needs_gil));
    model_.attr("compute")(view(particles.coordinates, particles.n, 3), view(inputs.species_codes, particles.n),
                           view(particles.contributing, particles.n), neighbours,
                           requested_outputs(arguments, scratch->supported, particles.n));
}

}  // namespace kim_torchml
