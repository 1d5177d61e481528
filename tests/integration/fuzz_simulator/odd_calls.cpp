// SPDX-License-Identifier: LGPL-2.1-or-later
#include "odd_calls.hpp"

#include <algorithm>
#include <climits>
#include <cmath>
#include <iterator>
#include <limits>

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

int some_particle(const Call& call, Chance* chance) {
    return chance->below(call.particles.n());
}

// The list of a particle that contributes, which every model asks for.
std::vector<int>& asked_for_list(Call* call, Chance* chance) {
    int particle = some_particle(*call, chance);
    while (call->particles.contributing[static_cast<std::size_t>(particle)] == 0) {
        particle = some_particle(*call, chance);
    }
    return call->lists.of_particle[static_cast<std::size_t>(particle)];
}

void insert(std::vector<int>* list, int neighbour, Chance* chance) {
    list->insert(list->begin() + chance->below(static_cast<int>(list->size()) + 1), neighbour);
}

void sound_call(Call* /*call*/, const Sound& /*sound*/, Chance* /*chance*/) {}

void some_outputs(Call* call, const Sound& sound, Chance* chance) {
    for (std::size_t k = 0; k < sound.n_outputs; ++k) {
        call->wanted.push_back(chance->one_in(2));
    }
}

void other_flags(Call* call, const Sound& /*sound*/, Chance* chance) {
    for (int& flag : call->particles.contributing) {
        flag = flag == 0 ? 0 : chance->one_of<int>({1, 2, -1, 256, INT_MAX, INT_MIN});
    }
}

void lists_backwards(Call* call, const Sound& /*sound*/, Chance* /*chance*/) {
    for (std::vector<int>& list : call->lists.of_particle) {
        std::reverse(list.begin(), list.end());
    }
}

void lists_of_all(Call* call, const Sound& /*sound*/, Chance* /*chance*/) {
    call->lists.of_particle = neighbours_within(call->particles, infinity);
}

void endless_list(Call* call, const Sound& sound, Chance* chance) {
    // It names, again and again, a particle that is beyond every cutoff.
    Particles& particles = call->particles;
    particles.species_codes.push_back(chance->below(sound.n_species));
    particles.contributing.push_back(0);
    particles.coordinates.insert(particles.coordinates.end(), 3, 1e4);
    call->claimed_n = particles.n();
    call->lists.of_particle.emplace_back();
    std::vector<int>& list = asked_for_list(call, chance);
    list.insert(list.end(), 300000, particles.n() - 1);
    call->expect_refusal(" has " + std::to_string(list.size()) + " neighbours, but there are " +
                         std::to_string(particles.n()) + " particles");
}

void null_input(Call* call, const Sound& /*sound*/, Chance* chance) {
    call->null_input[static_cast<std::size_t>(chance->below(n_inputs))] = true;
    call->outcome = Outcome::kim_refuses;
}

void no_callback(Call* call, const Sound& /*sound*/, Chance* /*chance*/) {
    call->sets_callback = false;
    call->outcome = Outcome::kim_refuses;
}

void negative_n(Call* call, const Sound& /*sound*/, Chance* chance) {
    call->claimed_n = chance->one_of<int>({-1, -2, -1000, INT_MIN});
    call->expect_refusal("`numberOfParticles` must not be negative, got " + std::to_string(call->claimed_n));
}

void fewer_than_listed(Call* call, const Sound& /*sound*/, Chance* chance) {
    std::vector<int>& list = call->lists.of_particle[0];
    insert(&list, call->particles.n() - 1, chance);
    --call->claimed_n;
    // The list may be refused for its length too.
    call->expect_refusal(", but there are " + std::to_string(call->claimed_n) + " particles");
}

void strange_species(Call* call, const Sound& sound, Chance* chance) {
    const int particle = some_particle(*call, chance);
    const int code = chance->one_of<int>({-1, sound.n_species, sound.n_species + 1, 255, INT_MAX, INT_MIN});
    call->particles.species_codes[static_cast<std::size_t>(particle)] = code;
    call->expect_refusal("got " + std::to_string(code) + " for particle " + std::to_string(particle));
}

void not_finite(Call* call, const Sound& /*sound*/, Chance* chance) {
    const int place = chance->below(3 * call->particles.n());
    call->particles.coordinates[static_cast<std::size_t>(place)] =
        chance->one_of<double>({infinity, -infinity, std::nan("")});
    call->expect_refusal("for particle " + std::to_string(place / 3) + "; the simulation has blown up");
}

void huge_coordinates(Call* call, const Sound& /*sound*/, Chance* chance) {
    const int place = chance->below(3 * call->particles.n());
    call->particles.coordinates[static_cast<std::size_t>(place)] =
        chance->one_of<double>({1e10, -1e160, std::numeric_limits<double>::max(), 5e-324, -0.0});
    call->may_be_refused = true;
}

void same_place(Call* call, const Sound& /*sound*/, Chance* chance) {
    double* r = call->particles.coordinates.data();
    const int from = some_particle(*call, chance);
    std::copy_n(r + 3 * from, 3, r + 3 * some_particle(*call, chance));
    call->may_be_refused = true;
}

void fails(Call* call, const Sound& /*sound*/, Chance* chance) {
    call->lists.trick = Trick::fails;
    call->lists.trick_at = chance->below(call->particles.n_contributing());
    call->lists.trick_count = chance->one_of<int>({0, 1, -1, INT_MAX, INT_MIN});
    call->expect_refusal("the simulator failed to give the neighbour list of particle");
}

void null_list(Call* call, const Sound& /*sound*/, Chance* chance) {
    call->lists.trick = Trick::null;
    call->lists.trick_at = chance->below(call->particles.n_contributing());
    call->lists.trick_count = chance->one_of<int>({1, 2, 1000, INT_MAX, -1, INT_MIN});
    call->expect_refusal("gave a neighbour list of " + std::to_string(call->lists.trick_count) +
                         " neighbours without their numbers");
}

void null_lists_of_none(Call* call, const Sound& sound, Chance* chance) {
    call->lists.trick = Trick::null_without_count;
    call->lists.trick_at = chance->below(call->particles.n_contributing());
    // The few images that are left in lists may have several explanations.
    call->may_be_refused = sound.is_periodic;
}

void strange_neighbour(Call* call, const Sound& /*sound*/, Chance* chance) {
    const int n = call->particles.n();
    const int neighbour = chance->one_of<int>({-1, -2, n, n + 1, 1000000, INT_MAX, INT_MIN});
    insert(&asked_for_list(call, chance), neighbour, chance);
    call->expect_refusal(" names particle " + std::to_string(neighbour) + ", but there are " + std::to_string(n));
}

void own_neighbour(Call* call, const Sound& /*sound*/, Chance* chance) {
    const int particle = some_particle(*call, chance);
    insert(&call->lists.of_particle[static_cast<std::size_t>(particle)], particle, chance);
    call->may_be_refused = true;
}

void repeated_neighbours(Call* call, const Sound& /*sound*/, Chance* chance) {
    std::vector<int>& list = asked_for_list(call, chance);
    const std::vector<int> once = list;
    for (int k = chance->below(20); k >= 0; --k) {
        list.insert(list.end(), once.begin(), once.end());
    }
    call->may_be_refused = true;
}

void one_sided_lists(Call* call, const Sound& /*sound*/, Chance* chance) {
    asked_for_list(call, chance).clear();
    call->may_be_refused = true;
}

void replace_particles(Call* call, Particles particles, const Sound& sound) {
    *call = Call(call->name, std::move(particles), sound.reach);
}

void closer_together(Call* call, const Sound& sound, Chance* chance) {
    Particles particles = call->particles;
    const double factor = 0.9 + 0.1 * chance->fraction();
    for (double& coordinate : particles.coordinates) {
        coordinate *= factor;
    }
    replace_particles(call, particles, sound);
    some_outputs(call, sound, chance);
}

void nobody(Call* call, const Sound& sound, Chance* chance) {
    replace_particles(call, {}, sound);
    some_outputs(call, sound, chance);
}

void nobody_contributes(Call* call, const Sound& sound, Chance* chance) {
    Particles particles = call->particles;
    std::fill(particles.contributing.begin(), particles.contributing.end(), 0);
    replace_particles(call, particles, sound);
    some_outputs(call, sound, chance);
}

void some_other(Call* call, const Sound& sound, Chance* chance) {
    const int n = 1 + chance->below(40);
    const double edge = 2.0 + 8.0 * chance->fraction();
    Particles particles = sound.is_periodic
                              ? periodic_particles(n, std::max(edge, sound.reach), sound.reach, sound.n_species, chance)
                              : random_particles(n, edge, sound.n_species, chance);
    replace_particles(call, std::move(particles), sound);
    some_outputs(call, sound, chance);
}

void image_of_nobody(Call* call, const Sound& sound, Chance* /*chance*/) {
    replace_particles(call, {{0, 1}, {1, 0}, {0.0, 0.0, 0.0, 2.0, 0.0, 0.0}}, sound);
    if (sound.is_periodic) {
        call->expect_refusal("particle 1 at (2, 0, 0) Å must be a periodic image of a contributing particle");
    }
}

}  // namespace

std::vector<OddCall> odd_calls(bool is_periodic) {
    static const std::vector<OddCall> all = {
        {"sound", sound_call, true},
        {"some outputs NULL", some_outputs, true},
        {"contributing flags other than 0 and 1", other_flags, true},
        {"lists backwards", lists_backwards, true},
        {"lists of all particles", lists_of_all, true},
        {"a list of 300000 particles beyond the cutoff", endless_list, false},
        {"a required input NULL", null_input, false},
        {"no neighbour callback", no_callback, false},
        {"negative n", negative_n, false},
        {"n smaller than in the lists", fewer_than_listed, false},
        {"a species code out of range", strange_species, false},
        {"a coordinate that is not finite", not_finite, false},
        {"a coordinate of extreme size", huge_coordinates, false, true},
        {"two particles at the same place", same_place, false, true},
        {"neighbour callback fails", fails, false},
        {"neighbour callback gives NULL with a count", null_list, false},
        {"neighbour callback gives NULL without a count", null_lists_of_none, false},
        {"a neighbour that is not there", strange_neighbour, false},
        {"a particle is its own neighbour", own_neighbour, false},
        {"neighbours repeated", repeated_neighbours, false},
        {"a list that is missing", one_sided_lists, false},
        {"all particles closer together", closer_together, false},
        {"no particles", nobody, false},
        {"no contributing particles", nobody_contributes, false},
        {"some other particles", some_other, false},
        {"an image of nobody", image_of_nobody, false},
    };
    std::vector<OddCall> found;
    std::copy_if(all.begin(), all.end(), std::back_inserter(found),
                 [is_periodic](const OddCall& odd) { return !is_periodic || !odd.leaves_images; });
    return found;
}
