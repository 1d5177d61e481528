// SPDX-License-Identifier: LGPL-2.1-or-later
// The one function of the shim library that the loader calls.
#pragma once

#include <KIM_ModelDriverHeaders.hpp>
#include <string>

namespace kim_torchml {

// The units that a simulator asks for. All quantities of models are made of lengths and energies.
struct RequestedUnits {
    KIM::LengthUnit length;
    KIM::EnergyUnit energy;
};

// Creates a model. driver_folder holds the Python package (python/); host_has_python says whether Python's symbols
// were in the process before the driver was loaded. Returns 0, or 1 after having reported the error.
using ShimCreate = int(KIM::ModelDriverCreate* driver_create, const RequestedUnits& units,
                       const std::string& driver_folder, bool host_has_python);

constexpr const char* shim_create_name = "kim_torchml_shim_create";

}  // namespace kim_torchml
