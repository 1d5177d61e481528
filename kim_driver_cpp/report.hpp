// SPDX-License-Identifier: LGPL-2.1-or-later
// Writes one line on stderr, tagged with the MPI rank. Users see stderr on their screens, but not KIM's log.
#pragma once

#include <string>

namespace kim_torchml {

// Rank of this process as the MPI launcher put it into the environment, or an empty string.
std::string rank_from_environment();

void report_error(const std::string& message);

}  // namespace kim_torchml
