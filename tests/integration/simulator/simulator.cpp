// SPDX-License-Identifier: LGPL-2.1-or-later
// A KIM simulator that is neither Python nor LAMMPS: results go to stdout, one JSON object a line.
//
//   simulator compute MODEL FILE            all outputs that the model supports, requested neighbour lists
//   simulator factors LENGTH ENERGY         KIM's factors from A and eV to these units
//   simulator two MODEL MODEL FILE          two models at once, computed in turn: results of both
//   simulator threads MODEL FILE COUNT      four threads, COUNT computes each: the results of each one's last
//   simulator workers MODEL FILE COUNT      four threads, each COUNT times create, compute, destroy; then as compute
//   simulator after MODEL FILE              as compute, and once more in another thread
//   simulator run MODEL FILE COUNT LEAK     COUNT computes with random displacements: memory along the way
//   simulator live MODEL FILE COUNT LEAK    COUNT times create, compute, destroy: memory along the way
//   simulator state MODEL FILE              what belongs to the process, before and after a model's life
// LEAK: bytes that this simulator itself forgets each time, to see whether the measurement notices.
#include <dlfcn.h>
#include <malloc.h>
#include <unistd.h>

#include <KIM_ModelCreate.hpp>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <functional>
#include <map>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "configuration.hpp"
#include "hosted_model.hpp"
#include "process_state.hpp"

namespace {

constexpr double skin = 0.5;       // Å
constexpr double amplitude = 0.3;  // Å
constexpr int n_threads = 4;
constexpr int samples_apart = 20;

using Arguments = std::vector<std::string>;

namespace names = KIM::COMPUTE_ARGUMENT_NAME;

std::string number(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.17g", value);
    return text;
}

template <class Value>
std::string list(const std::vector<Value>& values) {
    std::string text = "[";
    for (const Value& value : values) {
        text += (text.size() > 1 ? ", " : "") + number(value);
    }
    return text + "]";
}

template <class Value>
std::string list_or_null(const std::vector<Value>& values, bool supported) {
    return supported ? list(values) : "null";
}

void print_results(const HostedModel& model, const HostedArguments& arguments, const Results& results) {
    std::printf(
        "{\"energy\": %s, \"forces\": %s, \"particle_energies\": %s, \"virial\": %s, \"particle_virials\": %s, "
        "\"requests\": %s, \"cutoff\": %s, \"influence_distance\": %s, "
        "\"asks_for_lists_of_noncontributing\": %s}\n",
        number(results.energy).c_str(), list(results.forces).c_str(),
        list_or_null(results.particle_energies, arguments.supports(names::partialParticleEnergy)).c_str(),
        list_or_null(results.virial, arguments.supports(names::partialVirial)).c_str(),
        list_or_null(results.particle_virials, arguments.supports(names::partialParticleVirial)).c_str(),
        list(arguments.requests()).c_str(), number(model.cutoff()).c_str(), number(model.influence_distance()).c_str(),
        model.asks_for_lists_of_noncontributing() ? "true" : "false");
    std::fflush(stdout);
}

long resident_bytes() {
    long size = 0;
    long resident = 0;
    std::ifstream("/proc/self/statm") >> size >> resident;
    return resident * sysconf(_SC_PAGESIZE);
}

// What malloc has allocated and not freed.
std::size_t allocated_bytes() {
    const struct mallinfo2 found = mallinfo2();
    return found.uordblks + found.hblkhd;
}

// Lets the embedded Python free what it frees from time to time by itself: garbage in cycles, and its cache of the
// attributes of types. The latter keeps up to 4096 names that C code has asked for, each in a place that depends on the
// name's address, so for a thousand lives of a model it fills up as a leak would. The first time, all that has been
// imported by then is set aside from the garbage: looking through it takes a fifth of a second.
void free_what_python_keeps_for_a_while() {
    const auto ensure = reinterpret_cast<int (*)()>(dlsym(RTLD_DEFAULT, "PyGILState_Ensure"));
    const auto run_text = reinterpret_cast<int (*)(const char*, void*)>(dlsym(RTLD_DEFAULT, "PyRun_SimpleStringFlags"));
    const auto clear_type_cache = reinterpret_cast<unsigned int (*)()>(dlsym(RTLD_DEFAULT, "PyType_ClearCache"));
    const auto release = reinterpret_cast<void (*)(int)>(dlsym(RTLD_DEFAULT, "PyGILState_Release"));
    if (ensure == nullptr || run_text == nullptr || clear_type_cache == nullptr || release == nullptr) {
        throw std::runtime_error("the embedded Python is not found");
    }
    const int state = ensure();
    const int failed = run_text("import gc\ngc.collect()\ngc.get_freeze_count() or gc.freeze()\n", nullptr);
    clear_type_cache();
    release(state);
    if (failed != 0) {
        throw std::runtime_error("the embedded Python could not collect garbage");
    }
}

void print_memory(int count) {
    free_what_python_keeps_for_a_while();
    std::printf("{\"count\": %d, \"allocated_bytes\": %zu, \"resident_bytes\": %ld}\n", count, allocated_bytes(),
                resident_bytes());
    std::fflush(stdout);
}

// Touches the memory: untouched, it would not become resident. Volatile, or the compiler would drop it.
void forget(std::size_t bytes) {
    if (bytes > 0) {
        volatile char* memory = static_cast<volatile char*>(std::malloc(bytes));
        for (std::size_t i = 0; i < bytes; ++i) {
            memory[i] = 1;
        }
    }
}

void compute(const Arguments& given) {
    const HostedModel model(given.at(0));
    HostedArguments arguments(model);
    const Results results = arguments.compute(read_configuration(given.at(1)), skin);
    print_results(model, arguments, results);
}

double factor(const Arguments& given, double length_exponent, double energy_exponent) {
    const auto& charge = KIM::CHARGE_UNIT::unused;
    const auto& temperature = KIM::TEMPERATURE_UNIT::unused;
    const auto& time = KIM::TIME_UNIT::unused;
    double result = 0.0;
    if (KIM::ModelCreate::ConvertUnit(KIM::LENGTH_UNIT::A, KIM::ENERGY_UNIT::eV, charge, temperature, time,
                                      KIM::LengthUnit(given.at(0)), KIM::EnergyUnit(given.at(1)), charge, temperature,
                                      time, length_exponent, energy_exponent, 0.0, 0.0, 0.0, &result) != 0) {
        throw std::runtime_error("KIM does not know these units");
    }
    return result;
}

void factors(const Arguments& given) {
    std::printf("{\"length\": %s, \"energy\": %s, \"force\": %s}\n", number(factor(given, 1.0, 0.0)).c_str(),
                number(factor(given, 0.0, 1.0)).c_str(), number(factor(given, -1.0, 1.0)).c_str());
}

void two(const Arguments& given) {
    const HostedModel first(given.at(0));
    const HostedModel second(given.at(1));
    const Configuration configuration = read_configuration(given.at(2));
    HostedArguments first_arguments(first);
    HostedArguments second_arguments(second);
    for (int round = 0; round < 2; ++round) {
        print_results(first, first_arguments, first_arguments.compute(configuration, skin));
        print_results(second, second_arguments, second_arguments.compute(configuration, skin));
    }
}

// Runs the same work in several threads at once; throws what any of them has thrown.
void in_threads(std::size_t count, const std::function<void(std::size_t)>& work) {
    std::vector<std::exception_ptr> failures(count);
    std::vector<std::thread> workers;
    for (std::size_t t = 0; t < count; ++t) {
        workers.emplace_back([&, t] {
            try {
                work(t);
            } catch (...) {
                failures[t] = std::current_exception();
            }
        });
    }
    for (std::thread& worker : workers) {
        worker.join();
    }
    for (const std::exception_ptr& failure : failures) {
        if (failure) {
            std::rethrow_exception(failure);
        }
    }
}

void threads(const Arguments& given) {
    const HostedModel model(given.at(0));
    const Configuration configuration = read_configuration(given.at(1));
    const int count = std::stoi(given.at(2));
    std::vector<Results> results(n_threads);
    in_threads(n_threads, [&](std::size_t t) {
        HostedArguments arguments(model);
        for (int i = 0; i < count; ++i) {
            results[t] = arguments.compute(configuration, skin);
        }
    });
    const HostedArguments arguments(model);
    for (const Results& result : results) {
        print_results(model, arguments, result);
    }
}

void workers(const Arguments& given) {
    const Configuration configuration = read_configuration(given.at(1));
    const int count = std::stoi(given.at(2));
    in_threads(n_threads, [&](std::size_t /*thread*/) {
        for (int i = 0; i < count; ++i) {
            const HostedModel model(given.at(0));
            HostedArguments(model).compute(configuration, skin);
        }
    });
    compute(given);
}

void after(const Arguments& given) {
    compute(given);
    in_threads(1, [&](std::size_t /*thread*/) { compute(given); });
}

void run(const Arguments& given) {
    const HostedModel model(given.at(0));
    const Configuration start = read_configuration(given.at(1));
    const int count = std::stoi(given.at(2));
    const std::size_t leak = std::stoul(given.at(3));
    HostedArguments arguments(model);
    std::mt19937 random(1);
    for (int i = 1; i <= count; ++i) {
        Configuration configuration = start;
        displace(&configuration, amplitude, &random);
        arguments.compute(configuration, skin);
        forget(leak);
        if (i % samples_apart == 0) {
            print_memory(i);
        }
    }
}

void live(const Arguments& given) {
    const Configuration configuration = read_configuration(given.at(1));
    const int count = std::stoi(given.at(2));
    const std::size_t leak = std::stoul(given.at(3));
    for (int i = 1; i <= count; ++i) {
        const HostedModel model(given.at(0));
        HostedArguments(model).compute(configuration, skin);
        forget(leak);
        if (i % samples_apart == 0) {
            print_memory(i);
        }
    }
}

void state(const Arguments& given) {
    set_unusual_state();
    std::printf("%s\n", process_state_as_json().c_str());
    std::fflush(stdout);
    {
        const HostedModel model(given.at(0));
        HostedArguments(model).compute(read_configuration(given.at(1)), skin);
        std::printf("%s\n", process_state_as_json().c_str());
        std::fflush(stdout);
    }
    std::printf("%s\n", process_state_as_json().c_str());
}

}  // namespace

int main(int argc, char** argv) {
    const std::map<std::string, std::function<void(const Arguments&)>> commands = {
        {"compute", compute}, {"factors", factors}, {"two", two},   {"threads", threads}, {"workers", workers},
        {"after", after},     {"run", run},         {"live", live}, {"state", state}};
    try {
        const Arguments given(argv + 1, argv + argc);
        commands.at(given.at(0))(Arguments(given.begin() + 1, given.end()));
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "simulator: %s\n", error.what());
        return 1;
    }
}
