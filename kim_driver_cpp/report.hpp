// SPDX-License-Identifier: LGPL-2.1-or-later
// Reports failures on stderr, tagged with the MPI rank. Users see stderr on their screens, but not KIM's log.
#pragma once

#include <string>

namespace kim_torchml {

// Rank of this process as the MPI launcher put it into the environment, or an empty string.
std::string rank_from_environment();

// Returns a text that stays on its line: control characters become question marks.
std::string printable(const std::string& text);

// Writes an error on a line of its own. A line that cannot be written is dropped.
void report_line(const std::string& message);

// What is known of the ranks that compute with this one.
struct OtherRanks {
    bool agree = false;   // whether all fail where one does: then nobody waits for this one after a failure
    std::string why_not;  // why they do not, with what to do; empty where there is nothing to say
};

void set_other_ranks(const OtherRanks& known);

// Writes a failure on one line, and what belongs to it on another if `second_line` is not empty. Ends the process where
// KIM_TORCHML_ON_ERROR is "exit".
void report_failure(const std::string& message, const std::string& second_line = "");

}  // namespace kim_torchml
