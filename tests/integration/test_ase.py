# SPDX-License-Identifier: LGPL-2.1-or-later
"""ASE's KIM calculator, in this Python and in the system's, whose executable links no libpython."""

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import tiny_models as tiny
from configurations import crystal, of_atoms
from kim_collection import KimCollection, python_path
from kimpy_host import ENERGY, KimpyModel

pytestmark = pytest.mark.every_system

HERE = Path(__file__).parent
MODELS = (tiny.RAW, tiny.RAW_FORCES, tiny.GRAPH_2, tiny.DESCRIPTOR)

INTERRUPTED = """\
import signal, sys, threading, time
import tiny_models as tiny
from ase.calculators.kim import KIM
from configurations import crystal

atoms = crystal()
atoms.calc = KIM(tiny.GRAPH_2)
atoms.get_potential_energy()
threading.Timer(0.3, signal.raise_signal, [signal.SIGINT]).start()
start = time.monotonic()
try:
    while time.monotonic() < start + 20.0:
        atoms.rattle(1e-6)
        atoms.get_potential_energy()
except KeyboardInterrupt:
    sys.exit(7)
"""


def version_of(python: Path) -> str:
    """Return the version X.Y of a Python, or an empty string if there is no such Python."""
    if not python.exists():
        return ""
    command = "import sysconfig; print(sysconfig.get_python_version())"
    done = subprocess.run([str(python), "-c", command], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture(scope="module", params=[sys.executable, "/usr/bin/python3"])
def session(request: pytest.FixtureRequest, collection: KimCollection) -> dict:
    """Return the output of ase_session.py, which must have succeeded and announced itself in one line."""
    python = Path(request.param)
    if version_of(python) != sysconfig.get_python_version():
        pytest.skip(f"{python} is Python '{version_of(python)}', the packages are for another version")
    # The system's Python finds ASE, kimpy and torch where this one has them.
    path = f"{python_path(HERE)}:{sysconfig.get_path('purelib')}"
    done = collection.run_python(HERE / "ase_session.py", python=python, PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("[kim-torchml] driver ")
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", MODELS)
def test_energy_is_that_of_kimpy(session: dict, name: str) -> None:
    model = KimpyModel(name)
    (expected,) = model.compute(of_atoms(crystal(), model.model.get_influence_distance()), (ENERGY,))
    assert session["models"][name]["energy"] == pytest.approx(expected[0], rel=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_forces_are_minus_the_gradient(session: dict, name: str) -> None:
    found = session["models"][name]
    np.testing.assert_allclose(found["forces"][:2], found["numerical_forces"], rtol=0, atol=1e-8)
    np.testing.assert_allclose(np.sum(found["forces"], axis=0), 0.0, rtol=0, atol=1e-10)
    assert np.abs(found["forces"]).max() > 0.1


@pytest.mark.parametrize("name", MODELS)
def test_stress_is_the_derivative_by_strain(session: dict, name: str) -> None:
    """This must hold where forces on particles beyond the cell contribute to the stress, too."""
    found = session["models"][name]
    np.testing.assert_allclose(found["stress"], found["numerical_stress"], rtol=0, atol=1e-9)
    assert np.abs(found["stress"]).max() > 1e-3


def test_model_that_differentiates_itself_agrees(session: dict) -> None:
    ours, its_own = session["models"][tiny.RAW], session["models"][tiny.RAW_FORCES]
    np.testing.assert_allclose(ours["forces"], its_own["forces"], rtol=0, atol=1e-12)


def test_calculator_deleted_and_made_again(session: dict) -> None:
    assert session["again"] == [session["models"][tiny.GRAPH_2]["energy"]] * 3


def test_md_conserves_energy(session: dict) -> None:
    *total, kinetic = session["md"]
    assert kinetic > 0.01
    assert max(total) - min(total) < 1e-3 * kinetic


def test_interrupt_reaches_the_host(collection: KimCollection) -> None:
    """Ctrl-C in the middle of a calculation raises KeyboardInterrupt in the user's script, as it does anywhere."""
    done = collection.run_python("-c", INTERRUPTED, KIM_TORCHML_QUIET="1")
    assert done.returncode == 7, done.stderr
    assert "Segmentation" not in done.stderr


def test_other_version_of_the_package_imported_first(collection: KimCollection, own_folder: Path) -> None:
    """The error names both versions and both places."""
    package = own_folder / "site" / "kim_torchml"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('__version__ = "99.1"\n')
    command = (
        "import kim_torchml, pytest, tiny_models\n"
        "from kimpy_host import KimpyModel\n"
        "with pytest.raises(RuntimeError):\n"
        "    KimpyModel(tiny_models.RAW)\n"
    )
    path = f"{package.parent}:{HERE}"
    done = collection.run_python("-c", command, PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    (error,) = done.stderr.splitlines()
    assert error.startswith("[kim-torchml] error: this process has imported kim_torchml 99.1 from ")
    assert str(package) in error
    assert str(collection.drivers) in error
    assert "bring both to the same version" in error
