// SPDX-License-Identifier: LGPL-2.1-or-later
#include "call.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <utility>

#include "guarded.hpp"
#include "said.hpp"
#include "violation.hpp"

namespace {

namespace names = KIM::COMPUTE_ARGUMENT_NAME;

constexpr double rubbish = 1e30;  // what outputs hold before

const std::vector<Output>& all_outputs() {
    static const std::vector<Output> all = {
        {names::partialEnergy, false, 1},        {names::partialForces, true, 3},
        {names::partialParticleEnergy, true, 1}, {names::partialVirial, false, 6},
        {names::partialParticleVirial, true, 6},
    };
    return all;
}

bool is_in(const std::string& part, const std::string& text) {
    return text.find(part) != std::string::npos;
}

void check_outputs(const Call& call, const Results& results) {
    for (const std::vector<double>& output : results.outputs) {
        for (const double value : output) {
            require(std::isfinite(value) && value != rubbish, "an output was not written, or is not finite");
            require(call.outcome != Outcome::zeros || value == 0.0, "an output must be zero");
        }
    }
}

void check_outcome(const Call& call, const Results& results, const std::string& said) {
    if (results.succeeded) {
        require(call.outcome == Outcome::success || call.outcome == Outcome::zeros, "it must be refused, but succeeds");
        require(said.empty(), "success must be silent, got: " + said);
        check_outputs(call, results);
        return;
    }
    if (call.outcome == Outcome::kim_refuses) {
        require(said.empty(), "KIM must refuse this by itself, got: " + said);
        return;
    }
    require(call.outcome == Outcome::refusal || call.may_be_refused, "it must succeed, got: " + said);
    check_refusal(said, call.message);
}

}  // namespace

// The arrays of one compute.
struct Memory {
    Guarded<int> n;
    Guarded<int> species_codes;
    Guarded<int> contributing;
    Guarded<double> coordinates;
    std::vector<std::unique_ptr<Guarded<double>>> outputs;

    Memory(const Call& call, const std::vector<Output>& kinds)
        : n({call.claimed_n}),
          species_codes(call.particles.species_codes),
          contributing(call.particles.contributing),
          coordinates(call.particles.coordinates) {
        for (std::size_t k = 0; k < kinds.size(); ++k) {
            const std::size_t rows = kinds[k].per_particle ? call.particles.species_codes.size() : 1;
            const std::vector<double> before(rows * kinds[k].columns, rubbish);
            const bool wanted = call.wanted.empty() || call.wanted[k];
            outputs.push_back(wanted ? std::make_unique<Guarded<double>>(before) : nullptr);
        }
    }

    void check(const Call& call) const {
        require(n.is_intact() && species_codes.is_intact() && contributing.is_intact() && coordinates.is_intact(),
                "something was written beside an input");
        const bool same = n.values().front() == call.claimed_n &&
                          species_codes.values() == call.particles.species_codes &&
                          contributing.values() == call.particles.contributing;
        // Bit for bit: some are NaN.
        const std::vector<double> now = coordinates.values();
        const std::vector<double>& before = call.particles.coordinates;
        const auto size = sizeof(double) * now.size();
        require(same && (size == 0 || std::memcmp(now.data(), before.data(), size) == 0), "an input was changed");
        for (const auto& output : outputs) {
            require(!output || output->is_intact(), "something was written beside an output");
        }
    }
};

Call::Call(std::string its_name, Particles its_particles, double reach)
    : name(std::move(its_name)), particles(std::move(its_particles)) {
    lists.of_particle = neighbours_within(particles, reach);
    claimed_n = particles.n();
    outcome = particles.n_contributing() > 0 ? Outcome::success : Outcome::zeros;
}

void Call::expect_refusal(const std::string& its_message) {
    outcome = Outcome::refusal;
    message = its_message;
}

Model::Model(const std::string& name) {
    int accepted = 0;
    const int error = KIM::Model::Create(KIM::NUMBERING::zeroBased, KIM::LENGTH_UNIT::A, KIM::ENERGY_UNIT::eV,
                                         KIM::CHARGE_UNIT::unused, KIM::TEMPERATURE_UNIT::unused,
                                         KIM::TIME_UNIT::unused, name, &accepted, &model_);
    require(error == 0 && accepted != 0, "the model must be created");
}

Model::~Model() {
    KIM::Model::Destroy(&model_);
}

double Model::cutoff() const {
    int count = 0;
    const double* cutoffs = nullptr;
    model_->GetNeighborListPointers(&count, &cutoffs, nullptr);
    return *std::max_element(cutoffs, cutoffs + count);
}

int Model::n_species() const {
    int n = 0;
    require(model_->GetParameter(0, 0, &n) == 0, "KIM must give n_elements");
    return n;
}

ComputeArguments::ComputeArguments(const Model& model) : model_(model) {
    require(model.kim()->ComputeArgumentsCreate(&arguments_) == 0, "compute arguments must be created");
    for (const Output& output : all_outputs()) {
        KIM::SupportStatus status;
        arguments_->GetArgumentSupportStatus(output.name, &status);
        if (status == KIM::SUPPORT_STATUS::optional) {
            outputs_.push_back(output);
        }
    }
}

ComputeArguments::~ComputeArguments() {
    model_.kim()->ComputeArgumentsDestroy(&arguments_);
}

Results ComputeArguments::compute(Call* call) {
    Memory memory(*call, outputs_);
    require(point_to(memory, call) == 0, "KIM must take the pointers");
    const Said said;
    Results results;
    results.succeeded = compute_as_it_is() == 0;
    call->lists.forget();
    memory.check(*call);
    for (const auto& output : memory.outputs) {
        results.outputs.push_back(output ? output->values() : std::vector<double>());
    }
    check_outcome(*call, results, said.since());
    return results;
}

int ComputeArguments::compute_as_it_is() const {
    return model_.kim()->Compute(arguments_);
}

int ComputeArguments::point_to(Memory& memory, Call* call) {
    int* const no_int = nullptr;
    double* const no_double = nullptr;
    const auto& is_null = call->null_input;
    double* coordinates = memory.coordinates.data();
    if (call->misalign_coordinates) {
        coordinates = reinterpret_cast<double*>(reinterpret_cast<char*>(coordinates) + sizeof(double) / 2);
    }
    KIM::ComputeArguments& kim = *arguments_;
    int error = kim.SetArgumentPointer(names::numberOfParticles, is_null[0] ? no_int : memory.n.data());
    error |= kim.SetArgumentPointer(names::particleSpeciesCodes, is_null[1] ? no_int : memory.species_codes.data());
    error |= kim.SetArgumentPointer(names::particleContributing, is_null[2] ? no_int : memory.contributing.data());
    error |= kim.SetArgumentPointer(names::coordinates, is_null[3] ? no_double : coordinates);
    for (std::size_t k = 0; k < outputs_.size(); ++k) {
        const auto& output = memory.outputs[k];
        error |= kim.SetArgumentPointer(outputs_[k].name, output ? output->data() + call->shift_outputs : no_double);
    }
    KIM::GetNeighborListFunction* const callback = call->sets_callback ? Lists::give : nullptr;
    return error | kim.SetCallbackPointer(KIM::COMPUTE_CALLBACK_NAME::GetNeighborList, KIM::LANGUAGE_NAME::cpp,
                                          reinterpret_cast<KIM::Function*>(callback), &call->lists);
}

void check_refusal(const std::string& said, const std::string& message) {
    const std::string prefix = "[kim-torchml] error: ";
    require(said.rfind(prefix, 0) == 0 && std::count(said.begin(), said.end(), '\n') == 1 && said.back() == '\n',
            "a refusal must be one line of the driver's, got: " + said);
    require(is_in(message, said), "a refusal must say '" + message + "', got: " + said);
}
