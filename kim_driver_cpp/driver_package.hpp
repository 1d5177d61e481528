// SPDX-License-Identifier: LGPL-2.1-or-later
// The kim_torchml package: which of its copies on this machine the driver runs.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

namespace kim_torchml {

// Imports kim_torchml.driver. A package that this process has imported already stays; it is an error if that is of
// another version. In a host's own Python, an installed distribution of the driver's version comes next: a script or a
// notebook can then use KIM and the package's tools, which the driver's copy lacks, in any order. Everywhere else it
// is the copy that was installed beside the driver. Needs the GIL.
pybind11::module_ import_driver_module(const std::string& driver_folder);

}  // namespace kim_torchml
