// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hosted_model.hpp"

#include <algorithm>
#include <mutex>
#include <stdexcept>

namespace {

namespace names = KIM::COMPUTE_ARGUMENT_NAME;

void check(int error, const std::string& what) {
    if (error != 0) {
        throw std::runtime_error("KIM " + what + " returned an error");
    }
}

int get_neighbours(void* data, int /*number_of_lists*/, const double* /*cutoffs*/, int /*list*/, int particle,
                   int* count, const int** neighbours) {
    const std::vector<int>& list = static_cast<NeighbourLists*>(data)->of(particle);
    *count = static_cast<int>(list.size());
    *neighbours = list.data();
    return 0;
}

}  // namespace

HostedModel::HostedModel(const std::string& name) {
    // KIM reads its configuration with strtok: two threads must not create models at the same time.
    static std::mutex one_at_a_time;
    const std::lock_guard<std::mutex> lock(one_at_a_time);
    int accepted = 0;
    check(KIM::Model::Create(KIM::NUMBERING::zeroBased, KIM::LENGTH_UNIT::A, KIM::ENERGY_UNIT::eV,
                             KIM::CHARGE_UNIT::unused, KIM::TEMPERATURE_UNIT::unused, KIM::TIME_UNIT::unused, name,
                             &accepted, &model_),
          "Model::Create");
    if (accepted == 0) {
        KIM::Model::Destroy(&model_);
        throw std::runtime_error("the model does not accept the units A and eV");
    }
}

HostedModel::~HostedModel() {
    KIM::Model::Destroy(&model_);
}

double HostedModel::cutoff() const {
    int count = 0;
    const double* cutoffs = nullptr;
    model_->GetNeighborListPointers(&count, &cutoffs, nullptr);
    return *std::max_element(cutoffs, cutoffs + count);
}

double HostedModel::influence_distance() const {
    double distance = 0.0;
    model_->GetInfluenceDistance(&distance);
    return distance;
}

bool HostedModel::asks_for_lists_of_noncontributing() const {
    int count = 0;
    const int* will_not_request = nullptr;
    model_->GetNeighborListPointers(&count, nullptr, &will_not_request);
    return std::any_of(will_not_request, will_not_request + count, [](int hint) { return hint == 0; });
}

HostedArguments::HostedArguments(const HostedModel& model) : model_(model) {
    check(model.kim()->ComputeArgumentsCreate(&arguments_), "ComputeArgumentsCreate");
}

HostedArguments::~HostedArguments() {
    model_.kim()->ComputeArgumentsDestroy(&arguments_);
}

bool HostedArguments::supports(KIM::ComputeArgumentName name) const {
    KIM::SupportStatus status;
    check(arguments_->GetArgumentSupportStatus(name, &status), "GetArgumentSupportStatus");
    return status == KIM::SUPPORT_STATUS::optional || status == KIM::SUPPORT_STATUS::required;
}

Results HostedArguments::compute(const Configuration& configuration, double skin) {
    const int n = configuration.n();
    const auto size = static_cast<std::size_t>(n);
    lists_.build(configuration, model_.cutoff() + skin);

    Results results;
    results.forces.resize(3 * size);
    int error = arguments_->SetArgumentPointer(names::numberOfParticles, &n);
    error |= arguments_->SetArgumentPointer(names::particleSpeciesCodes, configuration.species_codes.data());
    error |= arguments_->SetArgumentPointer(names::particleContributing, configuration.contributing.data());
    error |= arguments_->SetArgumentPointer(names::coordinates, configuration.coordinates.data());
    error |= arguments_->SetArgumentPointer(names::partialEnergy, &results.energy);
    error |= arguments_->SetArgumentPointer(names::partialForces, results.forces.data());
    const auto ask_if_supported = [&](KIM::ComputeArgumentName name, std::vector<double>* values, std::size_t count) {
        if (supports(name)) {
            values->resize(count);
            error |= arguments_->SetArgumentPointer(name, values->data());
        }
    };
    ask_if_supported(names::partialParticleEnergy, &results.particle_energies, size);
    ask_if_supported(names::partialVirial, &results.virial, 6);
    ask_if_supported(names::partialParticleVirial, &results.particle_virials, 6 * size);
    KIM::GetNeighborListFunction* const callback = get_neighbours;
    error |= arguments_->SetCallbackPointer(KIM::COMPUTE_CALLBACK_NAME::GetNeighborList, KIM::LANGUAGE_NAME::cpp,
                                            reinterpret_cast<KIM::Function*>(callback), &lists_);
    check(error, "SetArgumentPointer or SetCallbackPointer");
    check(model_.kim()->Compute(arguments_), "Compute");
    return results;
}
