# SPDX-License-Identifier: LGPL-2.1-or-later
"""docker/cleanroom.sh removes nothing but rooms that it made, with nothing mounted in them."""

import os
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
CLEANROOM = REPOSITORY / "docker" / "cleanroom.sh"
MARKER = ".kim-torchml-cleanroom"


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """A folder with a file in it, in place of a room."""
    folder = tmp_path.resolve() / "room"
    (folder / "root" / "mnt").mkdir(parents=True)
    (folder / "root" / "file").touch()
    (folder / MARKER).touch()
    return folder


def remove(room: Path | str, *before: str) -> subprocess.CompletedProcess[str]:
    """Try to remove a room."""
    command = [*before, "bash", str(CLEANROOM), "--remove", str(room)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_room_is_removed(room: Path) -> None:
    done = remove(room)
    assert done.returncode == 0, done.stderr
    assert not room.exists()


def test_folder_without_the_marker_is_left_alone(room: Path) -> None:
    (room / MARKER).unlink()
    done = remove(room)
    assert done.returncode == 1
    assert "it is not a clean room, and is left alone" in done.stderr
    assert (room / "root" / "file").exists()


def test_path_through_a_link_is_left_alone(room: Path) -> None:
    link = room.parent / "link"
    link.symlink_to(room)
    done = remove(link)
    assert done.returncode == 1
    assert "must be a plain absolute path, without links" in done.stderr
    assert (room / "root" / "file").exists()


def test_path_with_a_blank_is_left_alone(room: Path) -> None:
    """/proc/self/mountinfo writes blanks in another way: what is mounted there would not be found."""
    room = room.rename(room.with_name("a room"))
    done = remove(room)
    assert done.returncode == 1
    assert (room / "root" / "file").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="mounting takes root")
def test_room_with_something_mounted_is_left_alone(room: Path) -> None:
    """Here a folder of the host, bound into the room: a removal would have emptied it."""
    precious = room.parent / "precious"
    precious.mkdir()
    (precious / "data").touch()
    bind = f'mount --bind {precious} {room}/root/mnt && exec "$@"'
    private = ("unshare", "--mount", "--propagation", "private", "--")
    if (
        subprocess.run([*private, "mount", "--bind", precious, precious], capture_output=True, check=False).returncode
        != 0
    ):
        pytest.skip("this machine does not let root mount in a namespace of its own")
    done = remove(room, *private, "sh", "-c", bind, "sh")
    assert done.returncode == 1
    assert f"something is mounted in {room}" in done.stderr
    assert (precious / "data").exists()
    assert (room / "root" / "file").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="mounting takes root")
def test_room_in_use_is_left_alone(room: Path) -> None:
    """A process in a mount namespace of its own still has something mounted there."""
    private = ("unshare", "--mount", "--propagation", "private", "--")
    mount = f"mount -t tmpfs none {room}/root/mnt && echo ready && exec cat"
    with subprocess.Popen(
        [*private, "sh", "-c", mount], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            pytest.skip("this machine does not let root mount in a namespace of its own")
        done = remove(room)
        process.stdin.close()
    assert done.returncode == 1
    assert "a process still has mounts in" in done.stderr
    assert (room / "root" / "file").exists()
    assert remove(room).returncode == 0


def test_options_are_explained_where_they_are_wrong() -> None:
    done = subprocess.run(["bash", str(CLEANROOM), "--no-such-option"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--user" in done.stderr
