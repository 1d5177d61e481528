// SPDX-License-Identifier: LGPL-2.1-or-later
#include "particles.hpp"

#include <algorithm>
#include <array>

int Particles::n_contributing() const {
    return static_cast<int>(
        std::count_if(contributing.begin(), contributing.end(), [](int flag) { return flag != 0; }));
}

Particles random_particles(int n, double edge, int n_species, Chance* chance) {
    Particles particles;
    for (int i = 0; i < n; ++i) {
        particles.species_codes.push_back(chance->below(n_species));
        particles.contributing.push_back(i == 0 || chance->one_in(2) ? 1 : 0);
        for (int axis = 0; axis < 3; ++axis) {
            particles.coordinates.push_back(edge * chance->fraction());
        }
    }
    return particles;
}

Particles periodic_particles(int n, double edge, double reach, int n_species, Chance* chance) {
    Particles particles = random_particles(n, edge, n_species, chance);
    std::fill(particles.contributing.begin(), particles.contributing.end(), 1);
    constexpr int own_cell = 13;
    for (int cell = 0; cell < 27; ++cell) {
        const std::array<int, 3> steps = {cell / 9 - 1, cell / 3 % 3 - 1, cell % 3 - 1};
        for (int i = 0; i < n && cell != own_cell; ++i) {
            std::array<double, 3> place{};
            bool is_within_reach = true;
            for (std::size_t axis = 0; axis < 3; ++axis) {
                place[axis] = particles.coordinates[3 * static_cast<std::size_t>(i) + axis] + edge * steps[axis];
                is_within_reach = is_within_reach && place[axis] >= -reach && place[axis] <= edge + reach;
            }
            if (is_within_reach) {
                particles.species_codes.push_back(particles.species_codes[static_cast<std::size_t>(i)]);
                particles.contributing.push_back(0);
                particles.coordinates.insert(particles.coordinates.end(), place.begin(), place.end());
            }
        }
    }
    return particles;
}

std::vector<std::vector<int>> neighbours_within(const Particles& particles, double reach) {
    std::vector<std::vector<int>> lists(particles.species_codes.size());
    const double* r = particles.coordinates.data();
    for (int i = 0; i < particles.n(); ++i) {
        for (int j = 0; j < particles.n(); ++j) {
            double squared = 0.0;
            for (int axis = 0; axis < 3; ++axis) {
                const double difference = r[3 * j + axis] - r[3 * i + axis];
                squared += difference * difference;
            }
            if (i != j && squared <= reach * reach) {
                lists[static_cast<std::size_t>(i)].push_back(j);
            }
        }
    }
    return lists;
}
