# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which kim_torchml the driver runs in a host's own Python: a distribution of its own version, else its own copy.

kimpy is the host, in a process of its own. The distributions are made here, in a folder on PYTHONPATH.
"""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from site import getsitepackages as site_packages

import pytest
import tiny_models as tiny
from configurations import mixed
from kim_collection import DRIVER, HERE, REPOSITORY, KimCollection

import kim_torchml

VERSION = kim_torchml.__version__

# What each script below ends with: what the process has imported.
REPORT = """
import json, sys
names = sorted(name for name in sys.modules if name.partition(".")[0] == "kim_torchml")
print(json.dumps([sys.modules["kim_torchml"].__file__, names, sys.path, float(energy[0])]))
"""
COMPUTE = """
import tiny_models as tiny
from configurations import mixed
from kimpy_host import ENERGY, KimpyModel
(energy,) = KimpyModel(tiny.RAW).compute(mixed(), (ENERGY,))
"""
IMPORT_TOOLS = """
import kim_torchml.tools.cli
assert kim_torchml.tools.cli.main.name == "main"
"""


def add_distribution(folder: Path, version: str) -> None:
    """Make a Python that has this folder on its path believe that kim-torchml is installed there."""
    info = folder / f"kim_torchml-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: kim-torchml\nVersion: {version}\n")


def add_package(folder: Path, code: str) -> Path:
    """Write a package kim_torchml with one file; return that file."""
    package = folder / "kim_torchml" / "__init__.py"
    package.parent.mkdir(parents=True)
    package.write_text(code)
    return package


@pytest.fixture
def site(own_folder: Path) -> Path:
    """A folder that holds a distribution of the driver's version: the package as it is in this checkout."""
    folder = own_folder / "site"
    add_distribution(folder, VERSION)
    (folder / "kim_torchml").symlink_to(REPOSITORY / "src" / "kim_torchml")
    return folder


@pytest.fixture
def bare_site(own_folder: Path) -> Path:
    """A folder with all that is installed here, but for kim-torchml."""
    folder = own_folder / "bare"
    folder.mkdir()
    # torch may be the system's, which the environment sees; what comes first on Python's path is linked last.
    for packages in filter(Path.is_dir, map(Path, reversed(site_packages()))):
        for installed in packages.iterdir():
            if not installed.name.startswith(("kim_torchml", "_kim_torchml")) and installed.suffix != ".pth":
                (folder / installed.name).unlink(missing_ok=True)
                (folder / installed.name).symlink_to(installed)
    return folder


Host = Callable[..., tuple[Path, list[str]]]


@pytest.fixture
def host(collection: KimCollection) -> Host:
    """A function that runs a script; it returns the package's file and the imported modules' names."""

    def function(*code: str, path: Path, options: tuple[str, ...] = ()) -> tuple[Path, list[str]]:
        folders = f"{path}{os.pathsep}{HERE}"
        done = collection.run_python(*options, "-c", "".join([*code, REPORT]), PYTHONPATH=folders)
        assert done.returncode == 0, done.stderr
        file, names, search_path, energy = json.loads(done.stdout)
        assert energy != 0.0
        assert not [entry for entry in search_path if DRIVER in entry]
        return Path(file), names

    return function


def own_copy(collection: KimCollection) -> Path:
    return collection.drivers / DRIVER / "python" / "kim_torchml" / "__init__.py"


def test_tools_after_kim(host: Host, site: Path) -> None:
    file, names = host(COMPUTE, IMPORT_TOOLS, path=site)
    assert file == site / "kim_torchml" / "__init__.py"
    assert {"kim_torchml.driver.model", "kim_torchml.tools.cli"} <= set(names)


def test_kim_after_tools(host: Host, site: Path) -> None:
    file, names = host(IMPORT_TOOLS, COMPUTE, path=site)
    assert file == site / "kim_torchml" / "__init__.py"
    assert {"kim_torchml.driver.model", "kim_torchml.tools.cli"} <= set(names)


def test_kim_alone_imports_no_tools(host: Host, site: Path) -> None:
    _, names = host(COMPUTE, path=site)
    assert "kim_torchml.driver.model" in names
    assert [name for name in names if name.startswith("kim_torchml.tools")] == []


def test_no_distribution(host: Host, collection: KimCollection, bare_site: Path) -> None:
    """Nothing of the environment's own is searched: -S, and links to all other packages."""
    file, _ = host(COMPUTE, path=bare_site, options=("-S",))
    assert file == own_copy(collection)


def test_package_without_a_distribution(host: Host, collection: KimCollection, bare_site: Path) -> None:
    """A folder of that name that is in the way, perhaps of a script's own, is not what pip has installed."""
    add_package(bare_site, f"__version__ = {VERSION!r}\nraise ImportError('imported')\n")
    file, _ = host(COMPUTE, path=bare_site, options=("-S",))
    assert file == own_copy(collection)


def test_distribution_of_another_version(host: Host, collection: KimCollection, own_folder: Path) -> None:
    folder = own_folder / "other"
    add_distribution(folder, "99.1")
    add_package(folder, '__version__ = "99.1"\n')
    file, _ = host(COMPUTE, path=folder)
    assert file == own_copy(collection)


@pytest.mark.parametrize(
    "code",
    [
        "raise ImportError('broken')",
        f"__version__ = {VERSION!r}",
        '__version__ = "99.1"',
        "",
    ],
    ids=["cannot be imported", "holds no driver", "says another version", "says no version"],
)
def test_distribution_that_will_not_do(host: Host, collection: KimCollection, own_folder: Path, code: str) -> None:
    """Nothing of it stays behind."""
    folder = own_folder / "broken"
    add_distribution(folder, VERSION)
    add_package(folder, code)
    file, _ = host(COMPUTE, path=folder)
    assert file == own_copy(collection)


def test_simulator_without_python_runs_the_drivers_copy(
    collection: KimCollection, simulator: Path, site: Path, own_folder: Path
) -> None:
    """As LAMMPS does: a distribution of the same version, that would say so, is not imported."""
    (site / "kim_torchml").unlink()
    add_package(site, f"import sys\n__version__ = {VERSION!r}\nprint('of the distribution', file=sys.stderr)\n")
    mixed().write(own_folder / "particles.txt")
    done = subprocess.run(
        [str(simulator), "compute", tiny.RAW, "particles.txt"],
        env=collection.environment | {"PYTHONPATH": str(site), "KIM_TORCHML_QUIET": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
