// SPDX-License-Identifier: LGPL-2.1-or-later
#include "said.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <stdexcept>

namespace {

off_t size_of_stderr() {
    std::fflush(stderr);
    struct stat file;
    if (fstat(STDERR_FILENO, &file) != 0 || !S_ISREG(file.st_mode)) {
        throw std::runtime_error("stderr must be a file");
    }
    return file.st_size;
}

}  // namespace

Said::Said() : begin_(size_of_stderr()) {}

std::string Said::since() const {
    std::string text(static_cast<std::size_t>(size_of_stderr() - begin_), '\0');
    if (pread(STDERR_FILENO, text.data(), text.size(), begin_) != static_cast<ssize_t>(text.size())) {
        throw std::runtime_error("stderr must be open for reading too");
    }
    return text;
}
