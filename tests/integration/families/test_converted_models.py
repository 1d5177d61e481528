# SPDX-License-Identifier: LGPL-2.1-or-later
"""Converted potentials give in LAMMPS and ASE what the calculators of their packages give."""

import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from converted import Converted
from family_runs import COMMAND, Installed
from kim_collection import REPOSITORY, KimCollection
from lammps_host import Case, lines_of_driver, run_lammps
from tried_families import MODELS, TRIED_FAMILIES

NAMES = [
    pytest.param(model.name, marks=() if model.is_quick else pytest.mark.thorough, id=model.name) for model in MODELS
]
LOCAL = [
    pytest.param(model.name, marks=() if model.is_quick else pytest.mark.thorough, id=model.name)
    for model in MODELS
    if model.is_local
]
# What several ranks compute.
BETWEEN_RANKS = ["nacl64", "tilted", "cluster"]
# LAMMPS' own factor between bar and eV/Å³.
_BAR = 1.6021765e6
_PATIENCE = 1200.0


def structures_of(model: Converted) -> list[str]:
    """Return the names of the structures that are computed with a model."""
    return list(TRIED_FAMILIES[model.family].structures)


def check_close(found: dict[str, np.ndarray], installed: Installed, names: list[str]) -> None:
    """Check that results are those of the package's calculator, for some structures."""
    model, expected = installed.model, installed.expected
    for name in names:
        forces, limits = expected[f"{name}.forces"], model.others.get(name, model.limits)
        allowed = limits.energy * len(forces)
        assert found[f"{name}.energy"] == pytest.approx(expected[f"{name}.energy"], rel=0, abs=allowed), name
        np.testing.assert_allclose(found[f"{name}.forces"], forces, rtol=0, atol=limits.force, err_msg=name)
        if f"{name}.stress" in expected:
            np.testing.assert_allclose(
                found[f"{name}.stress"], expected[f"{name}.stress"], rtol=0, atol=limits.stress, err_msg=name
            )


def lammps_results(
    collection: KimCollection, folder: Path, model: Converted, names: list[str], ranks: int = 1, **variables: str
) -> tuple[dict[str, np.ndarray], str]:
    """Return what LAMMPS computes for structures, and what the driver has said."""
    family = TRIED_FAMILIES[model.family]
    cases = {
        name: Case(name, model.name, family.structures[name](), species=family.species, has_pressures=True)
        for name in names
    }
    done = run_lammps(
        collection, folder, "".join(case.write(folder) for case in cases.values()), ranks, _PATIENCE, **variables
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    found: dict[str, np.ndarray] = {}
    for name, case in cases.items():
        results = case.read(folder)
        found[f"{name}.energy"] = np.array(results.energy)
        found[f"{name}.forces"] = results.forces
        assert results.pressures is not None
        found[f"{name}.stress"] = -results.pressures / _BAR
        of_atoms = 0.0 if model.gives_total_alone else results.energy
        assert results.sum_of_atoms == pytest.approx(of_atoms, rel=1e-12)
    return found, "".join(lines_of_driver(done.stderr))


@pytest.mark.parametrize("name", NAMES)
def test_lammps_gives_what_the_package_gives(
    bare_collection: KimCollection, installed: Callable[[str], Installed], own_folder: Path, name: str
) -> None:
    converted = installed(name)
    found, said = lammps_results(bare_collection, own_folder, converted.model, structures_of(converted.model))
    assert ("layers folded" in said) != converted.model.is_local
    check_close(found, converted, structures_of(converted.model))


@pytest.mark.parametrize("name", NAMES)
def test_ase_gives_what_the_package_gives(
    bare_collection: KimCollection, installed: Callable[[str], Installed], own_folder: Path, name: str
) -> None:
    converted = installed(name)
    script = Path(__file__).with_name("ase_results.py")
    done = bare_collection.run_python(script, converted.model.family, name, own_folder / "ase.npz", timeout=_PATIENCE)
    assert done.returncode == 0, done.stderr
    with np.load(own_folder / "ase.npz") as found:
        check_close(dict(found), converted, structures_of(converted.model))


@pytest.mark.thorough
@pytest.mark.parametrize("name", [model.name for model in MODELS if model.file_format == "pt2" and model.is_compiled])
def test_compiled_gives_what_the_package_gives(
    bare_collection: KimCollection, installed: Callable[[str], Installed], own_folder: Path, name: str
) -> None:
    converted = installed(name)
    cache = {"KIM_TORCHML_CACHE": str(own_folder / "cache"), "KIM_TORCHML_COMPILE": "now"}
    found, said = lammps_results(bare_collection, own_folder, converted.model, structures_of(converted.model), **cache)
    # What runs as it is says "not compiled".
    assert ", compiled" in said, said
    check_close(found, converted, structures_of(converted.model))


@pytest.mark.parametrize(
    ("name", "ranks"),
    [
        ("Mace_Small", 2),
        ("Mace_Small", 4),
        ("NequIP_Small", 2),
        *(
            pytest.param(name, 2, marks=pytest.mark.thorough)
            for name in ("Mace_Nonlinear", "Mace_Script", "SevenNet_0", "NequIP_Packaged", "NequIP_Script")
        ),
    ],
)
def test_ranks_give_what_the_package_gives(
    bare_collection: KimCollection, installed: Callable[[str], Installed], own_folder: Path, name: str, ranks: int
) -> None:
    check_ranks(bare_collection, installed(name), own_folder, ranks)


@pytest.mark.thorough
def test_compiled_ranks_give_what_the_package_gives(
    bare_collection: KimCollection, installed: Callable[[str], Installed], own_folder: Path
) -> None:
    cache = {"KIM_TORCHML_CACHE": str(own_folder / "cache"), "KIM_TORCHML_COMPILE": "now"}
    assert check_ranks(bare_collection, installed("Mace_Small"), own_folder, 2, **cache).count(", compiled (") == 2


def check_ranks(collection: KimCollection, converted: Installed, folder: Path, ranks: int, **variables: str) -> str:
    """Check what ranks give that exchange features, and return what they have said."""
    pytest.importorskip("mpi4py", reason="ranks exchange features through mpi4py, which is not installed here")
    found, said = lammps_results(
        collection, folder, converted.model, BETWEEN_RANKS, ranks, KIM_TORCHML_EDGES="exchange", **variables
    )
    assert said.count("layers, exchanged between ranks") == ranks
    check_close(found, converted, BETWEEN_RANKS)
    return said


@pytest.mark.parametrize("name", ["Mace_Small", "Chgnet_Small"])
def test_staged_ranks_give_what_the_package_gives(
    bare_collection: KimCollection, installed: Callable[[str], Installed], own_folder: Path, name: str
) -> None:
    """Images are rows of their own there, two cutoffs deep; for five layers that would take gigabytes."""
    converted = installed(name)
    found, said = lammps_results(
        bare_collection, own_folder, converted.model, BETWEEN_RANKS, ranks=2, KIM_TORCHML_EDGES="staged"
    )
    assert said.count("layers staged") == 2
    check_close(found, converted, BETWEEN_RANKS)


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("name", LOCAL)
def test_ranks_of_a_local_model_give_what_one_gives(
    bare_collection: KimCollection, installed: Callable[[str], Installed], own_folder: Path, name: str, ranks: int
) -> None:
    """Its energies depend on neighbours alone, so that no rank needs more than one cutoff of the others' atoms."""
    converted = installed(name)
    names = structures_of(converted.model)
    found, said = lammps_results(bare_collection, own_folder, converted.model, names, ranks=ranks)
    assert "layers" not in said
    check_close(found, converted, names)
    of_one_rank, _ = lammps_results(bare_collection, own_folder, converted.model, names)
    check_close(found, replace(converted, expected=of_one_rank), names)


@pytest.mark.parametrize("name", NAMES)
def test_the_table_stands_in_the_readme(installed: Callable[[str], Installed], name: str) -> None:
    converted = installed(name)
    table = re.findall(r"^\|.*\|$", converted.printed, re.MULTILINE)
    assert len(table) == 7
    readme = (converted.folder / "README.md").read_text()
    assert "\n".join(table) in readme
    assert "differences from " in readme.lower()


@pytest.mark.parametrize("name", NAMES)
def test_check_passes(
    bare_collection: KimCollection, installed: Callable[[str], Installed], own_folder: Path, name: str
) -> None:
    """The folder needs torch alone: this runs without the family's package."""
    converted = installed(name)
    done = bare_collection.run_python("-c", COMMAND, "check", converted.folder, timeout=_PATIENCE)
    failed = re.search(r"failed: (.*) \(", done.stdout)
    assert set(failed[1].split(", ") if failed else []) == set(converted.model.fails), done.stdout + done.stderr
    assert done.returncode == (1 if converted.model.fails else 0)


@pytest.mark.thorough
@pytest.mark.parametrize("name", [model.name for model in MODELS])
def test_verify_grades(
    bare_collection: KimCollection, installed: Callable[[str], Installed], own_folder: Path, name: str
) -> None:
    converted, report = installed(name), own_folder / "report.json"
    family = TRIED_FAMILIES[converted.model.family]
    # All pairs of 89 species take an hour.
    species = [word for each in family.verified or family.species for word in ("--species", each)]
    done = bare_collection.run_python(
        "-c", COMMAND, "verify", name, *species, "--timeout", f"{_PATIENCE:g}", "--json", report, timeout=3 * _PATIENCE
    )
    assert report.exists(), done.stdout + done.stderr
    grades = {each["name"]: each["grade"] for each in json.loads(report.read_text())["results"]}
    failed = {each for each, grade in grades.items() if grade == "F"}
    expected = {"inversion-symmetry"} if "mirror" in converted.model.fails else set()
    # Whether rounding fails a check depends on the machine.
    assert expected <= failed <= expected | set(converted.model.graded_f), done.stdout


def test_nothing_of_this_machine_is_in_a_folder_of_mace(installed: Callable[[str], Installed]) -> None:
    folder = installed("Mace_Small").folder
    for path in folder.iterdir():
        content = path.read_bytes()
        assert str(REPOSITORY).encode() not in content
        assert b"/tmp/" not in content
        assert b"site-packages" not in content
    listed = subprocess.run(["ls", folder], capture_output=True, text=True, check=True).stdout.split()
    assert listed == ["CMakeLists.txt", "README.md", "kimspec.edn", "model.pt2", "model.toml"]
