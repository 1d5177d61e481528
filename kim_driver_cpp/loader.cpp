// SPDX-License-Identifier: LGPL-2.1-or-later
// What KIM loads. It has no undefined Python symbol, so it loads into any host: one with libpython (lmp), one whose
// Python is a static executable (Debian's python3), one without Python. It then loads the shim, which has them.
#include <dlfcn.h>

#include <KIM_ModelDriverHeaders.hpp>
#include <exception>
#include <stdexcept>
#include <string>

#include "python_library.hpp"
#include "report.hpp"
#include "shim.hpp"

namespace {

std::string own_folder() {
    Dl_info info;
    if (dladdr(reinterpret_cast<void*>(&own_folder), &info) == 0 || info.dli_fname == nullptr) {
        throw std::runtime_error("cannot find the folder that the driver is installed in (dladdr failed)");
    }
    const std::string path = info.dli_fname;
    return path.substr(0, path.rfind('/'));
}

kim_torchml::ShimCreate* load_shim(const std::string& folder) {
    const std::string path = folder + "/kim_torchml_shim.so";
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
        throw std::runtime_error("cannot load '" + path + "': " + dlerror() +
                                 "; install the driver again with --force");
    }
    void* symbol = dlsym(library, kim_torchml::shim_create_name);
    if (symbol == nullptr) {
        throw std::runtime_error("'" + path + "' is not this driver's shim; install the driver again with --force");
    }
    return reinterpret_cast<kim_torchml::ShimCreate*>(symbol);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int kim_torchml_model_driver_create(
    KIM::ModelDriverCreate* const driver_create, KIM::LengthUnit const length_unit, KIM::EnergyUnit const energy_unit,
    KIM::ChargeUnit const /*charge_unit*/, KIM::TemperatureUnit const /*temperature_unit*/,
    KIM::TimeUnit const /*time_unit*/) {
    try {
        const auto python = kim_torchml::ensure_python_library();
        const auto folder = own_folder();
        const kim_torchml::RequestedUnits units{length_unit, energy_unit};
        return load_shim(folder)(driver_create, units, folder, python.was_present);
    } catch (const std::exception& error) {
        driver_create->LogEntry(KIM::LOG_VERBOSITY::error, error.what(), __LINE__, __FILE__);
        kim_torchml::report_failure(error.what());
    } catch (...) {
        kim_torchml::report_failure("an unknown C++ exception came out of the driver's loader");
    }
    return 1;
}
