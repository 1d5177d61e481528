// SPDX-License-Identifier: LGPL-2.1-or-later
// The one exception barrier: a KIM routine returns 0 or 1 and never throws, and every failure is reported once.
#pragma once

#include <KIM_LogVerbosity.hpp>
#include <functional>
#include <optional>
#include <string>

namespace kim_torchml {

// One of KIM's routines.
struct Routine {
    const char* name;
    const char* memory_is_for;  // end of the sentence "this machine has not enough memory ...", with what to do
};

// What is reported in addition to a failure's message.
struct FailureNote {
    std::string addition;     // appended to the message, on the same line
    std::string second_line;  // a line of its own, or empty
};

// Called with a failure's message before the failure is reported; must not throw.
using OnFailure = std::function<FailureNote(const std::string& message)>;

// A failure as users see it.
struct Failure {
    std::string message;
    std::string second_line;  // a line of its own, or empty
    bool is_interrupt;        // Ctrl-C, which is no error
    bool is_of_other_rank;    // another rank has failed, and says why
};

// Runs the routine's body; returns what was thrown, if anything was.
std::optional<Failure> run_guarded(const Routine& routine, const std::function<void()>& body,
                                   const OnFailure& on_failure);

// Writes a failure on stderr.
void report(const Failure& failure);

// Runs the body of a routine that has a KIM object; returns 0, or 1 after writing what was thrown to KIM's log and on
// stderr.
template <class KimObject>
int guarded(KimObject* kim, const Routine& routine, const std::function<void()>& body,
            const OnFailure& on_failure = nullptr) {
    const std::optional<Failure> failure = run_guarded(routine, body, on_failure);
    if (!failure) {
        return 0;
    }
    // The report comes last: it may end the process.
    kim->LogEntry(KIM::LOG_VERBOSITY::error, failure->message, __LINE__, routine.name);
    report(*failure);
    return 1;
}

}  // namespace kim_torchml
