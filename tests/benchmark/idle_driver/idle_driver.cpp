// SPDX-License-Identifier: LGPL-2.1-or-later
// A model driver that computes nothing: what creating a model of create.py costs KIM itself, and what a step of
// folded_edges.py costs LAMMPS itself. It publishes as many parameters as the models of create.py have, of the same
// extents, and does not look at the model's files; BENCHMARK_CUTOFF says how far its lists reach, in Å.
#include <KIM_ModelDriverHeaders.hpp>
#include <array>
#include <cstdlib>
#include <string>

namespace {

constexpr int n_tensors = 450;
constexpr int entries = 64;

struct Model {
    int n_elements = 1;
    double cutoff = 3.0;
    int will_not_request_of_noncontributing = 1;
    std::array<std::array<double, entries>, n_tensors> values{};
};

template <class KimObject>
Model* model_of(KimObject* kim) {
    void* buffer = nullptr;
    kim->GetModelBufferPointer(&buffer);
    return static_cast<Model*>(buffer);
}

template <class KimObject>
void point_to_cutoffs(KimObject* kim, Model* model) {
    kim->SetInfluenceDistancePointer(&model->cutoff);
    kim->SetNeighborListPointers(1, &model->cutoff, &model->will_not_request_of_noncontributing);
}

int destroy(KIM::ModelDestroy* const kim) {
    delete model_of(kim);
    return 0;
}

int refresh(KIM::ModelRefresh* const kim) {
    point_to_cutoffs(kim, model_of(kim));
    return 0;
}

int compute(KIM::ModelCompute const* const, KIM::ModelComputeArguments const* const) {
    return 0;
}

int arguments_create(KIM::ModelCompute const* const, KIM::ModelComputeArgumentsCreate* const arguments) {
    return arguments->SetArgumentSupportStatus(KIM::COMPUTE_ARGUMENT_NAME::partialEnergy,
                                               KIM::SUPPORT_STATUS::optional);
}

int arguments_destroy(KIM::ModelCompute const* const, KIM::ModelComputeArgumentsDestroy* const) {
    return 0;
}

int publish(KIM::ModelDriverCreate* kim, Model* model) {
    int error = kim->SetParameterPointer(1, &model->n_elements, "n_elements",
                                         "Number of chemical elements of the model. Read-only.");
    for (int i = 0; i < n_tensors; ++i) {
        const std::string name = std::to_string(i);
        error = error ||
                kim->SetParameterPointer(entries, model->values[i].data(), "weights_" + name,
                                         "Tensor weights." + name + ", shape [64], in the model's own units (Å, eV).");
    }
    return error;
}

}  // namespace

extern "C" int idle_driver_create(KIM::ModelDriverCreate* const kim, KIM::LengthUnit const, KIM::EnergyUnit const,
                                  KIM::ChargeUnit const, KIM::TemperatureUnit const, KIM::TimeUnit const) {
    using namespace KIM::MODEL_ROUTINE_NAME;
    const auto set = [kim](KIM::ModelRoutineName name, auto* routine) {
        return kim->SetRoutinePointer(name, KIM::LANGUAGE_NAME::cpp, true, reinterpret_cast<KIM::Function*>(routine));
    };
    auto* model = new Model;
    if (const char* const cutoff = std::getenv("BENCHMARK_CUTOFF")) {
        model->cutoff = std::strtod(cutoff, nullptr);
    }
    kim->SetModelBufferPointer(model);
    point_to_cutoffs(kim, model);
    return kim->SetModelNumbering(KIM::NUMBERING::zeroBased) ||
           kim->SetUnits(KIM::LENGTH_UNIT::A, KIM::ENERGY_UNIT::eV, KIM::CHARGE_UNIT::unused,
                         KIM::TEMPERATURE_UNIT::unused, KIM::TIME_UNIT::unused) ||
           kim->SetSpeciesCode(KIM::SPECIES_NAME::Si, 0) || publish(kim, model) || set(Destroy, destroy) ||
           set(Refresh, refresh) || set(Compute, compute) || set(ComputeArgumentsCreate, arguments_create) ||
           set(ComputeArgumentsDestroy, arguments_destroy);
}
