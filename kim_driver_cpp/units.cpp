// SPDX-License-Identifier: LGPL-2.1-or-later
#include "units.hpp"

#include <cmath>
#include <stdexcept>

namespace kim_torchml {
namespace {

struct Unit {
    KIM::LengthUnit length;
    KIM::EnergyUnit energy;
};

// KIM-API 2.3 takes an erg for 1e7 J. Energies in erg are therefore converted by way of joules.
constexpr double erg_per_joule = 1e7;

// Returns how many units `to` one unit `from` is, for a quantity length^length_exponent * energy^energy_exponent.
double factor(const Unit& from, const Unit& to, double length_exponent, double energy_exponent) {
    if (to.energy == KIM::ENERGY_UNIT::erg) {
        const Unit in_joules{to.length, KIM::ENERGY_UNIT::J};
        return std::pow(erg_per_joule, energy_exponent) * factor(from, in_joules, length_exponent, energy_exponent);
    }
    const auto& charge = KIM::CHARGE_UNIT::unused;
    const auto& temperature = KIM::TEMPERATURE_UNIT::unused;
    const auto& time = KIM::TIME_UNIT::unused;
    double result = 0.0;
    if (KIM::ModelDriverCreate::ConvertUnit(from.length, from.energy, charge, temperature, time, to.length, to.energy,
                                            charge, temperature, time, length_exponent, energy_exponent, 0.0, 0.0, 0.0,
                                            &result) != 0) {
        throw std::invalid_argument("KIM cannot convert between the units " + from.length.ToString() + ", " +
                                    from.energy.ToString() + " and " + to.length.ToString() + ", " +
                                    to.energy.ToString());
    }
    return result;
}

}  // namespace

Units::Units(const RequestedUnits& requested) : length_unit_(requested.length), energy_unit_(requested.energy) {
    if (length_unit_ == KIM::LENGTH_UNIT::unused) {
        length_unit_ = KIM::LENGTH_UNIT::A;
    }
    if (energy_unit_ == KIM::ENERGY_UNIT::unused) {
        energy_unit_ = KIM::ENERGY_UNIT::eV;
    }
    const Unit model{KIM::LENGTH_UNIT::A, KIM::ENERGY_UNIT::eV};
    const Unit simulator{length_unit_, energy_unit_};
    length_ = factor(model, simulator, 1.0, 0.0);
    energy_ = factor(model, simulator, 0.0, 1.0);
    force_ = factor(model, simulator, -1.0, 1.0);
    to_angstrom_ = factor(simulator, model, 1.0, 0.0);
}

void Units::register_with(KIM::ModelDriverCreate* driver_create) const {
    if (driver_create->SetUnits(length_unit_, energy_unit_, KIM::CHARGE_UNIT::unused, KIM::TEMPERATURE_UNIT::unused,
                                KIM::TIME_UNIT::unused) != 0) {
        throw std::runtime_error("KIM refused the units " + length_unit_.ToString() + " and " +
                                 energy_unit_.ToString());
    }
}

}  // namespace kim_torchml
