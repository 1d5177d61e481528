// SPDX-License-Identifier: LGPL-2.1-or-later
#include "python_streams.hpp"

#include <dlfcn.h>

#include <initializer_list>

#include "limited_time.hpp"

namespace kim_torchml {
namespace {

constexpr int longest_wait = 3;  // seconds

// The loader must not have undefined Python symbols, and reports failures in hosts of any Python version. So these are
// functions of the stable ABI, looked up when they are needed.
template <class Function>
bool look_up(const char* name, Function** function) {
    *function = reinterpret_cast<Function*>(dlsym(RTLD_DEFAULT, name));
    return *function != nullptr;
}

struct PythonFunctions {
    int (*is_initialized)();
    int (*holds_gil)();
    int (*take_gil)();
    void (*give_gil_back)(int);
    void* (*get_of_sys)(const char*);
    void* (*call_method)(void*, const char*, const char*, ...);
    void (*release)(void*);
    void (*clear_error)();

    bool find() {
        return look_up("Py_IsInitialized", &is_initialized) && look_up("PyGILState_Check", &holds_gil) &&
               look_up("PyGILState_Ensure", &take_gil) && look_up("PyGILState_Release", &give_gil_back) &&
               look_up("PySys_GetObject", &get_of_sys) && look_up("PyObject_CallMethod", &call_method) &&
               look_up("Py_DecRef", &release) && look_up("PyErr_Clear", &clear_error);
    }
};

PythonFunctions& python() {
    static PythonFunctions functions{};
    return functions;
}

// While Python is being finalised it counts as not initialised: it has flushed its streams by then, and a thread that
// asks for the GIL would never return.
void flush_with_gil() {
    const PythonFunctions& functions = python();
    if (functions.is_initialized() == 0) {
        return;
    }
    const int state = functions.take_gil();
    for (const char* name : {"stdout", "stderr"}) {
        functions.clear_error();
        void* stream = functions.get_of_sys(name);
        void* result = stream != nullptr ? functions.call_method(stream, "flush", nullptr) : nullptr;
        if (result != nullptr) {
            functions.release(result);
        }
    }
    functions.clear_error();
    functions.give_gil_back(state);
}

}  // namespace

void flush_python_streams() {
    if (!python().find() || python().is_initialized() == 0) {
        return;
    }
    if (python().holds_gil() != 0) {
        flush_with_gil();
        return;
    }
    // There is no way to ask for the GIL for a limited time, and its holder may wait for this very thread. So another
    // thread asks, and is left behind if it does not get it.
    run_for_at_most<flush_with_gil>(longest_wait);
}

}  // namespace kim_torchml
