// SPDX-License-Identifier: LGPL-2.1-or-later
// Everything that a simulator may do wrong, or unusually, in one compute.
#pragma once

#include <string>
#include <vector>

#include "call.hpp"

// What odd calls are made from.
struct Sound {
    Particles particles;
    double reach;  // of its lists, Å
    int n_species;
    std::size_t n_outputs;
    bool is_periodic;  // particles that do not contribute are images of those that do
};

struct OddCall {
    const char* name;
    void (*make)(Call* call, const Sound& sound, Chance* chance);  // changes a sound call
    bool gives_the_same;                                           // outputs are bit for bit those of the sound call
    bool leaves_images = false;                                    // a particle moves without its images
};

// Those in which a particle moves without its images are left out for periodic particles: folding refuses them only
// after it has looked for other owners for seconds.
std::vector<OddCall> odd_calls(bool is_periodic);
