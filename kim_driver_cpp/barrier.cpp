// SPDX-License-Identifier: LGPL-2.1-or-later
#include "barrier.hpp"

#include <pybind11/pybind11.h>

#include <new>

#include "gil.hpp"
#include "report.hpp"
#include "without_sigpipe.hpp"

namespace py = pybind11;

namespace kim_torchml {
namespace {

std::string out_of_memory(const Routine& routine) {
    return std::string("this machine has not enough memory ") + routine.memory_is_for;
}

// The driver's own errors are sentences for the user; anything else keeps its type and traceback.
std::string readable(py::error_already_set& error, const Routine& routine, Failure* failure) {
    const GilLock gil;
    if (error.matches(PyExc_KeyboardInterrupt)) {
        // Ctrl-C has ended our Python code: raise it again for the host, whose own code must end too.
        PyErr_SetInterrupt();
        failure->is_interrupt = true;
        return "interrupted";
    }
    if (error.matches(PyExc_MemoryError)) {
        return out_of_memory(routine);
    }
    failure->is_of_other_rank = py::hasattr(error.type(), "is_told_by_another_rank");
    if (py::hasattr(error.type(), "is_kim_torchml_error")) {
        return py::str(error.value());
    }
    return error.what();
}

}  // namespace

std::optional<Failure> run_guarded(const Routine& routine, const std::function<void()>& body,
                                   const OnFailure& on_failure) {
    Failure failure{};
    // Torch writes warnings of a model itself.
    const WithoutSigpipe guard;
    try {
        body();
        return std::nullopt;
    } catch (py::error_already_set& error) {
        failure.message = readable(error, routine, &failure);
    } catch (const std::bad_alloc&) {
        failure.message = out_of_memory(routine);
    } catch (const std::exception& error) {
        failure.message = error.what();
    } catch (...) {
        failure.message = "an unknown C++ exception";
    }
    if (on_failure && !failure.is_interrupt && !failure.is_of_other_rank) {
        const FailureNote note = on_failure(failure.message);
        failure.message += note.addition;
        failure.second_line = note.second_line;
    }
    return failure;
}

void report(const Failure& failure) {
    if (failure.is_interrupt) {
        report_line(failure.message);
    } else if (!failure.is_of_other_rank) {
        report_failure(failure.message, failure.second_line);
    }
}

}  // namespace kim_torchml
