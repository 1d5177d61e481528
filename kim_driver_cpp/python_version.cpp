// SPDX-License-Identifier: LGPL-2.1-or-later
#include "python_version.hpp"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <system_error>

namespace kim_torchml {
namespace {

// Returns X.Y where a text begins as a format says, which has two numbers; else an empty string.
std::string scanned(const std::string& text, const char* format) {
    unsigned int major = 0;
    unsigned int minor = 0;
    return std::sscanf(text.c_str(), format, &major, &minor) == 2 ? std::to_string(major) + "." + std::to_string(minor)
                                                                  : "";
}

// Returns the version in a virtual environment's pyvenv.cfg. venv writes it as "version"; virtualenv and uv write it as
// "version_info", and virtualenv writes its own version as "version".
std::string version_of_environment(const std::filesystem::path& folder) {
    std::ifstream file(folder / "pyvenv.cfg");
    std::string version;
    for (std::string line; std::getline(file, line);) {
        const std::string info = scanned(line, " version_info = %u.%u");
        if (!info.empty()) {
            return info;
        }
        version = version.empty() ? scanned(line, " version = %u.%u") : version;
    }
    return version;
}

}  // namespace

std::string major_minor(const std::string& version) {
    return scanned(version, "%u.%u");
}

std::string version_of_python(const std::string& executable) {
    const std::filesystem::path path(executable);
    const std::string of_environment = version_of_environment(path.parent_path().parent_path());
    if (!of_environment.empty()) {
        return of_environment;
    }
    std::error_code ignored;
    return scanned(std::filesystem::canonical(path, ignored).filename().string(), "python%u.%u");
}

}  // namespace kim_torchml
