// SPDX-License-Identifier: LGPL-2.1-or-later
#include "report.hpp"

#include <strings.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "limited_time.hpp"
#include "python_streams.hpp"
#include "without_sigpipe.hpp"

namespace kim_torchml {
namespace {

// What a launcher sets. The launcher nearest to the process comes first, and only the launcher of this very process
// sets its node-local rank; Slurm sets it for a batch script too. The size must be that of what was launched together:
// SLURM_NTASKS is the job's, also in a batch script that runs one process.
struct Launcher {
    const char* local_rank;
    const char* rank;
    const char* size;
};

// The launchers of kim_torchml/process/rank.py, for errors that come before Python runs.
constexpr Launcher launchers[] = {
    {"OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"},  // Open MPI
    {"MV2_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"},     // MVAPICH
    {"MPI_LOCALRANKID", "PMI_RANK", "PMI_SIZE"},                                     // MPICH, Hydra, Intel MPI
    {"PALS_LOCAL_RANKID", "PALS_RANKID", "PMI_SIZE"},                                // PALS (Cray)
    {"SLURM_LOCALID", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"},                       // Slurm
};

// What is known of the ranks that compute with this one.
OtherRanks other_ranks;

const Launcher* own_launcher() {
    for (const Launcher& launcher : launchers) {
        if (std::getenv(launcher.local_rank) != nullptr) {
            return &launcher;
        }
    }
    return nullptr;
}

bool has_other_ranks() {
    const Launcher* launcher = own_launcher();
    const char* size = launcher != nullptr ? std::getenv(launcher->size) : nullptr;
    return size != nullptr && std::atoi(size) > 1;
}

// Without blanks around it, as the switches are read.
std::string on_error() {
    const char* value = std::getenv("KIM_TORCHML_ON_ERROR");
    const std::string text = value != nullptr ? value : "";
    const char* blanks = " \t\r\n";
    const std::size_t begin = text.find_first_not_of(blanks);
    return begin == std::string::npos ? "" : text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
}

bool is(const std::string& value, const char* word) {
    return strcasecmp(value.c_str(), word) == 0;
}

std::string advice_on_other_ranks() {
    const std::string asked = on_error();
    if (is(asked, "exit")) {
        return "; this process ends, as KIM_TORCHML_ON_ERROR asks";
    }
    if (!asked.empty() && !is(asked, "return")) {
        return "; KIM_TORCHML_ON_ERROR must be exit or return, got '" + printable(asked) + "', which counts as return";
    }
    if (other_ranks.agree || !has_other_ranks()) {
        return "";
    }
    const std::string reason =
        other_ranks.why_not.empty() ? "" : "; all ranks would end together, but " + other_ranks.why_not;
    return "; if the other ranks go on, they wait for this one for ever: end the run, and set "
           "KIM_TORCHML_ON_ERROR=exit "
           "to have such a failure end it" +
           reason;
}

void flush_c_streams() {
    std::fflush(nullptr);
}

}  // namespace

void set_other_ranks(const OtherRanks& known) {
    other_ranks = known;
}

std::string rank_from_environment() {
    const Launcher* launcher = own_launcher();
    const char* rank = launcher != nullptr ? std::getenv(launcher->rank) : nullptr;
    return rank != nullptr ? rank : "";
}

std::string printable(const std::string& text) {
    std::string line = text;
    for (char& character : line) {
        const auto code = static_cast<unsigned char>(character);
        character = code < 0x20 || code == 0x7f ? '?' : character;
    }
    return line;
}

void report_line(const std::string& message) {
    const std::string rank = rank_from_environment();
    const std::string line = "[kim-torchml" + (rank.empty() ? "" : " rank " + rank) + "] error: " + message + "\n";
    // It is written in one piece, so that lines of several ranks do not mix.
    const WithoutSigpipe guard;
    std::fflush(stderr);
    for (std::size_t done = 0; done < line.size();) {
        const ssize_t written = write(STDERR_FILENO, line.data() + done, line.size() - done);
        if (written < 0 && errno != EINTR) {
            return;
        }
        done += written > 0 ? static_cast<std::size_t>(written) : 0;
    }
}

void report_failure(const std::string& message, const std::string& second_line) {
    report_line(message + advice_on_other_ranks());
    if (!second_line.empty()) {
        report_line(second_line);
    }
    if (is(on_error(), "exit")) {
        // What the simulator has not written yet, by way of Python or of C, is not lost. Exit handlers do not run: some
        // wait for other ranks.
        flush_python_streams();
        // Another thread may hold a stream for good, waiting for its input, say: after a while the rest is lost.
        run_for_at_most<flush_c_streams>(2);
        _exit(1);
    }
}

}  // namespace kim_torchml
