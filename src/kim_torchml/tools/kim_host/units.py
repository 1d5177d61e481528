# SPDX-License-Identifier: LGPL-2.1-or-later
"""KIM's units, and the systems that simulators ask models for."""

from dataclasses import dataclass

import kimpy

# Å. Names and constants are those of KIM-API 2.3 (ConvertUnit), so that the results of a model that converts with it
# differ by rounding only. KIM-API took the constants from CODATA some years ago; today's differ by less than 1e-6.
LENGTHS = {"A": 1.0, "Bohr": 0.52917721092, "nm": 10.0, "cm": 1e8, "m": 1e10}
_JOULES = {
    "eV": 1.60217646e-19,
    "Hartree": 4.3597439422e-18,
    "kcal_mol": 6.9477e-21,
    "J": 1.0,
    "erg": 1e-7,
    "amu_A2_per_ps2": 1.66053886e-23,
}
# eV.
ENERGIES = {name: joules / _JOULES["eV"] for name, joules in _JOULES.items()}
# KIM-API 2.3 takes an erg for 1e7 J, so energies that it converts to ergs are too small by this factor.
KIM_ERG_MISTAKE = 1e-14


@dataclass(frozen=True)
class UnitSystem:
    """One set of KIM's units, by their names.

    Attributes:
        name: LAMMPS' name of the system, or the units themselves.
        length: unit of length, one of LENGTHS.
        energy: unit of energy, one of ENERGIES.
        charge: unit of charge.
        temperature: unit of temperature.
        time: unit of time.
    """

    name: str
    length: str
    energy: str
    charge: str = "e"
    temperature: str = "K"
    time: str = "ps"

    def requested(self) -> tuple[object, ...]:
        """Return the units in the order of kimpy.model.create."""
        return (
            getattr(kimpy.length_unit, self.length),
            getattr(kimpy.energy_unit, self.energy),
            getattr(kimpy.charge_unit, self.charge),
            getattr(kimpy.temperature_unit, self.temperature),
            getattr(kimpy.time_unit, self.time),
        )


METAL = UnitSystem("metal", "A", "eV")
# The units that LAMMPS asks for in each of its unit styles, and those of other simulators.
SYSTEMS = (
    METAL,
    UnitSystem("real", "A", "kcal_mol", time="fs"),
    UnitSystem("si", "m", "J", charge="C", time="s"),
    UnitSystem("cgs", "cm", "erg", charge="statC", time="s"),
    UnitSystem("electron", "Bohr", "Hartree", time="fs"),
    UnitSystem("nm, eV", "nm", "eV"),
    UnitSystem("A, amu A^2/ps^2", "A", "amu_A2_per_ps2"),
)
