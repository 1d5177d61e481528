// SPDX-License-Identifier: LGPL-2.1-or-later
#include "chosen_python.hpp"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <system_error>

#include "build_configuration.hpp"
#include "python_version.hpp"
#include "report.hpp"

namespace kim_torchml {
namespace {

void check_that_it_runs(const std::string& executable, bool is_named) {
    std::error_code ignored;
    if (std::filesystem::is_regular_file(executable, ignored) && access(executable.c_str(), X_OK) == 0) {
        return;
    }
    if (is_named) {
        throw std::runtime_error("KIM_TORCHML_PYTHON must name a Python that can be run, got '" +
                                 printable(executable) +
                                 "'; name the python of an environment (" KIM_TORCHML_PYTHON_VERSION
                                 ", with torch) by its full path, or unset the variable: the driver was built for "
                                 "'" KIM_TORCHML_PYTHON_EXECUTABLE "'");
    }
    throw std::runtime_error("the Python environment that the driver was built for is gone: '" + executable +
                             "' cannot be run; install the driver again with --force, or name another environment's "
                             "python (" KIM_TORCHML_PYTHON_VERSION ", with torch) in KIM_TORCHML_PYTHON");
}

// The library that is loaded is the Python that the driver was built for. With the executable of another version it
// would look for packages in a folder that has none, and report that torch is missing.
void check_version(const std::string& executable, bool is_named) {
    const std::string version = version_of_python(executable);
    if (version.empty() || version == KIM_TORCHML_PYTHON_VERSION) {
        return;
    }
    if (is_named) {
        throw std::runtime_error("KIM_TORCHML_PYTHON must name a Python " KIM_TORCHML_PYTHON_VERSION
                                 ", for which the driver was built, got '" +
                                 printable(executable) + "', which is Python " + version +
                                 "; name another, or install the driver again with --force for this one");
    }
    throw std::runtime_error(
        "the Python environment that the driver was built for must be of "
        "Python " KIM_TORCHML_PYTHON_VERSION ", got '" +
        executable + "', which has become Python " + version +
        "; install the driver again with --force for this one, or name a "
        "Python " KIM_TORCHML_PYTHON_VERSION " with torch in KIM_TORCHML_PYTHON");
}

}  // namespace

std::string chosen_python() {
    const char* named = std::getenv("KIM_TORCHML_PYTHON");
    const bool is_named = named != nullptr && *named != '\0';
    const std::string executable = is_named ? named : KIM_TORCHML_PYTHON_EXECUTABLE;
    check_that_it_runs(executable, is_named);
    check_version(executable, is_named);
    return executable;
}

}  // namespace kim_torchml
