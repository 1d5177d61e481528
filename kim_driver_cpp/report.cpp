// SPDX-License-Identifier: LGPL-2.1-or-later
#include "report.hpp"

#include <signal.h>
#include <strings.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "python_streams.hpp"

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

std::string on_error() {
    const char* value = std::getenv("KIM_TORCHML_ON_ERROR");
    return value != nullptr ? value : "";
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
        return "; KIM_TORCHML_ON_ERROR must be exit or return, got '" + asked + "', which counts as return";
    }
    return has_other_ranks() ? "; if the other ranks go on, they wait for this one for ever: end the run, and set "
                               "KIM_TORCHML_ON_ERROR=exit to have such a failure end it"
                             : "";
}

// Keeps SIGPIPE from ending the process where the reader of stderr is gone: simulators do not ignore it.
class WithoutSigpipe {
  public:
    WithoutSigpipe() {
        sigemptyset(&sigpipe_);
        sigaddset(&sigpipe_, SIGPIPE);
        pthread_sigmask(SIG_BLOCK, &sigpipe_, &before_);
    }
    ~WithoutSigpipe() {
        // One that was blocked before is its owner's.
        if (sigismember(&before_, SIGPIPE) == 0) {
            const timespec no_time{0, 0};
            sigtimedwait(&sigpipe_, nullptr, &no_time);
            pthread_sigmask(SIG_SETMASK, &before_, nullptr);
        }
    }
    WithoutSigpipe(const WithoutSigpipe&) = delete;
    WithoutSigpipe& operator=(const WithoutSigpipe&) = delete;

  private:
    sigset_t sigpipe_;
    sigset_t before_;
};

}  // namespace

std::string rank_from_environment() {
    const Launcher* launcher = own_launcher();
    const char* rank = launcher != nullptr ? std::getenv(launcher->rank) : nullptr;
    return rank != nullptr ? rank : "";
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
        std::fflush(nullptr);
        _exit(1);
    }
}

}  // namespace kim_torchml
