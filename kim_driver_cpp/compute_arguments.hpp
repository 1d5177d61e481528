// SPDX-License-Identifier: LGPL-2.1-or-later
// KIM's compute arguments: what the simulator gave, checked, and as numpy views on its memory.
#pragma once

#include <pybind11/pybind11.h>

#include <KIM_ModelDriverHeaders.hpp>
#include <vector>

#include "neighbours/neighbour_lists.hpp"

namespace kim_torchml {

// One of KIM's outputs that hold doubles.
struct Output {
    KIM::ComputeArgumentName name;
    bool per_particle;
    int columns;  // 0: one number
};

// The model buffer of a ComputeArguments: threads compute with their own, so nothing here is shared.
struct ComputeScratch {
    std::vector<Output> supported;    // the others must not be asked for: KIM takes that for an error
    std::vector<double> coordinates;  // in Å, where the simulator's are not
    long step = 0;                    // the model's number of the last compute
    NeighbourLists neighbour_lists;
};

// For a compute and for the end of its arguments alike.
template <class KimArguments>
ComputeScratch* scratch_of(const KimArguments& arguments) {
    void* buffer = nullptr;
    arguments.GetModelBufferPointer(&buffer);
    return static_cast<ComputeScratch*>(buffer);
}

// Inputs of one compute. Pointers are the simulator's, that to coordinates in other units than Å the scratch memory's.
struct ComputeInputs {
    Configuration configuration;
    const int* species_codes = nullptr;  // [n]
};

// Reads and checks KIM's inputs: counts, pointers, species codes, finite coordinates. Throws std::invalid_argument.
// to_angstrom is one of the simulator's units of length in Å; unless that is 1, coordinates are converted in `room`.
ComputeInputs read_inputs(const KIM::ModelComputeArguments& arguments, int n_elements, double to_angstrom,
                          std::vector<double>* room);

// The simulator's neighbour lists; throws std::runtime_error where its callback fails.
NeighbourSource kim_neighbours(const KIM::ModelComputeArguments& arguments);

// Those of `supported` that were asked for: KIM's name -> writable array on the simulator's memory. Needs the GIL.
pybind11::dict requested_outputs(const KIM::ModelComputeArguments& arguments, const std::vector<Output>& supported,
                                 int n);

// Declares each of KIM's outputs optional if its name is in `supported_names`, else not supported; returns the
// optional ones. Needs the GIL.
std::vector<Output> declare_support(KIM::ModelComputeArgumentsCreate& arguments,
                                    const pybind11::object& supported_names);

// Read-only view on the simulator's memory. Needs the GIL.
pybind11::object view(const double* data, int rows, int columns);
pybind11::object view(const int* data, int rows);

}  // namespace kim_torchml
