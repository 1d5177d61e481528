// SPDX-License-Identifier: LGPL-2.1-or-later
// Reads what was written to stderr, which must be a file that can be read.
#pragma once

#include <sys/types.h>

#include <string>

class Said {
  public:
    // Begins to listen.
    Said();
    // Returns what was written since then. Throws std::runtime_error if stderr cannot be read.
    std::string since() const;

  private:
    off_t begin_;
};
