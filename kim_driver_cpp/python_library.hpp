// SPDX-License-Identifier: LGPL-2.1-or-later
// Makes Python's symbols global in this process before anything that needs them is loaded.
#pragma once

#include <stdexcept>
#include <string>

namespace kim_torchml {

struct PythonLibrary {
    // True where the process had Python's symbols before the driver was loaded: the host may then finalise Python.
    bool was_present;
};

// Finds Python's symbols in the process, else loads libpython; checks X.Y against the one the driver was built for.
// Throws std::runtime_error with a sentence for the user.
PythonLibrary ensure_python_library();

}  // namespace kim_torchml
