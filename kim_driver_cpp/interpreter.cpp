// SPDX-License-Identifier: LGPL-2.1-or-later
#include "interpreter.hpp"

#include <malloc.h>
#include <pybind11/pybind11.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <sstream>
#include <stdexcept>
#include <system_error>

#include "chosen_python.hpp"
#include "report.hpp"

namespace py = pybind11;

namespace kim_torchml {
namespace {

// The state of Python in this process, whatever models there are. The library is never unloaded (-z nodelete), so this
// lasts as long as the process.
struct ProcessState {
    std::mutex mutex;
    bool started_here = false;
    bool main_thread_takes_it_back = false;  // it started Python, and the host may finalise Python there
    PyThreadState* given_up = nullptr;       // of the thread that started Python; null while it holds the GIL
    int live_models = 0;
};

ProcessState& process_state() {
    static ProcessState state;
    return state;
}

bool is_main_thread() {
    return static_cast<pid_t>(syscall(SYS_gettid)) == getpid();
}

// Returns what users have set for Python, each with what to do about it.
std::string python_variables() {
    std::string causes;
    for (char** variable = environ; *variable != nullptr; ++variable) {
        const std::string setting = *variable;
        const std::size_t end = setting.find('=');
        const std::string name = setting.substr(0, end);
        if (name.rfind("PYTHON", 0) != 0 || end == std::string::npos || end + 1 == setting.size()) {
            continue;
        }
        const char* condition = name == "PYTHONPATH" ? " if it names folders of another Python" : "";
        causes += "; " + name + " is set to '" + printable(setting.substr(end + 1)) + "': unset it" + condition;
    }
    return causes;
}

void check(PyStatus status, const std::string& executable) {
    if (PyStatus_Exception(status)) {
        throw std::runtime_error("Python does not start with '" + printable(executable) + "': " +
                                 (status.err_msg != nullptr ? status.err_msg : "no reason given") + python_variables() +
                                 "; or install the driver again with --force, or name a working environment's python "
                                 "in KIM_TORCHML_PYTHON");
    }
}

// Returns PYTHONPATH without the working directory, which an empty item means as well. Otherwise Python would import a
// torch.py or a sitecustomize.py that lies beside a LAMMPS input, the latter even while Python starts.
std::string python_path() {
    const char* given = std::getenv("PYTHONPATH");
    std::istringstream items(given != nullptr ? given : "");
    std::string kept;
    for (std::string item; std::getline(items, item, ':');) {
        std::error_code ignored;
        if (!item.empty() && !std::filesystem::equivalent(item, ".", ignored)) {
            kept += (kept.empty() ? "" : ":") + item;
        }
    }
    return kept;
}

// The simulator owns the process: locale, standard streams, signals and command line stay as they are.
void start_python(const std::string& executable) {
    PyPreConfig before;
    PyPreConfig_InitPythonConfig(&before);
    before.configure_locale = 0;
    before.coerce_c_locale = 0;
    before.utf8_mode = 1;
    before.parse_argv = 0;
    check(Py_PreInitialize(&before), executable);

    PyConfig config;
    PyConfig_InitPythonConfig(&config);
    config.install_signal_handlers = 0;
    config.configure_c_stdio = 0;
    // What could not be written would be tried again when the simulator ends, where SIGPIPE ends it.
    config.buffered_stdio = 0;
    config.parse_argv = 0;
#if PY_VERSION_HEX >= 0x030b0000
    config.safe_path = 1;
#endif
    PyStatus status = PyConfig_SetBytesString(&config, &config.program_name, executable.c_str());
    if (!PyStatus_Exception(status)) {
        status = PyConfig_SetBytesString(&config, &config.executable, executable.c_str());
    }
    if (!PyStatus_Exception(status)) {
        status = PyConfig_SetBytesString(&config, &config.pythonpath_env, python_path().c_str());
    }
    if (!PyStatus_Exception(status)) {
        status = Py_InitializeFromConfig(&config);
    }
    PyConfig_Clear(&config);
    check(status, executable);
}

// Importing signal, as torch does, takes Ctrl-C from the simulator even where Python was told to install no handlers.
void keep_interrupt_handler() {
    struct sigaction of_simulator;
    sigaction(SIGINT, nullptr, &of_simulator);
    py::module_::import("signal");
    sigaction(SIGINT, &of_simulator, nullptr);
}

// In MD tensors are made and freed in every step. Without this, glibc would map and unmap their memory every time.
void keep_freed_memory() {
    mallopt(M_MMAP_THRESHOLD, 256 * 1024 * 1024);
    mallopt(M_TRIM_THRESHOLD, 256 * 1024 * 1024);
}

}  // namespace

void ensure_interpreter(bool host_has_python) {
    ProcessState& state = process_state();
    const std::lock_guard<std::mutex> lock(state.mutex);
    if (Py_IsInitialized() != 0) {
        return;
    }
    const std::string executable = chosen_python();
    start_python(executable);
    state.started_here = true;
    state.main_thread_takes_it_back = host_has_python && is_main_thread();
    keep_interrupt_handler();
    keep_freed_memory();
    state.given_up = PyEval_SaveThread();
}

bool interpreter_is_ours() {
    return process_state().started_here;
}

LiveModel::LiveModel() {
    ProcessState& state = process_state();
    const std::lock_guard<std::mutex> lock(state.mutex);
    if (state.started_here && state.given_up == nullptr) {
        if (!is_main_thread()) {
            throw std::runtime_error(
                "the simulator has destroyed its last model in its main thread, which therefore holds Python, so no "
                "other thread can create one: keep one model until the end, or create this one in the main thread");
        }
        state.given_up = PyEval_SaveThread();
    }
    ++state.live_models;
}

LiveModel::~LiveModel() {
    ProcessState& state = process_state();
    const std::lock_guard<std::mutex> lock(state.mutex);
    --state.live_models;
    if (state.live_models == 0 && state.main_thread_takes_it_back && is_main_thread()) {
        PyEval_RestoreThread(state.given_up);
        state.given_up = nullptr;
    }
}

}  // namespace kim_torchml
