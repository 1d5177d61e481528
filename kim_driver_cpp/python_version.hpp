// SPDX-License-Identifier: LGPL-2.1-or-later
// The version of a Python that is not running.
#pragma once

#include <string>

namespace kim_torchml {

// Returns X.Y for "3.11.2 (main, ...)" and the like; an empty string where a text does not begin with a version.
std::string major_minor(const std::string& version);

// Returns X.Y of the Python that an executable starts, without starting it: as its virtual environment says, or the
// name of the file that it is a link to. Returns an empty string where neither tells.
std::string version_of_python(const std::string& executable);

}  // namespace kim_torchml
