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
#include "parameters.hpp"
#include "shim.hpp"
#include "units.hpp"

namespace kim_torchml {

class Model {
  public:
    // Reads the model's files through Python. Throws on anything that is wrong with them.
    Model(KIM::ModelDriverCreate* driver_create, const RequestedUnits& units, const std::string& driver_folder);
    ~Model();
    Model(const Model&) = delete;
    Model& operator=(const Model&) = delete;

    // Takes from Python what KIM is told of the model.
    void read_description();
    // Registers units, species, cutoffs and parameters with KIM, in a few named steps.
    void register_units(KIM::ModelDriverCreate* driver_create);
    void register_species(KIM::ModelDriverCreate* driver_create);
    void register_parameters(KIM::ModelDriverCreate* driver_create);
    // KimObject: ModelDriverCreate or ModelRefresh.
    template <class KimObject>
    void point_to_cutoffs(KimObject* kim) {
        kim->SetInfluenceDistancePointer(&influence_distance_);
        kim->SetNeighborListPointers(1, &cutoff_, &will_not_request_of_noncontributing_);
    }

    // Does what all ranks do that compute with this one, and fails where it fails on one of them.
    template <class Body>
    void together(const Body& body) {
        telling_others(body);
        check_others();
    }

    // Passes the parameters that the simulator has changed to the model. If the model refuses them, here or on another
    // rank, all parameters get their old values back.
    void refresh_parameters();
    // Writes the model with the present values of its parameters, refreshed or not.
    void write(const KIM::ModelWriteParameterizedModel& kim);

    void create_arguments(KIM::ModelComputeArgumentsCreate* arguments);
    void compute(const KIM::ModelComputeArguments& arguments);
    // Lets the model say its last words. Nothing is computed afterwards.
    void close();
    // Saves the configuration of a compute that has failed with this message.
    FailureNote save_failure(const KIM::ModelCompute& kim, const KIM::ModelComputeArguments& arguments,
                             const std::string& message) const;

  private:
    // Returns what a body gives; where it throws, the ranks that compute with this one learn that it has failed.
    template <class Body>
    auto telling_others(const Body& body) {
        try {
            return body();
        } catch (...) {
            fail_with_others();
            throw;
        }
    }
    // Throws what says so where another rank has failed as well, and says why.
    void fail_with_others();
    void check_others();
    // Passes the changed parameters by a method of the Python object, which gets their indices.
    void pass_parameters(const std::vector<int>& changed, const char* method);

    LiveModel live_;
    Units units_;
    pybind11::object model_;
    Parameters parameters_;
    std::vector<std::string> species_;
    std::string model_file_;
    std::atomic<long> n_computes_{0};  // several threads may compute
    // KIM holds pointers to these three. Both lengths are in the simulator's unit.
    double influence_distance_ = 0.0;
    double cutoff_ = 0.0;
    int will_not_request_of_noncontributing_ = 1;
    bool has_others_ = false;  // ranks that compute with this one
};

}  // namespace kim_torchml
