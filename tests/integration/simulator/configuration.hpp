// SPDX-License-Identifier: LGPL-2.1-or-later
// A configuration of particles and its neighbour lists, as a simulator keeps them.
#pragma once

#include <random>
#include <string>
#include <vector>

struct Configuration {
    std::vector<int> species_codes;   // [n]
    std::vector<int> contributing;    // [n], 1 = contributing
    std::vector<double> coordinates;  // [n, 3], Å

    int n() const {
        return static_cast<int>(species_codes.size());
    }
};

// Reads "n", then n lines "code contributing x y z". Throws std::runtime_error.
Configuration read_configuration(const std::string& path);

// Adds to every coordinate a random number between -amplitude and amplitude.
void displace(Configuration* configuration, double amplitude, std::mt19937* random);

// Full neighbour lists of all particles. Every request is counted.
class NeighbourLists {
  public:
    // reach: cutoff and skin, Å.
    void build(const Configuration& configuration, double reach);

    const std::vector<int>& of(int particle);

    // How often each particle's list was asked for since the lists were built.
    const std::vector<int>& requests() const {
        return requests_;
    }

  private:
    std::vector<std::vector<int>> lists_;
    std::vector<int> requests_;
};
