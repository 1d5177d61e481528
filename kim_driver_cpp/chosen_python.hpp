// SPDX-License-Identifier: LGPL-2.1-or-later
// Which Python is started in a host that has none.
#pragma once

#include <string>

namespace kim_torchml {

// Returns the path of the Python in KIM_TORCHML_PYTHON, else of the one that the driver was built for. Throws
// std::runtime_error if it cannot be run or is of another version than the driver was built for.
std::string chosen_python();

}  // namespace kim_torchml
