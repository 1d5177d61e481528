// SPDX-License-Identifier: LGPL-2.1-or-later
// One compute: what is given to KIM, what is expected of it, and the check of what came of it.
#pragma once

#include <KIM_SimulatorHeaders.hpp>
#include <array>
#include <string>
#include <vector>

#include "lists.hpp"
#include "particles.hpp"

// One of KIM's outputs.
struct Output {
    KIM::ComputeArgumentName name;
    bool per_particle;
    std::size_t columns;
};

// What a compute may lead to. One that succeeds has finite outputs and prints nothing; one that the driver refuses
// prints one line.
enum class Outcome {
    success,
    zeros,
    refusal,     // by the driver, with Call::message in its line
    kim_refuses  // before the driver is asked, so that nothing is said
};

constexpr int n_inputs = 4;  // numberOfParticles, particleSpeciesCodes, particleContributing, coordinates

struct Call {
    std::string name;
    Particles particles;
    Lists lists;
    int claimed_n = 0;
    std::array<bool, n_inputs> null_input{};
    std::vector<bool> wanted;  // of the model's outputs; all where this is empty
    bool sets_callback = true;
    bool may_be_refused = false;  // success is expected, but a refusal is allowed
    Outcome outcome = Outcome::success;
    std::string message;
    // Mistakes of this simulator itself, to test that its checks find them.
    std::size_t shift_outputs = 0;  // by so many numbers
    bool misalign_coordinates = false;

    // Takes `particles`, and lists that reach this far (Å).
    Call(std::string name, Particles particles, double reach);
    void expect_refusal(const std::string& message);
};

struct Results {
    bool succeeded = false;
    std::vector<std::vector<double>> outputs;  // of the model's outputs; empty where not wanted
};

class Model {
  public:
    explicit Model(const std::string& name);
    ~Model();
    Model(const Model&) = delete;
    Model& operator=(const Model&) = delete;

    double cutoff() const;
    int n_species() const;
    KIM::Model* kim() const {
        return model_;
    }

  private:
    KIM::Model* model_ = nullptr;
};

struct Memory;

class ComputeArguments {
  public:
    explicit ComputeArguments(const Model& model);
    ~ComputeArguments();
    ComputeArguments(const ComputeArguments&) = delete;
    ComputeArguments& operator=(const ComputeArguments&) = delete;

    // Computes and checks what came of it. Throws Violation.
    Results compute(Call* call);
    // Computes with the pointers that KIM has. Returns what KIM returns.
    int compute_as_it_is() const;

    const std::vector<Output>& outputs() const {
        return outputs_;
    }
    KIM::ComputeArguments* kim() const {
        return arguments_;
    }

  private:
    // Hands the call to KIM. Returns 0 unless KIM refuses a pointer.
    int point_to(Memory& memory, Call* call);

    const Model& model_;
    KIM::ComputeArguments* arguments_ = nullptr;
    std::vector<Output> outputs_;  // those that the model supports
};

// Checks what a refusal says. Throws Violation.
void check_refusal(const std::string& said, const std::string& message);
