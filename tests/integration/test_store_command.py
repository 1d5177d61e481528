# SPDX-License-Identifier: LGPL-2.1-or-later
"""The store of model files with a real KIM-API: models find their files there, or say what is missing."""

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_models as tiny
from command_host import CommandHost, energy_of_formula
from kim_collection import KimCollection
from lammps_host import run_lammps

NAME, OTHER, LARGE = "Tiny_Stored", "Tiny_StoredToo", "Tiny_Large"
LAMMPS = f"""
units metal
atom_style atomic
kim init {NAME} metal
lattice diamond 5.43
region box block 0 2 0 2 0 2
create_box 1 box
create_atoms 1 box
mass 1 28
kim interactions Si
run 0
"""


@pytest.fixture
def host(bare_collection: KimCollection, own_folder: Path) -> Iterator[CommandHost]:
    """A user who leaves no model behind."""
    user = CommandHost(bare_collection, own_folder)
    yield user
    user.remove(NAME, OTHER, LARGE)


def folder_of(parent: Path, name: str = NAME, scale: float = 1.0) -> Path:
    return tiny.edges(name, tiny.EdgesModel(scale)).write(parent / "my models")


def test_a_model_finds_its_file_or_says_what_is_missing(host: CommandHost, own_folder: Path) -> None:
    folder = folder_of(own_folder)
    done = host.run("install", folder, "--store")
    assert (done.code, done.error) == (0, "")
    (stored,) = host.store.iterdir()
    assert done.output.endswith(f"model file: in the store, {stored}\n")
    assert stored.read_bytes() == (folder / "model.pt").read_bytes()
    assert stat.S_IMODE(host.store.stat().st_mode) == 0o700
    assert (host.models / NAME / "libkim-api-portable-model.so").read_bytes().count(b"PK\x03\x04") == 0
    assert abs(host.energy(NAME) - energy_of_formula()) < 1e-9

    told = json.loads(host.run("info", NAME, "--json").output)
    assert told["model_file"] == {
        "name": "model.pt",
        "size": stored.stat().st_size,
        "sha256": stored.stem,
        "where": "store",
        "path": str(stored),
    }
    assert told["opened"]["outputs"][0] == "partialEnergy"

    content = stored.read_bytes()
    for damage, reason in (
        (lambda: stored.write_bytes(content[:-1]), "is damaged: its"),
        (stored.unlink, "(not there)"),
    ):
        damage()
        done = host.energy_run(NAME)
        assert done.code != 0
        (line,) = (each for each in done.error.splitlines() if each.startswith("[kim-torchml] error:"))
        assert reason in line
        assert f"must be in a store of model files, as model.toml says, got none in {host.store}" in line
    # Installing again puts the file back.
    assert host.run("install", folder, "--store").code == 0
    assert abs(host.energy(NAME) - energy_of_formula()) < 1e-9


def test_lammps_finds_the_file_of_a_named_store(host: CommandHost, own_folder: Path) -> None:
    shared = own_folder / "shared"
    shared.mkdir()
    variables = {"KIM_TORCHML_MODEL_PATH": f"{shared}:{own_folder}/more"}
    done = host.run("install", folder_of(own_folder), "--store", **variables)
    assert done.code == 0
    assert done.error.startswith("warning: simulators find the model file only where KIM_TORCHML_MODEL_PATH")
    (stored,) = shared.iterdir()
    assert stat.S_IMODE(stored.stat().st_mode) == 0o644
    assert not host.store.exists()
    done = run_lammps(host.collection, own_folder, LAMMPS, **variables)
    assert done.returncode == 0, done.stderr
    done = run_lammps(host.collection, own_folder, LAMMPS, **host.variables)
    assert done.returncode != 0
    assert f"got none in {host.store} (there is no such folder)" in done.stderr


def test_a_large_file_goes_to_the_store_where_kim_is_slow(host: CommandHost, own_folder: Path) -> None:
    model = tiny.edges(LARGE, tiny.EdgesModel(ballast=1_200_000))
    folder = model.write(own_folder)
    assert (folder / "model.pt").stat().st_size > 9e6
    done = host.run("install", folder)
    assert (done.code, done.error) == (0, "")
    version = host.collection.manage("--version").stdout
    is_slow = tuple(map(int, version.split(".")[:2])) < (2, 4)
    assert ("model file: in the store" in done.output) == is_slow
    assert abs(host.energy(LARGE) - energy_of_formula()) < 1e-9


def test_the_store_is_listed_and_what_is_unused_is_dropped(host: CommandHost, own_folder: Path) -> None:
    """Two models may need one file; it is used as long as one of them is there."""
    for name, scale in ((NAME, 1.0), (OTHER, 1.0), (LARGE, 2.0)):
        assert host.run("install", folder_of(own_folder, name, scale), "--store").code == 0
    listed = host.run("store")
    assert (listed.code, listed.error) == (0, "")
    first, *lines = listed.output.splitlines()
    assert first == str(host.store)
    users = {line.split(maxsplit=3)[3] for line in lines}
    assert users == {f"{NAME}, {OTHER}", LARGE}

    done = host.run("remove", LARGE)
    assert done.code == 0
    assert "its model file stays in the store: " in done.output
    host.run("remove", NAME)
    assert {line.split(maxsplit=3)[3] for line in host.run("store").output.splitlines()[1:]} == {OTHER, "unused"}
    done = host.run("store", "--drop-unused")
    assert done.code == 1
    assert "Remove 1 unused file (" in done.output
    assert len(list(host.store.iterdir())) == 2
    done = host.run("store", "--drop-unused", "--yes")
    assert done.code == 0
    assert "removed 1 unused file (" in done.output
    assert len(list(host.store.iterdir())) == 1
    assert abs(host.energy(OTHER) - energy_of_formula()) < 1e-9


def test_format_1_has_no_store(host: CommandHost, own_folder: Path) -> None:
    folder = tiny.raw(NAME, tiny.RawModel()).write(own_folder)
    done = host.run("install", folder, "--store")
    assert (done.code, done.output) == (2, "")
    assert f"run `kim-torchml upgrade {folder}` first\n" in done.error
    assert host.run("install", folder).code == 0
    assert abs(host.energy(NAME) - energy_of_formula()) < 1e-9
