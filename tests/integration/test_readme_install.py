# SPDX-License-Identifier: LGPL-2.1-or-later
"""The README's model, installed with the README's commands, also after a change."""

import re
import shutil
from pathlib import Path

from documents import README, blocks, section, write_model_of_readme
from kim_collection import KimCollection
from lammps_host import run_lammps

ENERGY = """
import ase.build
from ase.calculators.kim import KIM
atoms = ase.build.bulk("Si", cubic=True)
atoms.rattle(0.1, seed=1)
atoms.calc = KIM("My_Model")
print(atoms.get_potential_energy())
"""


def install(collection: KimCollection, folder: Path, *options: str) -> str:
    """Install a folder; return what KIM's manager printed."""
    done = collection.manage("install", *options, "user", folder)
    assert done.returncode == 0, done.stdout
    return done.stdout


def save_and_install(collection: KimCollection, folder: Path) -> str:
    """Run the model's script, install its folder, and return what KIM's manager printed."""
    code = "import os, runpy, sys; os.chdir(sys.argv[1]); runpy.run_path('make_my_model.py', run_name='__main__')"
    saved = collection.run_python("-c", code, folder)
    assert saved.returncode == 0, saved.stderr
    return install(collection, folder)


def energy(collection: KimCollection) -> float:
    """Return the energy of rattled silicon, in a process of its own."""
    done = collection.run_python("-c", ENERGY, KIM_TORCHML_QUIET="1")
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


def check_readme_energies(collection: KimCollection, folder: Path) -> None:
    """LAMMPS and ASE print the energy that the README names, with the README's inputs."""
    text = section(README, "Install your own model")
    named = re.search(r"Both print (\S+) eV", text)[1]
    (lammps,) = (content for _, content in blocks(text) if content.startswith("units metal"))
    (ase,) = (content for language, content in blocks(text) if language == "python" and "KIM(" in content)
    for done in (run_lammps(collection, folder, lammps), collection.run_python("-c", ase)):
        assert done.returncode == 0, done.stderr
        printed = re.search(r"^energy: (\S+) eV$", done.stdout, re.MULTILINE)[1]
        assert f"{float(printed):.4f}" == named


def test_a_changed_model_is_installed_with_force_alone(bare_collection: KimCollection, own_folder: Path) -> None:
    # In the collection's folder, because KIM's manager cannot take a blank in a path.
    folder = bare_collection.folder / "items" / "My_Model"
    folder.mkdir(parents=True)
    write_model_of_readme(folder)
    try:
        assert "Success!" in save_and_install(bare_collection, folder)
        check_readme_energies(bare_collection, own_folder)
        first = energy(bare_collection)
        assert first < -1.0
        script = folder / "make_my_model.py"
        script.write_text(script.read_text().replace("[1.0, 0.6]", "[2.0, 0.6]"))
        kept = save_and_install(bare_collection, folder)
        assert "already installed" in kept
        assert "Success!" in kept
        assert energy(bare_collection) == first
        install(bare_collection, folder, "--force")
        assert abs(energy(bare_collection) - first) > 0.1
    finally:
        shutil.rmtree(folder)
        bare_collection.manage("remove", "--force", "My_Model")
