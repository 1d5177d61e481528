// SPDX-License-Identifier: LGPL-2.1-or-later
// Particles by chance, and the random numbers that the whole run is drawn from.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

class Chance {
  public:
    explicit Chance(std::uint32_t seed) : engine_(seed) {}

    // From 0 to count - 1.
    int below(int count) {
        return static_cast<int>(engine_() % static_cast<std::uint32_t>(count));
    }
    bool one_in(int count) {
        return below(count) == 0;
    }
    // From 0 to 1.
    double fraction() {
        return static_cast<double>(engine_()) / static_cast<double>(std::mt19937::max());
    }
    template <class Value>
    Value one_of(const std::vector<Value>& values) {
        return values[static_cast<std::size_t>(below(static_cast<int>(values.size())))];
    }

  private:
    std::mt19937 engine_;
};

struct Particles {
    std::vector<int> species_codes;   // [n]
    std::vector<int> contributing;    // [n], 1 = contributing
    std::vector<double> coordinates;  // [n, 3], Å

    int n() const {
        return static_cast<int>(species_codes.size());
    }
    int n_contributing() const;
};

// n particles in a cube of this edge (Å), the first of which contributes.
Particles random_particles(int n, double edge, int n_species, Chance* chance);

// Particles by chance in a periodic cube, all of which contribute, and after them their images that are within reach
// (Å) of the cube, one translation after the other. The edge (Å) must not be shorter than the reach.
Particles periodic_particles(int n, double edge, double reach, int n_species, Chance* chance);

// For each particle those others that are within reach (Å).
std::vector<std::vector<int>> neighbours_within(const Particles& particles, double reach);
