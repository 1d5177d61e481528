// SPDX-License-Identifier: LGPL-2.1-or-later
// KIM's compute arguments: the code here checks what the simulator gave and makes numpy views on its memory.
#pragma once

#include <pybind11/pybind11.h>

#include <KIM_ModelDriverHeaders.hpp>
#include <vector>

#include "neighbours/neighbour_lists.hpp"

namespace kim_torchml {

// One of KIM's outputs; all of them hold doubles.
struct Output {
    KIM::ComputeArgumentName name;
    bool per_particle;
    int columns;  // 0 for a single number
};

// The model buffer of KIM's compute arguments. Every thread computes with arguments of its own, so nothing here is
// shared.
struct ComputeScratch {
    ComputeScratch() = default;
    // Takes the GIL to free what is Python's.
    ~ComputeScratch();
    ComputeScratch(const ComputeScratch&) = delete;
    ComputeScratch& operator=(const ComputeScratch&) = delete;

    std::vector<Output> supported;    // asking KIM for any other output is an error
    std::vector<double> coordinates;  // in Å; used where the simulator's unit is another
    long step = 0;                    // number of the last compute, counted by the model
    NeighbourLists neighbour_lists;
    pybind11::object memory;  // what the model keeps from one compute with these arguments to the next
};

// KimArguments: KIM's type for the arguments of a compute, or for those that are about to be destroyed.
template <class KimArguments>
ComputeScratch* scratch_of(const KimArguments& arguments) {
    void* buffer = nullptr;
    arguments.GetModelBufferPointer(&buffer);
    return static_cast<ComputeScratch*>(buffer);
}

// Inputs of one compute. The pointers lead to the simulator's memory; where its unit of length is not Å, the pointer to
// the coordinates leads to the scratch memory.
struct ComputeInputs {
    Configuration configuration;
    const int* species_codes = nullptr;  // [n]
};

// Reads and checks KIM's inputs: counts, pointers, species codes, finite coordinates. Throws std::invalid_argument.
// to_angstrom is the simulator's unit of length in Å; unless it is 1, the converted coordinates are stored in `room`.
ComputeInputs read_inputs(const KIM::ModelComputeArguments& arguments, int n_elements, double to_angstrom,
                          std::vector<double>* room);

// Returns the source of the simulator's neighbour lists, which throws std::runtime_error where its callback fails.
NeighbourSource kim_neighbours(const KIM::ModelComputeArguments& arguments);

// Returns the outputs of `supported` that the simulator asks for, as KIM's name -> writable array on the simulator's
// memory. Needs the GIL.
pybind11::dict requested_outputs(const KIM::ModelComputeArguments& arguments, const std::vector<Output>& supported,
                                 int n);

// Declares each of KIM's outputs optional if its name is in `supported_names`, else not supported; returns the
// optional ones. Needs the GIL.
std::vector<Output> declare_support(KIM::ModelComputeArgumentsCreate& arguments,
                                    const pybind11::object& supported_names);

// Returns a read-only view on the simulator's memory. Needs the GIL.
pybind11::object view(const double* data, int rows, int columns);
pybind11::object view(const int* data, int rows);

}  // namespace kim_torchml
