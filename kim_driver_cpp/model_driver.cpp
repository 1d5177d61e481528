// SPDX-License-Identifier: LGPL-2.1-or-later
// KIM's routines. Each one calls model.cpp from within the exception barrier.
#include <KIM_ModelDriverHeaders.hpp>
#include <memory>
#include <stdexcept>

#include "barrier.hpp"
#include "compute_arguments.hpp"
#include "interpreter.hpp"
#include "model.hpp"
#include "shim.hpp"

namespace kim_torchml {
namespace {

namespace routines {

constexpr const char* for_the_model = "for the model; use a machine that has more, or fewer ranks on each";
constexpr Routine ModelDriverCreate{"ModelDriverCreate", for_the_model};
constexpr Routine Destroy{"Destroy", for_the_model};
constexpr Routine Refresh{"Refresh", for_the_model};
constexpr Routine WriteParameterizedModel{"WriteParameterizedModel", for_the_model};
constexpr Routine ComputeArgumentsCreate{"ComputeArgumentsCreate", for_the_model};
constexpr Routine ComputeArgumentsDestroy{"ComputeArgumentsDestroy", for_the_model};
constexpr Routine Compute{"Compute", "for so many particles; use fewer, or more ranks"};

}  // namespace routines

template <class KimObject>
Model* model_of(const KimObject* kim) {
    void* buffer = nullptr;
    kim->GetModelBufferPointer(&buffer);
    return static_cast<Model*>(buffer);
}

int destroy(KIM::ModelDestroy* const kim) {
    return guarded(kim, routines::Destroy, [&] {
        const std::unique_ptr<Model> model(model_of(kim));
        model->close();
    });
}

int refresh(KIM::ModelRefresh* const kim) {
    return guarded(kim, routines::Refresh, [&] {
        Model* model = model_of(kim);
        // KIM has forgotten these pointers, and needs them even where the refresh fails.
        model->point_to_cutoffs(kim);
        model->refresh_parameters();
    });
}

int write_parameterized_model(KIM::ModelWriteParameterizedModel const* const kim) {
    return guarded(kim, routines::WriteParameterizedModel, [&] { model_of(kim)->write(*kim); });
}

int compute(KIM::ModelCompute const* const kim, KIM::ModelComputeArguments const* const arguments) {
    return guarded(
        kim, routines::Compute, [&] { model_of(kim)->compute(*arguments); },
        [&](const std::string& message) { return model_of(kim)->save_failure(*kim, *arguments, message); });
}

int compute_arguments_create(KIM::ModelCompute const* const kim, KIM::ModelComputeArgumentsCreate* const arguments) {
    return guarded(arguments, routines::ComputeArgumentsCreate, [&] { model_of(kim)->create_arguments(arguments); });
}

int compute_arguments_destroy(KIM::ModelCompute const* const /*kim*/,
                              KIM::ModelComputeArgumentsDestroy* const arguments) {
    return guarded(arguments, routines::ComputeArgumentsDestroy, [&] { delete scratch_of(*arguments); });
}

template <class Function>
void set_routine(KIM::ModelDriverCreate* driver_create, KIM::ModelRoutineName name, Function* routine,
                 bool required = true) {
    // KIM declares one function type per routine: naming it here checks what the cast hides.
    if (driver_create->SetRoutinePointer(name, KIM::LANGUAGE_NAME::cpp, required,
                                         reinterpret_cast<KIM::Function*>(routine)) != 0) {
        throw std::runtime_error("KIM refused the routine " + name.ToString());
    }
}

void register_routines(KIM::ModelDriverCreate* driver_create) {
    namespace names = KIM::MODEL_ROUTINE_NAME;
    KIM::ModelDestroyFunction* const destroy_routine = destroy;
    KIM::ModelRefreshFunction* const refresh_routine = refresh;
    KIM::ModelWriteParameterizedModelFunction* const write_routine = write_parameterized_model;
    KIM::ModelComputeFunction* const compute_routine = compute;
    KIM::ModelComputeArgumentsCreateFunction* const arguments_create_routine = compute_arguments_create;
    KIM::ModelComputeArgumentsDestroyFunction* const arguments_destroy_routine = compute_arguments_destroy;
    set_routine(driver_create, names::Destroy, destroy_routine);
    set_routine(driver_create, names::Refresh, refresh_routine);
    // LAMMPS does not know this routine, and refuses models that require an unknown one.
    set_routine(driver_create, names::WriteParameterizedModel, write_routine, false);
    set_routine(driver_create, names::Compute, compute_routine);
    set_routine(driver_create, names::ComputeArgumentsCreate, arguments_create_routine);
    set_routine(driver_create, names::ComputeArgumentsDestroy, arguments_destroy_routine);
}

void create(KIM::ModelDriverCreate* driver_create, const RequestedUnits& units, const std::string& driver_folder) {
    auto model = std::make_unique<Model>(driver_create, units, driver_folder);
    model->together([&] {
        model->read_description();
        model->register_units(driver_create);
        model->register_species(driver_create);
        model->register_parameters(driver_create);
        model->point_to_cutoffs(driver_create);
        register_routines(driver_create);
    });
    driver_create->SetModelBufferPointer(model.release());
}

}  // namespace
}  // namespace kim_torchml

extern "C" __attribute__((visibility("default"))) int kim_torchml_shim_create(KIM::ModelDriverCreate* driver_create,
                                                                              const kim_torchml::RequestedUnits& units,
                                                                              const std::string& driver_folder,
                                                                              bool host_has_python) {
    using namespace kim_torchml;
    std::unique_ptr<LiveModel> creating;
    return guarded(driver_create, routines::ModelDriverCreate, [&] {
        ensure_interpreter(host_has_python);
        creating = std::make_unique<LiveModel>();
        create(driver_create, units, driver_folder);
    });
}
