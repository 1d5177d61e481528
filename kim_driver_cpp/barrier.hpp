// SPDX-License-Identifier: LGPL-2.1-or-later
// The one exception barrier: a KIM routine returns 0 or 1 and never throws, and every failure is reported once.
#pragma once

#include <KIM_LogVerbosity.hpp>
#include <functional>
#include <string>

namespace kim_torchml {

// What is reported in addition to a failure's message.
struct FailureNote {
    std::string addition;     // appended to the message, on the same line
    std::string second_line;  // a line of its own, or empty
};

// Called with a failure's message before the failure is reported; must not throw.
using OnFailure = std::function<FailureNote(const std::string& message)>;

// Runs the routine's body; returns 0, or 1 after reporting what was thrown on stderr.
// Stores the message in *message, for KIM's log.
int run_guarded(const std::function<void()>& body, std::string* message, const OnFailure& on_failure);

// Does the same for a routine that has a KIM object, and writes the message to KIM's log too.
template <class KimObject>
int guarded(KimObject* kim, const char* routine, const std::function<void()>& body,
            const OnFailure& on_failure = nullptr) {
    std::string message;
    const int result = run_guarded(body, &message, on_failure);
    if (result != 0) {
        kim->LogEntry(KIM::LOG_VERBOSITY::error, message, __LINE__, routine);
    }
    return result;
}

}  // namespace kim_torchml
