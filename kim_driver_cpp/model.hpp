// SPDX-License-Identifier: LGPL-2.1-or-later
// A model as KIM holds it: the Python object that computes, and the numbers that KIM points to.
#pragma once

#include <pybind11/pybind11.h>

#include <KIM_ModelDriverHeaders.hpp>
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "barrier.hpp"
#include "interpreter.hpp"
#include "shim.hpp"

namespace kim_torchml {

class Model {
  public:
    // Reads the model's files through Python. Throws on anything that is wrong with them.
    Model(KIM::ModelDriverCreate* driver_create, const std::string& driver_folder);
    ~Model();
    Model(const Model&) = delete;
    Model& operator=(const Model&) = delete;

    // Registers species, cutoffs, routines and parameters with KIM, in a few named steps.
    void register_units(KIM::ModelDriverCreate* driver_create, const RequestedUnits& units);
    void register_species(KIM::ModelDriverCreate* driver_create);
    void register_parameters(KIM::ModelDriverCreate* driver_create);
    // For ModelDriverCreate and ModelRefresh alike.
    template <class KimObject>
    void point_to_cutoffs(KimObject* kim) {
        kim->SetInfluenceDistancePointer(&influence_distance_);
        kim->SetNeighborListPointers(1, &cutoff_, &will_not_request_of_noncontributing_);
    }

    // Throws std::invalid_argument if a read-only parameter was changed.
    void check_parameters();

    void create_arguments(KIM::ModelComputeArgumentsCreate* arguments);
    void compute(const KIM::ModelComputeArguments& arguments);
    // For a compute that has failed with this message.
    FailureNote save_failure(const KIM::ModelCompute& kim, const KIM::ModelComputeArguments& arguments,
                             const std::string& message) const;

  private:
    LiveModel live_;
    pybind11::object model_;
    std::vector<std::string> species_;
    std::string model_file_;
    std::atomic<long> n_computes_{0};  // several threads may compute
    double influence_distance_ = 0.0;  // Å
    double cutoff_ = 0.0;              // Å
    int will_not_request_of_noncontributing_ = 1;
    int n_elements_ = 0;  // KIM may write here: check_parameters compares it with species_
};

}  // namespace kim_torchml
