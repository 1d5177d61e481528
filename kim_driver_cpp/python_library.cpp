// SPDX-License-Identifier: LGPL-2.1-or-later
#include "python_library.hpp"

#include <dlfcn.h>

#include <cstdlib>

#include "build_configuration.hpp"
#include "python_version.hpp"

namespace kim_torchml {
namespace {

constexpr const char* wanted_version = KIM_TORCHML_PYTHON_VERSION;

std::string library_name() {
    const std::string path = KIM_TORCHML_PYTHON_LIBRARY;
    return path.substr(path.rfind('/') + 1);
}

void* python_symbol(const char* name) {
    return dlsym(RTLD_DEFAULT, name);
}

// Makes the symbols of a libpython that is already loaded global. They are not where the host itself was loaded with
// local scope.
bool promote_loaded_library() {
    const std::string name = library_name();
    return !name.empty() && dlopen(name.c_str(), RTLD_NOW | RTLD_GLOBAL | RTLD_NOLOAD) != nullptr &&
           python_symbol("Py_GetVersion") != nullptr;
}

void load_library() {
    const std::string path = KIM_TORCHML_PYTHON_LIBRARY;
    if (path.empty()) {
        throw std::runtime_error(
            "this simulator has no Python of its own, and the Python that the driver was built for "
            "(" KIM_TORCHML_PYTHON_EXECUTABLE
            ") has no shared library to load; install the driver again with --force, for a Python that has "
            "libpython (Debian and Ubuntu: the system's python3 with python3-dev), named in KIM_TORCHML_PYTHON");
    }
    if (dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL) == nullptr) {
        throw std::runtime_error("cannot load Python's library '" + path + "': " + dlerror() +
                                 "; install the driver again with --force, while the environment that has torch is "
                                 "active or named in KIM_TORCHML_PYTHON");
    }
}

void check_version() {
    using GetVersion = const char* (*)();
    const auto get_version = reinterpret_cast<GetVersion>(python_symbol("Py_GetVersion"));
    const std::string found = get_version();
    if (major_minor(found) != wanted_version) {
        throw std::runtime_error("the driver was built for Python " + std::string(wanted_version) +
                                 " (" KIM_TORCHML_PYTHON_EXECUTABLE "), but this process runs Python " +
                                 found.substr(0, found.find(' ')) +
                                 "; install the driver for that version: activate an environment of it that has torch, "
                                 "or name its python in KIM_TORCHML_PYTHON, then run "
                                 "kim-api-collections-management install --force user ./kim-torchml");
    }
}

}  // namespace

PythonLibrary ensure_python_library() {
    const bool was_present = python_symbol("Py_GetVersion") != nullptr || promote_loaded_library();
    if (!was_present) {
        load_library();
    }
    check_version();
    return {was_present};
}

}  // namespace kim_torchml
