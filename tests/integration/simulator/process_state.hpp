// SPDX-License-Identifier: LGPL-2.1-or-later
// What a process shares with the libraries in it, and they must leave alone.
#pragma once

#include <string>

// Chooses a locale, a umask and signal handlers that no library would choose by itself.
void set_unusual_state();

// Locale, working directory, floating-point mode, umask and signal handlers, as one JSON object.
std::string process_state_as_json();
