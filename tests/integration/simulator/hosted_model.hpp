// SPDX-License-Identifier: LGPL-2.1-or-later
// A KIM model, and the arguments that one thread computes with.
#pragma once

#include <KIM_SimulatorHeaders.hpp>
#include <string>
#include <vector>

#include "configuration.hpp"

struct Results {
    double energy = 0.0;
    std::vector<double> forces;  // [n, 3]
    // Empty where the model does not support them.
    std::vector<double> particle_energies;  // [n]
    std::vector<double> virial;             // [6]
    std::vector<double> particle_virials;   // [n, 6]
};

class HostedModel {
  public:
    // Creates a model in the units A and eV. Throws std::runtime_error.
    explicit HostedModel(const std::string& name);
    ~HostedModel();
    HostedModel(const HostedModel&) = delete;
    HostedModel& operator=(const HostedModel&) = delete;

    // The largest distance at which it needs neighbours, Å.
    double cutoff() const;
    double influence_distance() const;
    bool asks_for_lists_of_noncontributing() const;
    KIM::Model* kim() const {
        return model_;
    }

  private:
    KIM::Model* model_ = nullptr;
};

class HostedArguments {
  public:
    // Throws std::runtime_error.
    explicit HostedArguments(const HostedModel& model);
    ~HostedArguments();
    HostedArguments(const HostedArguments&) = delete;
    HostedArguments& operator=(const HostedArguments&) = delete;

    bool supports(KIM::ComputeArgumentName name) const;

    // Computes with lists that reach `skin` beyond the cutoff, built anew. Throws std::runtime_error.
    Results compute(const Configuration& configuration, double skin);

    // How often the last compute asked for each particle's neighbours.
    const std::vector<int>& requests() const {
        return lists_.requests();
    }

  private:
    const HostedModel& model_;
    KIM::ComputeArguments* arguments_ = nullptr;
    NeighbourLists lists_;
};
