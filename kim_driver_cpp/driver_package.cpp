// SPDX-License-Identifier: LGPL-2.1-or-later
#include "driver_package.hpp"

#include <stdexcept>

#include "build_configuration.hpp"
#include "interpreter.hpp"

namespace py = pybind11;

namespace kim_torchml {
namespace {

std::string version_of(const py::module_& package) {
    return py::str(package.attr("__version__"));
}

// An error in what the user has installed is no reason to give up; Ctrl-C is not such an error.
void ignore_unless_interrupted(py::error_already_set& error) {
    if (!error.matches(PyExc_Exception)) {
        throw error;
    }
}

// Version of the distribution that pip has installed in this Python environment; empty where there is none.
std::string version_of_distribution() {
    try {
        return py::str(py::module_::import("importlib.metadata").attr("version")("kim-torchml"));
    } catch (py::error_already_set& error) {
        ignore_unless_interrupted(error);
    }
    return "";
}

// Makes Python forget the package, so that the next import looks for it anew.
void forget_package(const py::dict& modules) {
    for (const py::handle& item : py::list(modules)) {
        const auto name = item.cast<std::string>();
        if (name == "kim_torchml" || name.rfind("kim_torchml.", 0) == 0) {
            modules.attr("pop")(name);
        }
    }
}

// Imports the package as the host itself would; returns whether that gave the driver's version.
bool import_distribution(const py::dict& modules) {
    if (version_of_distribution() != KIM_TORCHML_VERSION) {
        return false;
    }
    try {
        const py::module_ package = py::module_::import("kim_torchml");
        if (version_of(package) == KIM_TORCHML_VERSION) {
            // What the shim will call, so that a broken installation shows now and not when a model is opened.
            for (const char* module : {"kim_torchml.driver.model", "kim_torchml.driver.failure_file"}) {
                py::module_::import(module);
            }
            return true;
        }
    } catch (py::error_already_set& error) {
        ignore_unless_interrupted(error);
    }
    forget_package(modules);
    return false;
}

// Imports the package from a folder, which is on sys.path during that import only.
void import_from(const std::string& folder, const py::object& path) {
    path.attr("insert")(0, folder);
    try {
        py::module_::import("kim_torchml");
    } catch (const py::error_already_set&) {
        path.attr("remove")(folder);
        throw;
    }
    path.attr("remove")(folder);
}

}  // namespace

py::module_ import_driver_module(const std::string& driver_folder) {
    const py::module_ sys = py::module_::import("sys");
    const py::dict modules = sys.attr("modules");
    if (!modules.contains("kim_torchml") && (interpreter_is_ours() || !import_distribution(modules))) {
        import_from(driver_folder + "/python", sys.attr("path"));
    }
    const py::module_ package = py::module_::import("kim_torchml");
    const std::string version = version_of(package);
    if (version != KIM_TORCHML_VERSION) {
        throw std::runtime_error("this process has imported kim_torchml " + version + " from " +
                                 std::string(py::str(package.attr("__file__"))) +
                                 ", but the installed driver is version " KIM_TORCHML_VERSION " (" + driver_folder +
                                 "); bring both to the same version: install the driver again with "
                                 "--force, or pip install the package again");
    }
    return py::module_::import("kim_torchml.driver");
}

}  // namespace kim_torchml
