# SPDX-License-Identifier: LGPL-2.1-or-later
"""What `kim-torchml replay` makes of files, models and environments that are not what it expects."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_models as tiny
from kim_collection import KimCollection
from replay_host import replay

from kim_torchml.tools.replay.neighbours import neighbour_lists


def test_interrupted_replay(collection: KimCollection, own_folder: Path) -> None:
    header = "Properties=species:S:1:pos:R:3:contributing:I:1:species_code:I:1"
    (own_folder / "saved.xyz").write_text(f"1\n{header}\nSi 0 0 0 1 0\n")
    code = "from kim_torchml.tools.cli import main; main(prog_name='kim-torchml')"
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", code, "replay", "saved.xyz", tiny.RAW],
        env=collection.environment | {"KIM_TORCHML_QUIET": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("file ")
    # Now the model is being created, which takes seconds.
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "kim-torchml: interrupted\n")


def test_particles_that_a_failed_simulation_has_flung_apart(collection: KimCollection, own_folder: Path) -> None:
    (own_folder / "far.xyz").write_text(
        "3\nProperties=species:S:1:pos:R:3:contributing:I:1:species_code:I:1\n"
        "Si 0 0 0 1 0\nSi 1e30 0 -1e200 1 0\nSi 1 1 1 0 0\n"
    )
    done = replay(collection, "far.xyz", tiny.RAW)
    assert done.returncode == 0, done.stderr
    assert "3, 2 of them contributing" in done.stdout
    assert "verdict" not in done.stdout


def test_neighbours_of_many_particles(own_folder: Path) -> None:
    """As a simulation leaves them: pairs of all particles at once would take 40 GB."""
    random = np.random.default_rng(1)
    coordinates = random.uniform(0.0, 100.0, size=(50_000, 3))
    # Overlapping, and far away.
    coordinates[1] = coordinates[0]
    coordinates[2] = 1e30
    lists = neighbour_lists(coordinates, 3.0)
    assert [len(lists), len(lists[2])] == [50_000, 0]
    assert 1 in lists[0] and 0 in lists[1]
    for particle in (0, 7, 49_999):
        near = np.flatnonzero(np.linalg.norm(coordinates - coordinates[particle], axis=1) <= 3.0)
        np.testing.assert_array_equal(lists[particle], near[near != particle])
    assert lists[0].dtype == np.int32
    assert neighbour_lists(np.zeros((0, 3)), 3.0) == []
    flung_apart = np.array([[0.0, 0.0, 0.0], [1e30, 0.0, -1e200], [1.0, 0.0, 0.0]])
    assert [each.tolist() for each in neighbour_lists(flung_apart, 3.0)] == [[2], [], [0]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read saved.xyz: No such file or directory; use a file that the driver saved"),
        (b"\x7fELF\xd0\xd0", "saved.xyz must be an extended XYZ file, got one that is not text; use a file"),
        (b"", "saved.xyz must be an extended XYZ file, got something else ("),
        (b"units metal\n", "saved.xyz must be an extended XYZ file, got something else ("),
        (
            b"2\nProperties=species:S:1:pos:R:3\nSi 0 0 0\nuser01 0 0 1\n",
            "saved.xyz must have symbols of elements as species, as the driver's models have, got 'user01'; use a file",
        ),
        (
            b"1\nProperties=species:Q:1:pos:R:3\nSi 0 0 0\n",
            "saved.xyz must be an extended XYZ file, got something else (",
        ),
        (
            b"0\nProperties=species:S:1:pos:R:3:contributing:I:1:species_code:I:1\n",
            "saved.xyz must have particles, got none; use a file",
        ),
        (b"1\n\nSi 0 0 0\n", "saved.xyz must have the column `contributing`: what the simulator gave to KIM; use"),
        (
            b"1\nProperties=species:S:1:pos:R:3:contributing:I:1\nSi 0 0 0 1\n",
            "saved.xyz must have the column `species_code`",
        ),
        (
            b"1\nProperties=species:S:1:pos:R:3:contributing:I:1:species_code:I:1 model=Other\nFe 0 0 0 1 0\n",
            f"the model {tiny.RAW} must have all species of the configuration, but lacks Fe; replay it with the model "
            "that failed (Other)",
        ),
    ],
)
def test_wrong_file(collection: KimCollection, own_folder: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (own_folder / "saved.xyz").write_bytes(content)
    done = replay(collection, "saved.xyz", tiny.RAW)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert message in line


def test_model_that_is_not_installed(collection: KimCollection, own_folder: Path) -> None:
    (own_folder / "saved.xyz").write_text(
        "1\nProperties=species:S:1:pos:R:3:contributing:I:1:species_code:I:1\nSi 0 0 0 1 0\n"
    )
    done = replay(collection, "saved.xyz", "Not_There")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: KIM cannot create the model Not_There: ")
    assert line.endswith("see whether it is installed: kim-api-collections-management list")


def test_environment_without_kimpy(collection: KimCollection, own_folder: Path) -> None:
    (own_folder / "hidden").mkdir()
    kimpy = own_folder / "hidden" / "kimpy.py"
    kimpy.write_text("raise ModuleNotFoundError(\"No module named 'kimpy'\", name='kimpy')\n")
    done = replay(collection, "saved.xyz", tiny.RAW, PYTHONPATH=os.fspath(kimpy.parent))
    assert done.returncode == 1
    assert done.stderr == (
        f"Error: kim-torchml replay needs kimpy; install what is missing: {sys.executable} -m pip install "
        "'kimpy>=2.1'\n"
    )
    kimpy.write_text("raise ImportError('libkim-api.so.2: cannot open shared object file')\n")
    done = replay(collection, "saved.xyz", tiny.RAW, PYTHONPATH=os.fspath(kimpy.parent))
    assert done.returncode == 1
    assert done.stderr == (
        f"Error: kim-torchml replay needs kimpy, which is there but cannot be imported by {sys.executable} "
        "(ImportError: libkim-api.so.2: cannot open shared object file); `kim-torchml doctor` says what to do\n"
    )
