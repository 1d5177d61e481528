# SPDX-License-Identifier: LGPL-2.1-or-later
"""Installing the driver with KIM's manager: what is left afterwards, other names, and environments that will not do."""

import base64
import json
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import kimpy
import pytest
import tiny_models as tiny
from configurations import mixed
from kim_collection import DRIVER, REPOSITORY, KimCollection, export_sources
from kimpy_host import KimpyModel

OTHER_DRIVER = "TorchML__MD_173118614730_000"
OTHER_MODEL = "Tiny_RawOfOtherDriver"


def python_files(package: Path) -> set[Path]:
    """The files of a package, relative to its folder; those that are compiled or made while it runs aside."""
    made = (".so", ".pyc")
    return {path.relative_to(package) for path in package.rglob("*") if path.is_file() and path.suffix not in made}


def is_for_people(path: Path) -> bool:
    """Whether a file of the package belongs to its command, which the driver does without."""
    return path.parts[0] in ("tools", "__main__.py")


@pytest.mark.every_system
def test_everything_is_beside_the_library(collection: KimCollection) -> None:
    """The sources it was built from are gone by now; all other tests run what is left."""
    folder = collection.drivers / DRIVER
    sources = REPOSITORY / "src" / "kim_torchml"
    installed = python_files(folder / "python" / "kim_torchml")
    assert installed == {path for path in python_files(sources) if not is_for_people(path)}
    libraries = sorted(folder.glob("*.so"))
    assert [path.name for path in libraries] == ["kim_torchml_shim.so", "libkim-api-model-driver.so"]
    for library in libraries:
        assert str(REPOSITORY).encode() not in library.read_bytes().replace(sys.prefix.encode(), b"")


def test_tools_are_not_installed_with_the_driver(collection: KimCollection) -> None:
    """They are pip's: the driver imports none of them, and some of what they need may not be there."""
    package = collection.drivers / DRIVER / "python" / "kim_torchml"
    assert (package / "__init__.py").is_file()
    assert not (package / "tools").exists()
    assert not (package / "__main__.py").exists()
    assert list(package.rglob("*.so")) == []


@pytest.mark.every_system
def test_driver_runs_the_package_beside_it(collection: KimCollection) -> None:
    KimpyModel(tiny.RAW)
    assert Path(sys.modules["kim_torchml"].__file__).is_relative_to(collection.drivers / DRIVER)


def plain_text(content: str) -> str:
    """Return a metadata file's text, which KIM-API 2.4 hands out in base64, and 2.3 as it is."""
    try:
        return base64.b64decode(content, validate=True).decode()
    except ValueError:
        return content


@pytest.mark.every_system
def test_installed_metadata_name_the_driver(collection: KimCollection) -> None:
    del collection
    collections = kimpy.collections.create()
    kind = kimpy.collection_item_type.modelDriver
    count = collections.cache_list_of_item_metadata_files(kind, DRIVER)
    files = {}
    for index in range(count):
        name, _, _, _, content = collections.get_item_metadata_file(index)
        files[name] = plain_text(content)
    first_line, _, rest = files["kimspec.edn"].partition("\n")
    assert first_line == "; SPDX-License-Identifier: LGPL-2.1-or-later"
    assert rest.startswith("{")
    assert f'"extended-id" "{DRIVER}"' in rest
    assert "GNU LESSER GENERAL PUBLIC LICENSE" in files["LICENSE"].upper()


@pytest.fixture(scope="module")
def other_driver(collection: KimCollection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], None]]:
    """The driver a second time, by another name, and a model of it; what it yields removes both again."""
    variables = {"KIM_TORCHML_DRIVER_NAME": OTHER_DRIVER, "KIM_TORCHML_PYTHON": sys.executable}
    collection.install(export_sources(tmp_path_factory.mktemp("export")), **variables)
    model = tiny.raw(OTHER_MODEL, tiny.RawModel(), driver=OTHER_DRIVER)
    collection.install(model.write(tmp_path_factory.mktemp("model")))

    def remove() -> None:
        for item in (OTHER_MODEL, OTHER_DRIVER):
            done = collection.manage("remove", "--force", item)
            assert done.returncode == 0, done.stdout

    yield remove


def test_other_name_beside_the_first(
    collection: KimCollection, other_driver: Callable[[], None], simulator: Path, own_folder: Path
) -> None:
    """One process runs models of both drivers; then KIM's manager leaves nothing of the other one behind."""
    mixed().write(own_folder / "particles.txt")
    done = subprocess.run(
        [str(simulator), "two", OTHER_MODEL, tiny.RAW, "particles.txt"],
        env=collection.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 4
    assert all(line == lines[0] for line in lines)
    assert len(done.stderr.splitlines()) == 1
    other_driver()
    assert [path.name for path in collection.drivers.iterdir()] == [DRIVER]


@pytest.fixture
def export(own_folder: Path) -> Path:
    return export_sources(own_folder / "export")


def refused(collection: KimCollection, export: Path, python: Path | str) -> str:
    """Try to install for an environment that will not do; return what the manager printed, in one line."""
    variables = {"KIM_TORCHML_DRIVER_NAME": "NeverInstalled", "KIM_TORCHML_PYTHON": str(python)}
    done = collection.manage("install", "user", export, **variables)
    assert done.returncode != 0
    assert not (collection.drivers / "NeverInstalled").exists()
    return " ".join(done.stdout.split())


def pretend(python: Path, package: str, version: str) -> None:
    """Make an environment believe that it has a package."""
    packages = python.parents[1] / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    info = packages / f"{package}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")


@pytest.mark.every_system
def test_environment_without_torch(collection: KimCollection, export: Path, bare_python: Path) -> None:
    printed = refused(collection, export, bare_python)
    assert f"kim-torchml cannot be built for the Python environment '{bare_python}'" in printed
    assert "torch is not installed there: run 'python -m pip install torch' in that environment" in printed
    assert "name its Python in KIM_TORCHML_PYTHON" in printed


@pytest.mark.every_system
def test_environment_with_an_old_torch(collection: KimCollection, export: Path, bare_python: Path) -> None:
    pretend(bare_python, "torch", "2.3.1")
    printed = refused(collection, export, bare_python)
    assert "torch 2.3.1 is too old: 2.4 or newer is needed" in printed


@pytest.mark.every_system
def test_python_that_is_not_there(collection: KimCollection, export: Path) -> None:
    printed = refused(collection, export, "/nonexistent/bin/python3")
    assert "/nonexistent/bin/python3" in printed
    assert "KIM_TORCHML_PYTHON" in printed


def test_warnings_of_the_compiler_are_errors_where_asked_for(collection: KimCollection, export: Path) -> None:
    """So the installation that all other tests use, made so by CI's compiler, had none."""
    sources = export / "kim_driver_cpp"
    # In a header that both libraries include, and nothing else is left of them: the shim takes the compiler long.
    with (sources / "shim.hpp").open("a") as header:
        header.write("\nstatic int never_used() {\n    return 0;\n}\n")
    for source in sources.rglob("*.cpp"):
        source.write_text('#include "shim.hpp"\n')
    variables = {"KIM_TORCHML_DRIVER_NAME": "NeverInstalled", "KIM_TORCHML_WERROR": "1"}
    done = collection.manage("install", "user", export, KIM_TORCHML_PYTHON=sys.executable, **variables)
    assert done.returncode != 0
    assert "-Werror=unused-function" in done.stdout
