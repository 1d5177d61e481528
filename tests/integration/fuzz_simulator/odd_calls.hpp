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
};

struct OddCall {
    const char* name;
    void (*make)(Call* call, const Sound& sound, Chance* chance);  // changes a sound call
    bool gives_the_same;                                           // outputs are bit for bit those of the sound call
};

const std::vector<OddCall>& all_odd_calls();
