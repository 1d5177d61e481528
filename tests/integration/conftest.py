# SPDX-License-Identifier: LGPL-2.1-or-later
"""One private KIM collection for all integration tests: the driver, and tiny models that many tests share."""

import importlib.metadata
import os
import shutil
import sys
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from bad_models import all_bad_models
from built_once import BuiltOnce
from compiled_models import Compiled, compile_models, read_compiled, scripted_models
from example_models import EXAMPLES, REFERENCE, find_reference
from kim_collection import (
    DRIVER,
    REPOSITORY,
    STRICT_COMPILER,
    KimCollection,
    PortableModel,
    compile_simulator,
    compiler,
    export_sources,
    warnings_are_errors,
)
from tiny_models import sound_models

# These need environments of their own: bash tests/families.sh.
collect_ignore = [] if "KIM_TORCHML_FAMILIES" in os.environ else ["families"]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """Say after pytest's own summary that warnings of the compiler passed."""
    yield
    if not warnings_are_errors():
        terminalreporter.write_line(
            f"warnings of the compiler were no errors: it is {compiler()}, and CI's is {STRICT_COMPILER}", yellow=True
        )


@pytest.fixture(scope="session")
def built_once(tmp_path_factory: pytest.TempPathFactory) -> BuiltOnce:
    """What the first process of this run that needs it builds for all of them."""
    return BuiltOnce.of_this_run(tmp_path_factory)


def install_driver(collection: KimCollection) -> None:
    """Build the driver with warnings as errors, if the compiler is CI's, from sources that are gone afterwards."""
    export = export_sources(collection.folder / "export")
    in_environment = sys.prefix != sys.base_prefix
    python = {"VIRTUAL_ENV": sys.prefix} if in_environment else {"KIM_TORCHML_PYTHON": sys.executable}
    collection.install(export, KIM_TORCHML_WERROR="1" if warnings_are_errors() else "0", **python)
    shutil.rmtree(export)


@pytest.fixture(scope="session")
def bare_collection(built_once: BuiltOnce, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KimCollection]:
    """A collection that holds the driver, built with warnings as errors by CI's compiler; this process uses it too."""
    collection = KimCollection(tmp_path_factory.mktemp("collection"))
    built_once.install("driver", install_driver, collection)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("KIM_MODEL_ELEMENTS_MAP", "KIM_MODEL_EXECUTION_DEVICE", "KIM_TORCHML_PYTHON"):
            patch.delenv(name, raising=False)
        patch.setenv("KIM_API_CONFIGURATION_FILE", collection.environment["KIM_API_CONFIGURATION_FILE"])
        patch.setenv("KIM_TORCHML_QUIET", "1")
        patch.setenv("KIM_TORCHML_COMPILE", "never")
        yield collection


@pytest.fixture(scope="session")
def install_models(
    bare_collection: KimCollection, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[list[PortableModel]], None]:
    """Install portable models into the tests' collection."""

    def install(models: list[PortableModel]) -> None:
        bare_collection.install_models(models, tmp_path_factory.mktemp("models"))

    return install


@pytest.fixture(scope="session")
def collection(
    bare_collection: KimCollection, built_once: BuiltOnce, tmp_path_factory: pytest.TempPathFactory
) -> KimCollection:
    """The collection with the driver and the sound models of tiny_models.py."""
    build = tmp_path_factory.mktemp("models")
    built_once.install("sound_models", lambda own: own.install_models(sound_models(), build), bare_collection)
    return bare_collection


@pytest.fixture(scope="session")
def examples(bare_collection: KimCollection, built_once: BuiltOnce) -> None:
    """The repository's own models, installed as the README says."""

    def install(own: KimCollection) -> None:
        # KIM's manager installs no model without its driver.
        built_once.install("driver", install_driver, own)
        for folder in EXAMPLES.values():
            own.install(REPOSITORY / "examples" / folder)
        shutil.rmtree(own.drivers / DRIVER)

    built_once.install("examples", install, bare_collection)


@pytest.fixture(scope="session")
def reference(bare_collection: KimCollection) -> str:
    """Id of KIM's own Stillinger-Weber model."""
    del bare_collection
    found = find_reference()
    if found is None:
        pytest.skip(f"no portable model {REFERENCE}... is installed (Debian: apt-get install openkim-models)")
    return found


@pytest.fixture(scope="session")
def bad_models(collection: KimCollection, built_once: BuiltOnce, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Add the models of bad_models.py to the collection."""
    models, build = [bad.model for bad in all_bad_models()], tmp_path_factory.mktemp("models")
    built_once.install("bad_models", lambda own: own.install_models(models, build), collection)


@pytest.fixture(scope="session")
def compiled(
    collection: KimCollection,
    examples: None,
    install_models: Callable[[list[PortableModel]], None],
    built_once: BuiltOnce,
    tmp_path_factory: pytest.TempPathFactory,
) -> Compiled:
    """Models that this machine has compiled."""
    del examples
    install_models(scripted_models())
    folder = tmp_path_factory.mktemp("compiled")
    built_once.copy("compiled", lambda own: compile_models(collection, own), folder)
    return read_compiled(collection, folder)


@pytest.fixture
def compiled_here(compiled: Compiled, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let models that this process creates run compiled."""
    for name, value in compiled.variables.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def staged_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all particles be rows of their own, for tests in which those that do not contribute are nobody's images."""
    monkeypatch.setenv("KIM_TORCHML_EDGES", "staged")


@pytest.fixture(scope="session")
def simulator(built_once: BuiltOnce, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The C++ simulator of these tests."""
    name, flags = "simulator", ("-O2", "-pthread")
    folder = tmp_path_factory.mktemp(name)
    built_once.copy(name, lambda own: compile_simulator(name, own, flags), folder)
    return folder / name


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The python of a virtual environment that has nothing installed, like sys.executable otherwise."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True, with_pip=False)
    return folder / "bin" / "python3"


_PACKAGE_OF_DRIVER: dict[str, ModuleType] = {}


def _version_without_distribution(name: str) -> str:
    if name == "kim-torchml":
        raise importlib.metadata.PackageNotFoundError(name)
    return _version(name)


_version = importlib.metadata.version


def _is_beside_the_driver(package: ModuleType) -> bool:
    return package.__file__ is not None and Path(package.__file__).parts[-4:-2] == (DRIVER, "python")


@pytest.fixture(autouse=True)
def package_of_driver(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In this process too, the driver runs the package that was installed beside it, as it does in LAMMPS.

    That is the code of this checkout, and all of what was installed of it. In a host's own Python the driver would take
    what this process has imported already, or the distribution that pip has installed here, which may be of another
    checkout; test_package_choice.py has the tests of that.
    """
    monkeypatch.setattr(importlib.metadata, "version", _version_without_distribution)

    def take() -> dict[str, ModuleType]:
        names = [name for name in sys.modules if name.partition(".")[0] == "kim_torchml"]
        return {name: sys.modules.pop(name) for name in names}

    others = take()
    sys.modules.update(_PACKAGE_OF_DRIVER)
    yield
    taken = take()
    # A test that has imported the package before the driver did has that of these tests.
    if "kim_torchml" in taken and _is_beside_the_driver(taken["kim_torchml"]):
        _PACKAGE_OF_DRIVER.update(taken)
    sys.modules.update(others)


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """KIM writes kim.log into the working directory, so each test has one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
