# SPDX-License-Identifier: LGPL-2.1-or-later
import json
import os
import re
import shlex
import stat
import threading
from pathlib import Path

import ase.io
import numpy as np
import pytest

from kim_torchml import __version__
from kim_torchml.driver import failure_file

# Two particles do not contribute, and one of them has a species code that the model does not know.
COORDINATES = np.random.default_rng(1).normal(scale=1e3, size=(5, 3))
COORDINATES[3] = [1e-300, -1.0 / 3.0, 1e17 / 7.0]
CODES = np.array([1, 0, 0, 1, 7], dtype=np.int32)
CONTRIBUTING = np.array([1, 0, 1, 1, 0], dtype=np.int32)
ERROR = 'it said "no" to C:\\tables\nand \'{[=, T 1 2 3 of file.pt; do Å'


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Return the folder of failures, which does not exist yet, in a process that has saved none."""
    monkeypatch.setattr(failure_file, "_saved", 0)
    monkeypatch.setenv("KIM_TORCHML_DUMP", str(tmp_path / "failures" / "of today"))
    return tmp_path / "failures" / "of today"


def save(**changes):
    arguments = {
        "message": ERROR,
        "model": "My_Model__MO_000000000000_000",
        "model_file": "model.pt",
        "parameters": {},
        "step": 17,
        "requested": ["partialEnergy", "partialForces"],
        "species": ["Si", "Ge"],
        "coordinates": COORDINATES,
        "to_angstrom": 1.0,
        "species_codes": CODES,
        "contributing": CONTRIBUTING,
        "influence_distance": 7.6,
    }
    return failure_file.save_failure(**(arguments | changes))


def saved_in(addition):
    """Return the file that an error's line names, and check that a shell understands the command in the line."""
    match = re.fullmatch(r"; the configuration was saved in (.+?\.xyz)( \(.+\))?, replay it with: (.+)", addition)
    command = shlex.split(match.group(3))
    assert command == ["kim-torchml", "replay", match.group(1), "My_Model__MO_000000000000_000"]
    return Path(match.group(1))


def test_nothing_is_saved_unless_asked_for(monkeypatch, folder):
    monkeypatch.setenv("KIM_TORCHML_DUMP", "")
    assert save() == ("", "")
    monkeypatch.delenv("KIM_TORCHML_DUMP")
    assert save() == ("", "")
    assert not folder.exists()


def test_ase_reads_what_was_written(folder):
    addition, second_line = save()
    assert second_line == ""
    path = saved_in(addition)
    assert path == folder / f"My_Model__MO_000000000000_000-pid{os.getpid()}-compute17.xyz"
    atoms = ase.io.read(path)
    np.testing.assert_array_equal(atoms.positions, COORDINATES)
    assert atoms.get_chemical_symbols() == ["Ge", "Si", "Si", "Ge", "X"]
    np.testing.assert_array_equal(atoms.arrays["contributing"], CONTRIBUTING)
    np.testing.assert_array_equal(atoms.arrays["particle_id"], range(5))
    np.testing.assert_array_equal(atoms.arrays["species_code"], CODES)
    assert not atoms.pbc.any()
    assert atoms.info["error"] == " ".join(ERROR.split())
    assert atoms.info["step"] == 17
    assert "KIM does not tell the simulator's step" in atoms.info["step_counts"]
    assert atoms.info["model"] == "My_Model__MO_000000000000_000"
    assert atoms.info["model_file"] == "model.pt"
    assert atoms.info["driver_version"] == __version__
    assert atoms.info["influence_distance"] == 7.6
    assert atoms.info["requested"] == "partialEnergy partialForces"
    assert [other.name for other in folder.iterdir()] == [path.name]


def test_parameters_that_were_set():
    values = {"A": [17.1, -1.0 / 3.0, float("nan")], "levels_2": [1, 2147483647], "T": [1e-300, 1e300, 5e-324]}
    assert "parameters" not in ase.io.read(saved_in(save()[0])).info
    path = saved_in(save(parameters=values)[0])
    atoms = ase.io.read(path)
    np.testing.assert_equal(json.loads(atoms.info["parameters"]), values)
    assert atoms.info["error"] == " ".join(ERROR.split())
    many = {f"tensor_{k}": np.random.default_rng(k).normal(size=4096).tolist() for k in range(20)}
    assert json.loads(ase.io.read(saved_in(save(parameters=many)[0])).info["parameters"]) == many


def test_nothing_requested():
    atoms = ase.io.read(saved_in(save(requested=[])[0]))
    assert "requested" not in atoms.info
    assert atoms.info["error"] == " ".join(ERROR.split())


def test_numbers_that_are_not_finite():
    coordinates = COORDINATES.copy()
    coordinates[0] = [np.nan, np.inf, -np.inf]
    atoms = ase.io.read(saved_in(save(coordinates=coordinates)[0]))
    np.testing.assert_array_equal(atoms.positions, coordinates)


def test_coordinates_in_other_units():
    atoms = ase.io.read(saved_in(save(to_angstrom=10.0)[0]))
    np.testing.assert_array_equal(atoms.positions, 10.0 * COORDINATES)
    assert atoms.info["influence_distance"] == 76.0


def test_settings_that_results_depend_on(monkeypatch):
    monkeypatch.setenv("KIM_MODEL_ELEMENTS_MAP", "1")
    monkeypatch.setenv("KIM_MODEL_EXECUTION_DEVICE", "cuda:1")
    monkeypatch.setenv("KIM_TORCHML_EDGES", "folded")
    atoms = ase.io.read(saved_in(save()[0]))
    assert atoms.info["settings"] == (
        "KIM_MODEL_EXECUTION_DEVICE=cuda:1 KIM_MODEL_ELEMENTS_MAP=1 KIM_TORCHML_EDGES=folded"
    )


def test_rank_is_in_the_name(monkeypatch):
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "12")
    monkeypatch.setenv("OMPI_COMM_WORLD_LOCAL_RANK", "4")
    assert f"-rank12-pid{os.getpid()}-" in saved_in(save()[0]).name


def test_relative_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KIM_TORCHML_DUMP", "here")
    assert saved_in(save()[0]).parent == tmp_path / "here"


def test_no_file_is_overwritten(folder):
    folder.mkdir(parents=True)
    name = f"My_Model__MO_000000000000_000-pid{os.getpid()}-compute17"
    (folder / f"{name}.xyz").write_text("of another machine's process")
    first, second = (saved_in(save()[0]) for _ in range(2))
    assert (folder / f"{name}.xyz").read_text() == "of another machine's process"
    assert [first.name, second.name] == [f"{name}-2.xyz", f"{name}-3.xyz"]
    assert len(list(folder.iterdir())) == 3


def test_file_system_without_hard_links(monkeypatch, folder):
    def refuse(self, target):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    first, second = (saved_in(save()[0]) for _ in range(2))
    assert second.name == f"{first.stem}-2.xyz"
    assert len(ase.io.read(first)) == len(ase.io.read(second)) == 5
    assert len(list(folder.iterdir())) == 2


def test_only_the_first_failures_are_saved(folder):
    additions = [save(step=step)[0] for step in range(1, 9)]
    assert len(list(folder.iterdir())) == failure_file.MOST_PER_PROCESS == 5
    assert [bool(addition) for addition in additions] == [True] * 5 + [False] * 3
    assert "(the last of 5 that one process saves)" in additions[4]
    assert "the last" not in "".join(additions[:4])


def test_threads_that_fail_at_once(folder):
    threads = [threading.Thread(target=save) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    paths = list(folder.iterdir())
    assert len(paths) == 5
    assert all(len(ase.io.read(path)) == 5 for path in paths)


def test_permissions_are_those_of_any_other_file(folder):
    (folder.parents[1] / "any").touch()
    path = saved_in(save()[0])
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((folder.parents[1] / "any").stat().st_mode)


def test_folder_whose_name_is_no_text(monkeypatch, tmp_path):
    """The shim turns what it gets into C++ strings, so this must be valid UTF-8."""
    monkeypatch.setenv("KIM_TORCHML_DUMP", f"{tmp_path}/of\udcff")
    addition, second_line = save()
    assert second_line == ""
    assert f"saved in {tmp_path}/of\\udcff/" in addition
    addition.encode("utf-8")
    assert len(list((tmp_path / "of\udcff").iterdir())) == 1


def test_folder_that_cannot_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("KIM_TORCHML_DUMP", f"{tmp_path}/file")
    addition, second_line = save()
    assert addition == ""
    assert second_line.startswith(
        f"the configuration could not be saved in '{tmp_path}/file', which `KIM_TORCHML_DUMP` names: "
    )
    assert second_line.endswith("; name a folder that can be written")
    # A failure that could not be saved does not count as one of the five.
    monkeypatch.setenv("KIM_TORCHML_DUMP", str(tmp_path / "folder"))
    assert sum(bool(save()[0]) for _ in range(6)) == 5


def test_disk_that_is_full(monkeypatch, folder):
    def lines(*_):
        yield "5\n"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(failure_file, "_lines", lines)
    addition, second_line = save()
    assert addition == ""
    assert "No space left on device" in second_line
    assert list(folder.iterdir()) == []
