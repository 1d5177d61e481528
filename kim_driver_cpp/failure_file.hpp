// SPDX-License-Identifier: LGPL-2.1-or-later
// The configuration of a compute that has failed, saved in the folder that KIM_TORCHML_DUMP names.
#pragma once

#include <pybind11/pybind11.h>

#include <KIM_ModelDriverHeaders.hpp>
#include <string>
#include <vector>

#include "barrier.hpp"

namespace kim_torchml {

// What is known of a compute that has failed.
struct FailedCompute {
    const KIM::ModelCompute& kim;
    const KIM::ModelComputeArguments& arguments;
    const std::vector<std::string>& species;  // indexed by KIM's species code
    const std::string& model_file;
    const pybind11::object& model;
    double to_angstrom;         // the simulator's unit of length in Å
    double influence_distance;  // what KIM was told, in the simulator's unit of length
};

// Saves the configuration if KIM_TORCHML_DUMP is set, and returns what to report about that. The arguments are read as
// the simulator gave them, and may not have been checked. Nothing is thrown: what goes wrong here must not hide the
// failure itself.
FailureNote save_failure(const FailedCompute& failed, const std::string& message) noexcept;

}  // namespace kim_torchml
