// SPDX-License-Identifier: LGPL-2.1-or-later
#include "report.hpp"

#include <cstdio>
#include <cstdlib>

namespace kim_torchml {

std::string rank_from_environment() {
    // Open MPI, MPICH and Intel MPI, MVAPICH, PALS (Cray), Slurm; the launcher closest to the process comes first.
    for (const char* name :
         {"OMPI_COMM_WORLD_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK", "PALS_RANKID", "SLURM_PROCID"}) {
        const char* value = std::getenv(name);
        if (value != nullptr && *value != '\0') {
            return value;
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
