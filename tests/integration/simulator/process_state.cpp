// SPDX-License-Identifier: LGPL-2.1-or-later
#include "process_state.hpp"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cfenv>
#include <climits>
#include <clocale>
#include <cstring>

namespace {

void own_handler(int /*signal*/) {}

const char* handler_name(int signal) {
    struct sigaction action;
    sigaction(signal, nullptr, &action);
    if (action.sa_handler == own_handler) {
        return "the simulator's";
    }
    if (action.sa_handler == SIG_DFL) {
        return "default";
    }
    return action.sa_handler == SIG_IGN ? "ignored" : "somebody else's";
}

unsigned current_umask() {
    const mode_t mask = umask(0);
    umask(mask);
    return mask;
}

std::string quoted(const std::string& text) {
    return "\"" + text + "\"";
}

}  // namespace

void set_unusual_state() {
    std::setlocale(LC_ALL, "C");
    std::setlocale(LC_TIME, "C.UTF-8");
    umask(0027);
    struct sigaction action;
    std::memset(&action, 0, sizeof action);
    action.sa_handler = own_handler;
    sigaction(SIGUSR1, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
}

std::string process_state_as_json() {
    char folder[PATH_MAX];
    std::fenv_t floating_point;
    std::fegetenv(&floating_point);
    std::string json = "{\"locale\": " + quoted(std::setlocale(LC_ALL, nullptr));
    json += ", \"folder\": " + quoted(getcwd(folder, sizeof folder) != nullptr ? folder : "gone");
    json += ", \"rounding\": " + std::to_string(std::fegetround());
#if defined(__x86_64__)
    // Flags of what has happened (inexact, ...) left out: rounding, masks, denormals are zero, flush to zero.
    json += ", \"floating_point\": " + std::to_string(floating_point.__mxcsr & 0xffc0U);
#endif
    json += ", \"umask\": " + std::to_string(current_umask());
    for (const int signal : {SIGINT, SIGTERM, SIGUSR1, SIGPIPE, SIGSEGV, SIGFPE, SIGABRT, SIGCHLD}) {
        json += ", " + quoted(std::string("signal ") + strsignal(signal)) + ": " + quoted(handler_name(signal));
    }
    return json + "}";
}
