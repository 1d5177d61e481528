// SPDX-License-Identifier: LGPL-2.1-or-later
// A portable model of Ar and Kr with at most one defect, which is chosen at compile time: -DDEFECT=WRONG_FORCE_SIGN.
// SOUND has no defect: it is a Morse pair potential times a twice differentiable factor that is zero at the cutoff.
// The tests of `kim-torchml verify` use it: each defect is one that a check of that command must find.

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstring>
#include <limits>
#include <thread>
#include <vector>

#include "KIM_ModelHeaders.hpp"

namespace {

enum Defect {
    SOUND,
    WRONG_FORCE_SIGN,         // forces are the gradient
    DIMER_JUMP,               // the energy jumps at a distance; the forces do not know
    FORCE_JUMP,               // the energy has a kink at a distance
    CUTOFF_JUMP,              // nothing takes the energy to zero at the cutoff
    ENERGY_KINK,              // the energy has a kink at a distance; the forces do not know
    KINK_WITHOUT_FORCES,      // the energy has a kink at a distance, and there are no forces
    DIRECTION_DEPENDENT,      // a bond along x has another energy than one along y
    NOT_INVERSION_SYMMETRIC,  // a chiral term
    INDEX_DEPENDENT,          // an atom's number scales its energy
    NOT_PERIODIC,             // the energy by atom depends on how many atoms there are
    LEAK,                     // compute arguments leave 1 KiB behind
    SMALL_LEAK,               // compute arguments leave 40 bytes behind
    LUMPY_LEAK,               // every 400th compute arguments leave 1 MiB behind
    SHARED_BUFFER,            // forces are summed up in one static array
    FORGOTTEN_UNIT,           // energies stay in eV, whatever was asked for
    WRONG_VIRIAL_UNIT,        // the virial stays in eV, whatever was asked for
    WRONG_SPECIES,            // Kr is claimed, but cannot be computed
    LONELY_SPECIES,           // Kr is claimed, but can be computed only where it is alone
    NO_INTERACTION,           // nothing depends on where the atoms are
    WITHOUT_FORCES,           // not a defect: forces are optional
    SINGLE_PRECISION,         // not a defect: a model may compute in float
    NEEDS_FORCES,             // fails where forces are not asked for, as some models do
    NO_MIXTURE,               // not a defect: Ar and Kr are not combined
    ENDLESS_PARTICLE_ENERGY,  // energies by atom are infinite
    CRASHES,                  // in compute, with more than two particles
    HANGS,                    // likewise
};

constexpr Defect defect = DEFECT;
constexpr bool has_forces = defect != WITHOUT_FORCES && defect != KINK_WITHOUT_FORCES;

using Vector = std::array<double, 3>;

struct Parameters {
    double cutoff = 4.6;           // Å
    double bond[2] = {2.6, 2.8};   // Å; of unlike species the mean
    double depth[2] = {1.0, 1.4};  // eV; likewise
    double steepness = 1.7;        // 1/Å
    double step = 3.3;             // Å, where the curve of some defects jumps
    double energy_unit = 1.0;      // an eV in the unit that was asked for
    int supplies_noncontributing_neighbours = 1;
};

double dot(Vector const& a, Vector const& b) {
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

Vector cross(Vector const& a, Vector const& b) {
    return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
}

// Returns (1 - (r / cutoff)^2)^3 and its derivative.
std::array<double, 2> fade(Parameters const& p, double r) {
    if (defect == CUTOFF_JUMP) {
        return {1.0, 0.0};
    }
    double const x = r / p.cutoff;
    double const rest = 1.0 - x * x;
    return {rest * rest * rest, -6.0 * x * rest * rest / p.cutoff};
}

// Returns the energy of a bond and its derivative.
std::array<double, 2> pair(Parameters const& p, int first, int second, double r) {
    double const depth = 0.5 * (p.depth[first] + p.depth[second]);
    double const decay = std::exp(-p.steepness * (r - 0.5 * (p.bond[first] + p.bond[second])));
    double const well = depth * ((1.0 - decay) * (1.0 - decay) - 1.0);
    double const slope = 2.0 * depth * (1.0 - decay) * decay * p.steepness;
    auto const [factor, change] = fade(p, r);
    double energy = well * factor;
    double derivative = slope * factor + well * change;
    if (defect == NO_INTERACTION) {
        return {0.0, 0.0};
    }
    if ((defect == ENERGY_KINK || defect == KINK_WITHOUT_FORCES) && r < p.step) {
        energy += 1e-3 * depth * p.steepness * (p.step - r);
    }
    if (defect == DIMER_JUMP && r < p.step) {
        energy += 1e-3 * depth;
    }
    if (defect == FORCE_JUMP && r < p.step) {
        energy += 1e-2 * depth * p.steepness * (p.step - r);
        derivative -= 1e-2 * depth * p.steepness;
    }
    return {energy, derivative};
}

double rounded(double value) {
    return defect == SINGLE_PRECISION ? static_cast<double>(static_cast<float>(value)) : value;
}

struct Work {
    KIM::ModelComputeArguments const* arguments;
    int n;
    int const* species;
    int const* contributing;
    double const* coordinates;
    std::vector<double> energies;
    double* forces;
    std::array<double, 6> virial = {};

    // Adds the gradient of the energy by the vector from i to j to the forces and the virial.
    void add_gradient(int i, int j, Vector const& between, Vector const& gradient) {
        for (int k = 0; k < 3; ++k) {
            forces[3 * i + k] += gradient[k];
            forces[3 * j + k] -= gradient[k];
        }
        static constexpr int first[6] = {0, 1, 2, 1, 2, 0};
        static constexpr int second[6] = {0, 1, 2, 2, 0, 1};
        for (int k = 0; k < 6; ++k) {
            virial[k] += gradient[first[k]] * between[second[k]];
        }
    }

    Vector between(int i, int j) const {
        Vector result;
        for (int k = 0; k < 3; ++k) {
            result[k] = rounded(coordinates[3 * j + k]) - rounded(coordinates[3 * i + k]);
        }
        return result;
    }
};

struct Neighbour {
    int index;
    Vector between;
    double distance;
};

void add_pairs(Parameters const& p, Work& work, int i, std::vector<Neighbour> const& neighbours) {
    double const weight = defect == INDEX_DEPENDENT ? 0.5 * (1.0 + 0.01 * i) : 0.5;
    for (auto const& [j, between, r] : neighbours) {
        auto [energy, derivative] = pair(p, work.species[i], work.species[j], r);
        Vector gradient;
        for (int k = 0; k < 3; ++k) {
            gradient[k] = derivative * between[k] / r;
        }
        if (defect == DIRECTION_DEPENDENT) {
            auto const [factor, change] = fade(p, r);
            double const strength = 1e-3 * p.depth[0] / (p.cutoff * p.cutoff);
            double const along = between[0] * between[0];
            energy += strength * factor * along;
            for (int k = 0; k < 3; ++k) {
                gradient[k] += strength * change * along * between[k] / r;
            }
            gradient[0] += 2.0 * strength * factor * between[0];
        }
        work.energies[i] = rounded(work.energies[i] + weight * energy);
        for (double& component : gradient) {
            component *= weight;
        }
        work.add_gradient(i, j, between, gradient);
    }
}

// Adds the energy a . (b x c), where a, b and c are sums of the vectors to the neighbours with different weights. It
// depends neither on the order of the atoms nor on their orientation, but changes its sign under inversion.
void add_chiral(Parameters const& p, Work& work, int i, std::vector<Neighbour> const& neighbours) {
    std::array<Vector, 3> sums = {};
    for (auto const& [j, between, r] : neighbours) {
        double const factor = fade(p, r)[0];
        for (int s = 0; s < 3; ++s) {
            for (int k = 0; k < 3; ++k) {
                sums[s][k] += std::pow(factor, s + 1) * between[k] / p.cutoff;
            }
        }
    }
    double const strength = p.depth[0];
    std::array<Vector, 3> const others = {cross(sums[1], sums[2]), cross(sums[2], sums[0]), cross(sums[0], sums[1])};
    work.energies[i] += strength * dot(sums[0], others[0]);
    for (auto const& [j, between, r] : neighbours) {
        auto const [factor, change] = fade(p, r);
        Vector gradient = {};
        for (int s = 0; s < 3; ++s) {
            double const slope = (s + 1) * std::pow(factor, s) * change * dot(between, others[s]) / r;
            for (int k = 0; k < 3; ++k) {
                gradient[k] += strength * (std::pow(factor, s + 1) * others[s][k] + slope * between[k]) / p.cutoff;
            }
        }
        work.add_gradient(i, j, between, gradient);
    }
}

bool add_atom(Parameters const& p, Work& work, int i) {
    int count;
    int const* list;
    if (work.arguments->GetNeighborList(0, i, &count, &list)) {
        return true;
    }
    std::vector<Neighbour> neighbours;
    for (int index = 0; index < count; ++index) {
        Vector const between = work.between(i, list[index]);
        double const distance = std::sqrt(dot(between, between));
        if (distance < p.cutoff) {
            neighbours.push_back({list[index], between, distance});
        }
    }
    add_pairs(p, work, i, neighbours);
    if (defect == NOT_INVERSION_SYMMETRIC) {
        add_chiral(p, work, i, neighbours);
    }
    return false;
}

std::vector<double>& shared_forces() {
    static std::vector<double> forces(3 * 100000);
    return forces;
}

struct Outputs {
    double* energy;
    double* forces;
    double* particle_energies;
    double* virial;
};

bool misbehaves(Work const& work) {
    if (defect == CRASHES && work.n > 2) {
        std::raise(SIGSEGV);
    }
    if (defect == HANGS && work.n > 2) {
        std::this_thread::sleep_for(std::chrono::hours(1));
    }
    auto const krypton = std::count(work.species, work.species + work.n, 1);
    return (defect == WRONG_SPECIES && krypton > 0) || (defect == LONELY_SPECIES && krypton > 0 && work.n > 1) ||
           (defect == NO_MIXTURE && krypton > 0 && krypton < work.n);
}

void write(Work const& work, double unit, Outputs const& outputs) {
    double scale = 1.0;
    if (defect == NOT_PERIODIC) {
        scale += 0.1 / static_cast<double>(std::count(work.contributing, work.contributing + work.n, 1));
    }
    double total = 0.0;
    for (int i = 0; i < work.n; ++i) {
        total = rounded(total + scale * work.energies[i]);
        if (outputs.particle_energies) {
            outputs.particle_energies[i] =
                defect == ENDLESS_PARTICLE_ENERGY ? std::numeric_limits<double>::infinity() : scale * work.energies[i];
        }
    }
    if (outputs.energy) {
        *outputs.energy = total;
    }
    if (outputs.forces) {
        for (int k = 0; k < 3 * work.n; ++k) {
            outputs.forces[k] = (defect == WRONG_FORCE_SIGN ? -scale : scale) * work.forces[k];
        }
    }
    if (outputs.virial) {
        for (int k = 0; k < 6; ++k) {
            outputs.virial[k] = scale * work.virial[k] / (defect == WRONG_VIRIAL_UNIT ? unit : 1.0);
        }
    }
}

int compute(KIM::ModelCompute const* const model, KIM::ModelComputeArguments const* const arguments) {
    using namespace KIM::COMPUTE_ARGUMENT_NAME;
    void* buffer;
    model->GetModelBufferPointer(&buffer);
    auto const& parameters = *static_cast<Parameters const*>(buffer);
    int const* n;
    Work work{};
    Outputs outputs{};
    work.arguments = arguments;
    if (arguments->GetArgumentPointer(numberOfParticles, &n) ||
        arguments->GetArgumentPointer(particleSpeciesCodes, &work.species) ||
        arguments->GetArgumentPointer(particleContributing, &work.contributing) ||
        arguments->GetArgumentPointer(coordinates, &work.coordinates) ||
        arguments->GetArgumentPointer(partialEnergy, &outputs.energy) ||
        (has_forces && arguments->GetArgumentPointer(partialForces, &outputs.forces)) ||
        arguments->GetArgumentPointer(partialParticleEnergy, &outputs.particle_energies) ||
        arguments->GetArgumentPointer(partialVirial, &outputs.virial)) {
        return true;
    }
    if (defect == NEEDS_FORCES && !outputs.forces) {
        return true;
    }
    work.n = *n;
    if (misbehaves(work)) {
        return true;
    }
    work.energies.assign(work.n, 0.0);
    std::vector<double> own(3 * work.n);
    work.forces = defect == SHARED_BUFFER ? shared_forces().data() : own.data();
    std::fill(work.forces, work.forces + 3 * work.n, 0.0);
    for (int i = 0; i < work.n; ++i) {
        if (work.contributing[i] && add_atom(parameters, work, i)) {
            return true;
        }
        if (defect == SHARED_BUFFER) {
            // Without this, threads would rarely meet here on a busy machine.
            std::this_thread::yield();
        }
    }
    write(work, parameters.energy_unit, outputs);
    return false;
}

void leak() {
    static long calls = 0;
    std::size_t size = defect == LEAK ? 1024 : defect == SMALL_LEAK ? 40 : 0;
    if (defect == LUMPY_LEAK && ++calls % 400 == 0) {
        size = 1 << 20;
    }
    if (size > 0) {
        // The pointer is volatile, because otherwise the compiler might leave out the allocation.
        static char* volatile left_behind;
        left_behind = new char[size];
        std::memset(left_behind, 1, size);
    }
}

int arguments_create(KIM::ModelCompute const* const, KIM::ModelComputeArgumentsCreate* const arguments) {
    using namespace KIM::COMPUTE_ARGUMENT_NAME;
    leak();
    auto const optional = KIM::SUPPORT_STATUS::optional;
    return arguments->SetArgumentSupportStatus(partialEnergy, optional) ||
           (has_forces && arguments->SetArgumentSupportStatus(partialForces, optional)) ||
           arguments->SetArgumentSupportStatus(partialParticleEnergy, optional) ||
           arguments->SetArgumentSupportStatus(partialVirial, optional);
}

int arguments_destroy(KIM::ModelCompute const* const, KIM::ModelComputeArgumentsDestroy* const) {
    return false;
}

int destroy(KIM::ModelDestroy* const model) {
    void* buffer;
    model->GetModelBufferPointer(&buffer);
    delete static_cast<Parameters*>(buffer);
    return false;
}

}  // namespace

extern "C" int broken_model_create(KIM::ModelCreate* const model, KIM::LengthUnit const length_unit,
                                   KIM::EnergyUnit const energy_unit, KIM::ChargeUnit const charge_unit,
                                   KIM::TemperatureUnit const temperature_unit, KIM::TimeUnit const time_unit) {
    using namespace KIM;
    double length = 0.0;
    double energy = 0.0;
    if (ModelCreate::ConvertUnit(LENGTH_UNIT::A, ENERGY_UNIT::eV, CHARGE_UNIT::e, TEMPERATURE_UNIT::K, TIME_UNIT::ps,
                                 length_unit, energy_unit, charge_unit, temperature_unit, time_unit, 1.0, 0.0, 0.0, 0.0,
                                 0.0, &length) ||
        ModelCreate::ConvertUnit(LENGTH_UNIT::A, ENERGY_UNIT::eV, CHARGE_UNIT::e, TEMPERATURE_UNIT::K, TIME_UNIT::ps,
                                 length_unit, energy_unit, charge_unit, temperature_unit, time_unit, 0.0, 1.0, 0.0, 0.0,
                                 0.0, &energy)) {
        return true;
    }
    auto* const p = new Parameters;
    p->cutoff *= length;
    p->steepness /= length;
    p->step *= length;
    p->energy_unit = energy;
    for (int s = 0; s < 2; ++s) {
        p->bond[s] *= length;
        p->depth[s] *= defect == FORGOTTEN_UNIT ? 1.0 : energy;
    }
    model->SetModelBufferPointer(p);
    model->SetInfluenceDistancePointer(&p->cutoff);
    model->SetNeighborListPointers(1, &p->cutoff, &p->supplies_noncontributing_neighbours);
    using namespace MODEL_ROUTINE_NAME;
    auto const cpp = LANGUAGE_NAME::cpp;
    return model->SetModelNumbering(NUMBERING::zeroBased) ||
           model->SetUnits(length_unit, energy_unit, CHARGE_UNIT::unused, TEMPERATURE_UNIT::unused,
                           TIME_UNIT::unused) ||
           model->SetSpeciesCode(SPECIES_NAME::Ar, 0) || model->SetSpeciesCode(SPECIES_NAME::Kr, 1) ||
           model->SetRoutinePointer(Compute, cpp, true, reinterpret_cast<Function*>(compute)) ||
           model->SetRoutinePointer(ComputeArgumentsCreate, cpp, true, reinterpret_cast<Function*>(arguments_create)) ||
           model->SetRoutinePointer(ComputeArgumentsDestroy, cpp, true,
                                    reinterpret_cast<Function*>(arguments_destroy)) ||
           model->SetRoutinePointer(Destroy, cpp, true, reinterpret_cast<Function*>(destroy));
}
