// SPDX-License-Identifier: LGPL-2.1-or-later
#include "failure_file.hpp"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdlib>

#include "compute_arguments.hpp"
#include "gil.hpp"

namespace py = pybind11;

namespace kim_torchml {
namespace {

namespace names = KIM::COMPUTE_ARGUMENT_NAME;

template <class Value>
const Value* given(const KIM::ModelComputeArguments& arguments, KIM::ComputeArgumentName name) {
    const Value* pointer = nullptr;
    return arguments.GetArgumentPointer(name, &pointer) == 0 ? pointer : nullptr;
}

// Reads the model's name from KIM's description of it: KIM has no call that returns the name.
std::string model_name(const KIM::ModelCompute& kim) {
    static const std::string label = "Model Name : ";
    const std::string& text = kim.ToString();
    const auto start = text.find(label);
    if (start == std::string::npos) {
        return "MODEL";
    }
    return text.substr(start + label.size(), text.find('\n', start) - start - label.size());
}

FailureNote save(const FailedCompute& failed, const std::string& message) {
    const int* n = given<int>(failed.arguments, names::numberOfParticles);
    const int* codes = given<int>(failed.arguments, names::particleSpeciesCodes);
    const int* contributing = given<int>(failed.arguments, names::particleContributing);
    const double* coordinates = given<double>(failed.arguments, names::coordinates);
    if (n == nullptr || *n <= 0 || codes == nullptr || contributing == nullptr || coordinates == nullptr) {
        return {};
    }
    const ComputeScratch& scratch = *scratch_of(failed.arguments);
    const GilLock gil;
    const py::object note =
        py::module_::import("kim_torchml.driver.failure_file")
            .attr("save_failure")(
                py::arg("message") = message,  //
                py::arg("model") = model_name(failed.kim), py::arg("model_file") = failed.model_file,
                py::arg("parameters") = failed.model.attr("changed_parameters")(), py::arg("step") = scratch.step,
                py::arg("requested") = py::list(requested_outputs(failed.arguments, scratch.supported, *n)),
                py::arg("species") = failed.species, py::arg("coordinates") = view(coordinates, *n, 3),
                py::arg("to_angstrom") = failed.to_angstrom, py::arg("species_codes") = view(codes, *n),
                py::arg("contributing") = view(contributing, *n),
                py::arg("influence_distance") = failed.influence_distance);
    const auto [addition, second_line] = note.cast<std::pair<std::string, std::string>>();
    return {addition, second_line};
}

}  // namespace

FailureNote save_failure(const FailedCompute& failed, const std::string& message) noexcept {
    const char* folder = std::getenv("KIM_TORCHML_DUMP");
    if (folder == nullptr || *folder == '\0') {
        return {};
    }
    std::string reason = "an unknown C++ exception";
    try {
        return save(failed, message);
    } catch (py::error_already_set& error) {
        const GilLock gil;
        reason = error.what();
    } catch (const std::exception& error) {
        reason = error.what();
    } catch (...) {
        // Nothing is known of it. The failure of the compute itself is what counts.
    }
    return {"", "the configuration could not be saved: " + reason};
}

}  // namespace kim_torchml
