# SPDX-License-Identifier: LGPL-2.1-or-later
"""`kim-torchml install`, `info` and `remove` with a real KIM-API: models run, and older ones outlive failures."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_models as tiny
from command_host import CommandHost, energy_of_formula, is_running, write_with_cmake
from kim_collection import DRIVER, KimCollection

NAME = "Tiny_Installed"
# Where the build hangs, this word is in a command line.
HANGS = "3601.25"
ABOUT = '[about]\ntitle = "Tiny"\nauthors = ["Ada Lovelace"]\n'


@pytest.fixture
def host(bare_collection: KimCollection, own_folder: Path) -> Iterator[CommandHost]:
    """A user who leaves no model behind."""
    user = CommandHost(bare_collection, own_folder)
    yield user
    user.remove(NAME)


def folder_of(parent: Path, scale: float = 1.0, tables: str = "") -> Path:
    """Write the folder of a model, with a blank in its path."""
    return tiny.edges(NAME, tiny.EdgesModel(scale), tables).write(parent / "my models")


def library(host: CommandHost) -> Path:
    return host.models / NAME / "libkim-api-portable-model.so"


def test_a_model_is_installed_described_and_removed(host: CommandHost, own_folder: Path) -> None:
    folder = folder_of(own_folder, tables=ABOUT)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    done = host.run("install", folder)
    assert (done.code, done.error) == (0, "")
    assert f"{NAME} is installed in the user collection: {host.models}/{NAME}\n" in done.output
    assert f"driver: {DRIVER}, installed in the user collection (version " in done.output
    assert [path.name for path in library(host).parent.iterdir()] == [library(host).name]
    assert not host.store.exists()
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert abs(host.energy(NAME) - energy_of_formula()) < 1e-9

    told = {word: json.loads(host.run("info", word, "--json").output) for word in (NAME, str(folder))}
    installed, on_disk = told[NAME], told[str(folder)]
    assert (installed["what"], installed["collection"]) == ("installed model", "user")
    assert installed["opened"] == on_disk["opened"]
    assert len(installed["opened"]["outputs"]) == 5
    assert installed["description"] == on_disk["description"]
    assert [(each["name"], each["sha256"]) for each in installed["files"]] == [
        (each["name"], each["sha256"]) for each in on_disk["files"]
    ]
    assert installed["driver"]["version"]
    assert "author = {Ada Lovelace}" in installed["bibtex"]

    done = host.run("remove", NAME)
    assert (done.code, done.error) == (0, "")
    assert NAME not in host.collection.manage("list").stdout
    assert host.run("info", NAME).code == 2


def test_a_new_model_replaces_an_old_one(host: CommandHost, own_folder: Path) -> None:
    host.run("install", folder_of(own_folder / "first"))
    done = host.run("install", folder_of(own_folder / "second", scale=2.0))
    assert (done.code, done.error) == (0, "")
    assert "in place of an older one" in done.output
    assert abs(host.energy(NAME) - energy_of_formula(2.0)) < 1e-9


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ('message(FATAL_ERROR "no such luck")', "CMake Error at CMakeLists.txt:7 (message): no such luck; mend"),
        ('file(WRITE "${CMAKE_CURRENT_BINARY_DIR}/bad.cpp" "int f( { }")', "bad.cpp:1:"),
    ],
)
def test_an_old_model_outlives_a_new_one_that_fails(
    host: CommandHost, own_folder: Path, lines: str, reason: str
) -> None:
    host.collection.install(folder_of(own_folder / "first"))
    bad = write_with_cmake(tiny.edges(NAME, tiny.EdgesModel(2.0)), own_folder / "second", lines)
    if "bad.cpp" in lines:
        with (bad / "CMakeLists.txt").open("a") as file:
            file.write('target_sources(${PROJECT_NAME} PRIVATE "${CMAKE_CURRENT_BINARY_DIR}/bad.cpp")\n')
    done = host.run("install", bad, "--store")
    assert (done.code, done.output) == (1, "")
    *_, last = done.error.splitlines()
    assert last.startswith(f"Error: KIM could not build the model {NAME}: ")
    assert reason in last
    assert "Traceback" not in done.error
    assert list(host.store.iterdir()) == []
    assert abs(host.energy(NAME) - energy_of_formula()) < 1e-9


@pytest.mark.parametrize(
    ("number", "code", "line"),
    [
        (signal.SIGINT, 130, "kim-torchml: interrupted\n"),
        (signal.SIGTERM, 143, "kim-torchml: ended by SIGTERM\n"),
    ],
)
def test_an_old_model_outlives_an_interruption(
    host: CommandHost, own_folder: Path, number: int, code: int, line: str
) -> None:
    host.collection.install(folder_of(own_folder / "first"))
    before = library(host).read_bytes()
    slow = write_with_cmake(
        tiny.edges(NAME, tiny.EdgesModel(2.0)), own_folder / "second", f"execute_process(COMMAND sleep {HANGS})"
    )
    process = host.start("install", slow, "--store")
    deadline = time.monotonic() + 120
    while not is_running(HANGS):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    done = host.finish(process)
    assert (done.code, done.output, done.error) == (code, "", line)
    assert not is_running(HANGS)
    assert list(host.store.iterdir()) == []
    assert library(host).read_bytes() == before


def test_collections_of_the_environment_and_of_the_working_directory(host: CommandHost, own_folder: Path) -> None:
    folder = folder_of(own_folder)
    place = own_folder / "place"
    place.mkdir()
    variable = {"KIM_API_PORTABLE_MODELS_DIR": str(place)}
    done = host.run("install", folder, "--collection", "environment", **variable)
    assert (done.code, done.error) == (0, "")
    assert (place / NAME / library(host).name).is_file()
    assert abs(host.energy(NAME, **variable) - energy_of_formula()) < 1e-9
    # KIM takes a name in one collection only.
    done = host.run("install", folder, **variable)
    assert done.code == 2
    assert f"{NAME} is installed in the environment collection ({place}/{NAME})" in done.error
    assert host.run("remove", NAME, **variable).code == 0
    assert list(place.iterdir()) == []

    done = host.run("install", folder, "--collection", "CWD")
    assert (done.code, done.error) == (0, "")
    assert (host.work / NAME / library(host).name).is_file()
    done = host.run("info", NAME, "--json")
    assert done.code == 2
    assert "it is not loaded, as that could run anything" in done.error
    assert host.run("remove", NAME, "--collection", "CWD").code == 0
    assert list(host.work.iterdir()) == []


def test_driver_that_is_not_installed(host: CommandHost, own_folder: Path) -> None:
    """KIM's manager would look for it in the web."""
    model = tiny.edges(NAME, tiny.EdgesModel(), driver="TorchML__MD_173118614730_001")
    done = host.run("install", model.write(own_folder))
    assert (done.code, done.output) == (1, "")
    assert (
        "needs the driver TorchML__MD_173118614730_001, which is not installed; install kim-torchml under" in done.error
    )
    assert not library(host).exists()
