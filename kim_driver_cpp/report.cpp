// SPDX-License-Identifier: LGPL-2.1-or-later
#include "report.hpp"

#include <cstdio>
#include <cstdlib>

namespace kim_torchml {

std::string rank_from_environment() {
    // The table of kim_torchml/process/rank.py, for errors that come before Python runs. Only the launcher of this very
    // process sets its node-local rank.
    static constexpr const char* launchers[][2] = {
        {"OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_RANK"},  // Open MPI
        {"MV2_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_RANK"},    // MVAPICH
        {"MPI_LOCALRANKID", "PMI_RANK"},                         // MPICH, Hydra, Intel MPI
        {"PALS_LOCAL_RANKID", "PALS_RANKID"},                    // PALS (Cray)
        {"SLURM_LOCALID", "SLURM_PROCID"},                       // Slurm
    };
    for (const auto& [local_rank, rank] : launchers) {
        if (std::getenv(local_rank) != nullptr) {
            const char* value = std::getenv(rank);
            return value != nullptr ? value : "";
        }
    }
    return "";
}

void report_error(const std::string& message) {
    const std::string rank = rank_from_environment();
    const std::string tag = rank.empty() ? "" : " rank " + rank;
    std::fprintf(stderr, "[kim-torchml%s] error: %s\n", tag.c_str(), message.c_str());
    std::fflush(stderr);
}

}  // namespace kim_torchml
