// SPDX-License-Identifier: LGPL-2.1-or-later
// The simulator's units, and the factors between them and the models' Å and eV. The factors are KIM's own, except for
// those of the erg, which are wrong in KIM-API 2.3.
#pragma once

#include <KIM_ModelDriverHeaders.hpp>

#include "shim.hpp"

namespace kim_torchml {

class Units {
  public:
    // A unit that the simulator leaves open becomes Å or eV. Throws std::invalid_argument where KIM cannot convert.
    explicit Units(const RequestedUnits& requested);

    void register_with(KIM::ModelDriverCreate* driver_create) const;

    // One Å, one eV and one eV/Å in the simulator's units.
    double length() const {
        return length_;
    }
    double energy() const {
        return energy_;
    }
    double force() const {
        return force_;
    }
    // The simulator's unit of length in Å.
    double to_angstrom() const {
        return to_angstrom_;
    }

  private:
    KIM::LengthUnit length_unit_;
    KIM::EnergyUnit energy_unit_;
    double length_;
    double energy_;
    double force_;
    double to_angstrom_;
};

}  // namespace kim_torchml
