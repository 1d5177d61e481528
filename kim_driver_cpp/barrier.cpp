// SPDX-License-Identifier: LGPL-2.1-or-later
#include "barrier.hpp"

#include <pybind11/pybind11.h>

#include <new>

#include "gil.hpp"
#include "report.hpp"

namespace py = pybind11;

namespace kim_torchml {
namespace {

// The driver's own errors are sentences for the user; anything else keeps its type and traceback.
std::string readable(py::error_already_set& error, bool* is_interrupt) {
    const GilLock gil;
    if (error.matches(PyExc_KeyboardInterrupt)) {
        // Ctrl-C has ended our Python code: raise it again for the host, whose own code must end too.
        PyErr_SetInterrupt();
        *is_interrupt = true;
        return "interrupted";
    }
    if (py::hasattr(error.type(), "is_kim_torchml_error")) {
        return py::str(error.value());
    }
    return error.what();
}

}  // namespace

int run_guarded(const std::function<void()>& body, std::string* message, const OnFailure& on_failure) {
    bool is_interrupt = false;
    try {
        body();
        return 0;
    } catch (py::error_already_set& error) {
        *message = readable(error, &is_interrupt);
    } catch (const std::bad_alloc&) {
        *message = "this machine has not enough memory for so many particles; use fewer, or more ranks";
    } catch (const std::exception& error) {
        *message = error.what();
    } catch (...) {
        *message = "an unknown C++ exception";
    }
    FailureNote note;
    if (on_failure && !is_interrupt) {
        note = on_failure(*message);
    }
    *message += note.addition;
    report_error(*message);
    if (!note.second_line.empty()) {
        report_error(note.second_line);
    }
    return 1;
}

}  // namespace kim_torchml
