// SPDX-License-Identifier: LGPL-2.1-or-later
// Parts of the driver that need neither KIM nor Python, as C functions for ctypes. ctypes.PyDLL calls them with the GIL
// held, ctypes.CDLL without it.
#include <unistd.h>

#include <exception>
#include <string>

#include "chosen_python.hpp"
#include "report.hpp"

namespace {

thread_local std::string text;

}  // namespace

extern "C" void say(const char* message) {
    kim_torchml::report_line(message);
}

extern "C" void fail(const char* message, const char* second_line) {
    kim_torchml::report_failure(message, second_line);
}

extern "C" void fail_later(const char* message, unsigned int seconds) {
    sleep(seconds);
    kim_torchml::report_failure(message);
}

extern "C" void wait_for(unsigned int seconds) {
    sleep(seconds);
}

// Returns the path of the chosen Python, or the error after "error: ".
extern "C" const char* choose() {
    try {
        text = kim_torchml::chosen_python();
    } catch (const std::exception& error) {
        text = std::string("error: ") + error.what();
    }
    return text.c_str();
}
