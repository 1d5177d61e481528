# SPDX-License-Identifier: LGPL-2.1-or-later
"""The README's model, installed with the README's commands, also after a change."""

import shutil
from pathlib import Path

from documents import write_model_of_readme
from kim_collection import KimCollection

ENERGY = """
import ase.build
from ase.calculators.kim import KIM
atoms = ase.build.bulk("Si", cubic=True)
atoms.rattle(0.1, seed=1)
atoms.calc = KIM("My_Model")
print(atoms.get_potential_energy())
"""


def save_and_install(collection: KimCollection, folder: Path, *options: str) -> str:
    """Run the model's script, install its folder, and return what KIM's manager printed."""
    code = "import os, runpy, sys; os.chdir(sys.argv[1]); runpy.run_path('make_my_model.py', run_name='__main__')"
    saved = collection.run_python("-c", code, folder)
    assert saved.returncode == 0, saved.stderr
    done = collection.manage("install", *options, "user", folder)
    assert done.returncode == 0, done.stdout
    return done.stdout


def energy(collection: KimCollection) -> float:
    """Return the energy of rattled silicon, in a process of its own."""
    done = collection.run_python("-c", ENERGY, KIM_TORCHML_QUIET="1")
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


def test_a_changed_model_is_installed_with_force_alone(bare_collection: KimCollection) -> None:
    # In the collection's folder, because KIM's manager cannot take a blank in a path.
    folder = bare_collection.folder / "items" / "My_Model"
    folder.mkdir(parents=True)
    write_model_of_readme(folder)
    try:
        assert "Success!" in save_and_install(bare_collection, folder)
        first = energy(bare_collection)
        assert first < -1.0
        script = folder / "make_my_model.py"
        script.write_text(script.read_text().replace("[1.0, 0.6]", "[2.0, 0.6]"))
        kept = save_and_install(bare_collection, folder)
        assert "already installed" in kept
        assert "Success!" in kept
        assert energy(bare_collection) == first
        save_and_install(bare_collection, folder, "--force")
        assert abs(energy(bare_collection) - first) > 0.1
    finally:
        shutil.rmtree(folder)
        bare_collection.manage("remove", "--force", "My_Model")
