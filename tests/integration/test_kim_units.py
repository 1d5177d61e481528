# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every unit that KIM knows, with KIM's own factors; and LAMMPS in each of its unit systems."""

import itertools
import json
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import ase.units
import kimpy
import numpy as np
import pytest
import tiny_models as tiny
from configurations import mixed, of_atoms
from example_models import STILLINGER_WEBER, silicon
from kim_collection import KimCollection
from kimpy_host import ENERGY, FORCES, PARTICLE_ENERGIES, PARTICLE_VIRIALS, VIRIAL, KimpyModel
from lammps_host import run_lammps, write_data

pytestmark = pytest.mark.usefixtures("collection", "examples")

LENGTHS = ("A", "Bohr", "cm", "m", "nm")
ENERGIES = ("amu_A2_per_ps2", "erg", "eV", "Hartree", "J", "kcal_mol")
OUTPUTS = (ENERGY, FORCES, PARTICLE_ENERGIES, VIRIAL, PARTICLE_VIRIALS)


@pytest.fixture(scope="module")
def factors(simulator: Path, collection: KimCollection) -> dict[tuple[str, str], dict[str, float]]:
    """Return KIM's factors from Å, eV and eV/Å by units of length and energy; those of erg follow from the joule's."""
    found = {}
    for length, energy in itertools.product(LENGTHS, ENERGIES):
        done = subprocess.run(
            [str(simulator), "factors", length, energy],
            env=collection.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        found[length, energy] = json.loads(done.stdout)
    for length in LENGTHS:
        # KIM-API 2.3 takes an erg for 1e7 J.
        joules = found[length, "J"]
        found[length, "erg"] = joules | {name: 1e7 * joules[name] for name in ("energy", "force")}
    return found


def test_energies_are_those_of_others(factors: dict) -> None:
    """KIM's factors agree with ASE's, to the digits in which KIM's constants are still today's."""
    for name, per_ev in (
        ("J", ase.units._e),
        ("erg", 1e7 * ase.units._e),
        ("kcal_mol", ase.units.mol / ase.units.kcal),
        ("Hartree", 1.0 / ase.units.Hartree),
        ("amu_A2_per_ps2", (1000.0 * ase.units.fs) ** 2),
    ):
        assert factors["A", name]["energy"] == pytest.approx(per_ev, rel=1e-6), name


def test_kim_knows_no_other_units() -> None:
    lengths = {str(kimpy.length_unit.get_length_unit(i)) for i in range(kimpy.length_unit.get_number_of_length_units())}
    energies = {
        str(kimpy.energy_unit.get_energy_unit(i)) for i in range(kimpy.energy_unit.get_number_of_energy_units())
    }
    assert lengths - {"unused"} == set(LENGTHS)
    assert energies - {"unused"} == set(ENERGIES)


def converted(name: str, values: np.ndarray, factors: dict[str, float]) -> np.ndarray:
    return values * factors["force" if name == FORCES else "energy"]


@pytest.mark.parametrize("name", [tiny.RAW, tiny.GRAPH_2, tiny.DESCRIPTOR])
def test_all_units_give_the_same_physics(name: str, factors: dict) -> None:
    in_metal = KimpyModel(name)
    particles = mixed()
    supported = [output for output in OUTPUTS if in_metal.supports(output)]
    expected = in_metal.compute(particles, supported)
    for (length, energy), factor in factors.items():
        scale = factor["length"]
        model = KimpyModel(name, length=length, energy=energy, scale=scale)
        assert model.cutoff == pytest.approx(scale * in_metal.cutoff, rel=1e-15)
        distance = scale * in_metal.model.get_influence_distance()
        assert model.model.get_influence_distance() == pytest.approx(distance, rel=1e-15)
        found = model.compute(replace(particles, coordinates=scale * particles.coordinates), supported)
        for output, ours, theirs in zip(supported, found, expected, strict=True):
            wanted = converted(output, theirs, factor)
            what = f"{output} in {length}, {energy}"
            np.testing.assert_allclose(ours, wanted, rtol=0, atol=1e-12 * np.abs(wanted).max(), err_msg=what)


@pytest.mark.parametrize(("length", "energy"), [("nm", "kcal_mol"), ("Bohr", "Hartree"), ("m", "J")])
def test_stillinger_weber_in_other_units_is_kims_own(length: str, energy: str, factors: dict, reference: str) -> None:
    scale = factors[length, energy]["length"]
    particles = of_atoms(silicon(), 3.8)
    particles = replace(particles, coordinates=scale * particles.coordinates)
    outputs = (ENERGY, FORCES, PARTICLE_ENERGIES, VIRIAL)
    results = [
        KimpyModel(name, length=length, energy=energy, scale=scale).compute(particles, outputs[:2] + outputs[3:])
        for name in (STILLINGER_WEBER, reference)
    ]
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-11 * np.abs(theirs).max())


@pytest.mark.parametrize(
    ("requested", "used"),
    [(("unused", "unused"), ("A", "eV")), (("nm", "unused"), ("nm", "eV")), (("unused", "J"), ("A", "J"))],
)
def test_units_that_are_left_open_are_the_models_own(requested: tuple[str, str], used: tuple[str, str]) -> None:
    """KIM then says that the model uses other units than requested, and a simulator must ask which ones."""
    accepted, model = kimpy.model.create(
        kimpy.numbering.zeroBased,
        getattr(kimpy.length_unit, requested[0]),
        getattr(kimpy.energy_unit, requested[1]),
        kimpy.charge_unit.unused,
        kimpy.temperature_unit.unused,
        kimpy.time_unit.unused,
        tiny.RAW,
    )
    assert not accepted
    assert tuple(map(str, model.get_units())) == (*used, "unused", "unused", "unused")


# LAMMPS' unit systems: KIM's names of their units of length and energy, and one gram per mole in their unit of mass.
SYSTEMS = {
    "metal": ("A", "eV", 1.0),
    "real": ("A", "kcal_mol", 1.0),
    "si": ("m", "J", 1.66053906660e-27),
    "cgs": ("cm", "erg", 1.66053906660e-24),
    "electron": ("Bohr", "Hartree", 1.0),
}
_CRYSTAL = """\
units {units}
atom_modify map array sort 0 0
boundary p p p
kim init {model} {units}
read_data crystal.data
mass 1 {mass}
kim interactions Si
"""
_FORCES = """\
run 0
write_dump all custom forces.dump id x y z fx fy fz modify sort id format float %.17g
print "$(pe:%.17g)" file energy.txt
"""


def crystal_commands(folder: Path, model: str, system: str, scale: float = 1.0) -> str:
    """Write the data file of `silicon`, with `scale` as one Å, and return the commands that set it up."""
    atoms = silicon()
    atoms.set_cell(scale * atoms.cell.array, scale_atoms=True)
    write_data(atoms, ("Si",), folder / "crystal.data")
    return _CRYSTAL.format(units=system, model=model, mass=28.0855 * SYSTEMS[system][2])


def run_systems(
    collection: KimCollection, folder: Path, commands: Mapping[str, str], scales: Mapping[str, float]
) -> None:
    """Run commands after `crystal_commands` of several systems in one process of LAMMPS, each in its own folder."""
    script = ""
    for system, its_commands in commands.items():
        own = folder / system
        own.mkdir()
        crystal = crystal_commands(own, STILLINGER_WEBER, system, scales[system])
        script += f"clear\nshell cd {own}\n{crystal}{its_commands}"
    done = run_lammps(collection, folder, script)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def systems(collection: KimCollection, examples: None, factors: dict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with LAMMPS' results in each of its unit systems."""
    del examples
    folder = tmp_path_factory.mktemp("systems")
    scales = {system: factors[length, energy]["length"] for system, (length, energy, _) in SYSTEMS.items()}
    run_systems(collection, folder, dict.fromkeys(SYSTEMS, _FORCES), scales)
    return folder


@pytest.mark.parametrize("system", SYSTEMS)
def test_lammps_in_its_unit_systems(systems: Path, system: str, factors: dict) -> None:
    length, energy, _ = SYSTEMS[system]
    factor = factors[length, energy]
    model = KimpyModel(STILLINGER_WEBER)
    atoms = silicon()
    expected_energy, forces = model.compute(of_atoms(atoms, model.model.get_influence_distance()))
    found = float((systems / system / "energy.txt").read_text())
    assert found == pytest.approx(expected_energy[0] * factor["energy"], rel=1e-12)
    rows = np.loadtxt(systems / system / "forces.dump", skiprows=9)
    expected = total_forces(forces, of_atoms(atoms, model.model.get_influence_distance()), atoms) * factor["force"]
    np.testing.assert_allclose(rows[:, 4:7], expected, rtol=0, atol=1e-11 * np.abs(expected).max())


def total_forces(forces: np.ndarray, particles, atoms) -> np.ndarray:
    """Add the forces on images to those on their atoms, eV/Å."""
    fractional = np.linalg.solve(
        atoms.cell.array.T, (particles.coordinates[:, None] - atoms.positions).reshape(-1, 3).T
    )
    away = np.abs(fractional - np.round(fractional)).max(axis=0).reshape(len(particles), len(atoms))
    total = np.zeros((len(atoms), 3))
    np.add.at(total, away.argmin(axis=1), forces)
    return total


_DYNAMICS = """\
velocity all create 600 2026 loop geom
velocity all scale 600
fix nve all nve
timestep {timestep}
thermo_style custom step pe ke etotal
run 0
print "$(etotal:%.17g)" file start.txt
run 100
print "$(etotal:%.17g)" file end.txt
write_dump all custom end.dump id xu yu zu modify sort id format float %.17g
"""


def test_dynamics_in_real_units_are_those_in_metal_units(
    collection: KimCollection, tmp_path: Path, factors: dict
) -> None:
    commands = {system: _DYNAMICS.format(timestep=step) for system, step in (("metal", 0.001), ("real", 1.0))}
    run_systems(collection, tmp_path, commands, dict.fromkeys(commands, 1.0))
    drift, positions = {}, {}
    for system in commands:
        folder = tmp_path / system
        start, end = (float((folder / f"{name}.txt").read_text()) for name in ("start", "end"))
        drift[system] = (end - start) / factors[SYSTEMS[system][:2]]["energy"]
        positions[system] = np.loadtxt(folder / "end.dump", skiprows=9)[:, 1:]
    moved = np.linalg.norm(positions["metal"] - silicon().positions, axis=1)
    assert moved.max() > 0.3
    np.testing.assert_allclose(positions["real"], positions["metal"], rtol=0, atol=1e-4)
    assert abs(drift["metal"]) < 0.2
    assert drift["real"] == pytest.approx(drift["metal"], abs=1e-4)
