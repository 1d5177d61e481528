// SPDX-License-Identifier: LGPL-2.1-or-later
#include "model.hpp"

#include <pybind11/stl.h>

#include <chrono>
#include <exception>
#include <new>
#include <stdexcept>

#include "compute_arguments.hpp"
#include "driver_package.hpp"
#include "failure_file.hpp"
#include "gil.hpp"
#include "neighbours/neighbour_lists_binding.hpp"
#include "report.hpp"

namespace py = pybind11;

namespace kim_torchml {
namespace {

// Turns a C++ exception into a DriverError: what a simulator does wrong is then one sentence too, without a traceback.
void raise_as_driver_error(std::exception_ptr failure) {
    try {
        std::rethrow_exception(failure);
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
    } catch (const std::exception& error) {
        PyErr_SetString(py::module_::import("kim_torchml.errors").attr("DriverError").ptr(), error.what());
    }
}

// Creates the private module that holds the class NeighbourAccess, once per process.
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

// The time as Python's time.perf_counter() gives it.
double monotonic_seconds() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
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

Model::Model(KIM::ModelDriverCreate* driver_create, const RequestedUnits& units, const std::string& driver_folder)
    : units_(units) {
    const std::string* parameter_folder = nullptr;
    driver_create->GetParameterFileDirectoryName(&parameter_folder);
    const GilLock gil;
    const py::module_ driver = import_driver_module(driver_folder);
    if (interpreter_is_ours()) {
        driver.attr("own_this_process")();
    }
    register_neighbour_access();
    const py::object ranks = driver.attr("other_ranks")();
    has_others_ = !ranks.attr("communicator").is_none();
    set_other_ranks({has_others_, ranks.attr("why_not").cast<std::string>()});
    // This comes last: after an exception above, the member would be destroyed without the GIL.
    model_ = driver.attr("open_model")(*parameter_folder, parameter_file_names(*driver_create),
                                       py::arg("energy") = units_.energy(), py::arg("force") = units_.force());
}

Model::~Model() {
    const GilLock gil;
    model_ = py::object();
}

void Model::read_description() {
    const GilLock gil;
    species_ = model_.attr("species").cast<std::vector<std::string>>();
    influence_distance_ = units_.length() * model_.attr("influence_distance").cast<double>();
    cutoff_ = units_.length() * model_.attr("cutoff").cast<double>();
    will_not_request_of_noncontributing_ = model_.attr("needs_noncontributing_neighbours").cast<bool>() ? 0 : 1;
    parameters_.read(model_.attr("parameters"));
    model_file_ = model_.attr("file_name").cast<std::string>();
}

void Model::register_units(KIM::ModelDriverCreate* driver_create) {
    units_.register_with(driver_create);
    if (driver_create->SetModelNumbering(KIM::NUMBERING::zeroBased) != 0) {
        throw std::runtime_error("KIM refused zero-based numbering");
    }
}

void Model::register_species(KIM::ModelDriverCreate* driver_create) {
    int code = 0;
    for (const std::string& name : species_) {
        if (driver_create->SetSpeciesCode(KIM::SpeciesName(name), code) != 0) {
            throw std::runtime_error("KIM does not know the species '" + name + "'");
        }
        ++code;
    }
}

void Model::register_parameters(KIM::ModelDriverCreate* driver_create) {
    parameters_.register_with(driver_create);
}

void Model::refresh_parameters() {
    const std::vector<int> changed = parameters_.changed_indices();
    // ASE refreshes before every step, which must cost nothing where nothing has changed. Other ranks may have changed
    // something.
    if (has_others_ || !changed.empty()) {
        pass_parameters(changed, "refresh");
    }
}

void Model::pass_parameters(const std::vector<int>& changed, const char* method) {
    const GilLock gil;
    try {
        model_.attr(method)(changed);
    } catch (...) {
        parameters_.set_back();
        throw;
    }
    parameters_.accept();
}

void Model::write(const KIM::ModelWriteParameterizedModel& kim) {
    // A simulator may have set parameters without a Refresh, and may write on one rank alone.
    if (const std::vector<int> changed = parameters_.changed_indices(); !changed.empty()) {
        pass_parameters(changed, "take_parameters");
    }
    const std::string* folder = nullptr;
    kim.GetPath(&folder);
    const GilLock gil;
    for (const auto& name : model_.attr("write")(*folder).cast<std::vector<std::string>>()) {
        kim.SetParameterFileName(name);
    }
}

void Model::create_arguments(KIM::ModelComputeArgumentsCreate* arguments) {
    auto scratch = std::make_unique<ComputeScratch>();
    const GilLock gil;
    const py::object supported = model_.attr("prepare")();
    together([&] {
        scratch->supported = declare_support(*arguments, supported);
        scratch->memory = model_.attr("new_memory")();
    });
    arguments->SetModelBufferPointer(scratch.release());
}

void Model::compute(const KIM::ModelComputeArguments& arguments) {
    const double started = monotonic_seconds();
    // In a Python host the callback may be Python code, even where the host has released the GIL, as kimpy can.
    const bool callback_needs_gil = !interpreter_is_ours() || PyGILState_Check() != 0;
    ComputeScratch* scratch = scratch_of(arguments);
    scratch->step = ++n_computes_;
    const ComputeInputs inputs = telling_others([&] {
        return read_inputs(arguments, static_cast<int>(species_.size()), units_.to_angstrom(), &scratch->coordinates);
    });
    const Configuration& particles = inputs.configuration;
    const GilLock gil;
    const py::tuple given = telling_others([&] {
        const py::object neighbours = py::cast(
            NeighbourAccess(particles, kim_neighbours(arguments), &scratch->neighbour_lists, !callback_needs_gil));
        return py::make_tuple(view(particles.coordinates, particles.n, 3), view(inputs.species_codes, particles.n),
                              view(particles.contributing, particles.n), neighbours,
                              requested_outputs(arguments, scratch->supported, particles.n), scratch->step, started,
                              scratch->memory);
    });
    model_.attr("compute")(*given);
}

void Model::fail_with_others() {
    const GilLock gil;
    try {
        model_.attr("fail_with_others")();
    } catch (py::error_already_set& error) {
        if (py::hasattr(error.type(), "is_told_by_another_rank")) {
            throw;
        }
        // What has failed first is what the user must know.
        error.discard_as_unraisable(__func__);
    }
}

void Model::check_others() {
    if (has_others_) {
        const GilLock gil;
        model_.attr("check_others")();
    }
}

void Model::close() {
    const GilLock gil;
    model_.attr("close")();
}

FailureNote Model::save_failure(const KIM::ModelCompute& kim, const KIM::ModelComputeArguments& arguments,
                                const std::string& message) const {
    return kim_torchml::save_failure(
        {kim, arguments, species_, model_file_, model_, units_.to_angstrom(), influence_distance_}, message);
}

}  // namespace kim_torchml
