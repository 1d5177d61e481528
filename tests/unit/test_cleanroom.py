# SPDX-License-Identifier: LGPL-2.1-or-later
"""docker/cleanroom.sh removes nothing but rooms that it made, with nothing mounted in them."""

import os
import subprocess
from pathlib import Path

import pytest
from small_room import CLEANROOM, MARKER

PRIVATE = ("unshare", "--mount", "--propagation", "private", "--")


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """Return a folder with a file in it, in place of a room."""
    folder = tmp_path.resolve() / "room"
    (folder / "root" / "mnt").mkdir(parents=True)
    (folder / "root" / "file").touch()
    (folder / MARKER).touch()
    return folder


def remove(room: Path | str, *before: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Try to remove a room."""
    command = [*before, "bash", str(CLEANROOM), "--remove", str(room)]
    return subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=False)


@pytest.fixture
def mounts_are_known() -> None:
    """Skip where the root folder is no mount point, as in a mere chroot: a room is left alone there."""
    if not any(line.split()[4] == "/" for line in Path("/proc/self/mountinfo").read_text().splitlines()):
        pytest.skip("/proc/self/mountinfo does not tell what is mounted here")


@pytest.mark.usefixtures("mounts_are_known")
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
    """/proc/self/mountinfo writes blanks in another way, so what is mounted at such a path would not be found."""
    room = room.rename(room.with_name("a room"))
    done = remove(room)
    assert done.returncode == 1
    assert (room / "root" / "file").exists()


def stand_in(folder: Path, name: str, code: str) -> dict[str, str]:
    """Put a program of that name before the machine's own."""
    folder.mkdir()
    (folder / name).write_text(f"#!/bin/sh\n{code}\n")
    (folder / name).chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def test_room_is_left_alone_where_mounts_are_unknown(room: Path, tmp_path: Path) -> None:
    done = remove(room, **stand_in(tmp_path / "bin", "awk", "exit 1"))
    assert done.returncode == 1
    assert "does not tell what is mounted in" in done.stderr
    assert (room / "root" / "file").exists()


@pytest.mark.usefixtures("mounts_are_known")
def test_room_is_removed_without_findmnt(room: Path, tmp_path: Path) -> None:
    """Not every machine has it."""
    done = remove(room, **stand_in(tmp_path / "bin", "findmnt", "exit 127"))
    assert done.returncode == 0, done.stderr
    assert not room.exists()


@pytest.mark.usefixtures("mounts_are_known")
def test_failed_removal_is_a_failure(room: Path, tmp_path: Path) -> None:
    done = remove(room, **stand_in(tmp_path / "bin", "rm", "exit 1"))
    assert done.returncode == 1
    assert f"not all of {room} could be removed" in done.stderr


@pytest.fixture
def precious(room: Path) -> Path:
    """Return a folder of the host, or skip the test where nothing can be mounted."""
    if os.getuid() != 0:
        pytest.skip("mounting takes root")
    folder = room.parent / "precious"
    folder.mkdir()
    (folder / "data").touch()
    trial = [*PRIVATE, "mount", "--bind", str(folder), str(folder)]
    if subprocess.run(trial, capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine does not let root mount in a namespace of its own")
    return folder


@pytest.mark.parametrize("place", ["root/mnt", "."])
def test_room_with_something_mounted_is_left_alone(room: Path, precious: Path, place: str) -> None:
    """A folder of the host is mounted in the room, or on it: removing the room would empty that folder."""
    (precious / MARKER).touch()
    bind = f'mount --bind {precious} {room / place} && exec "$@"'
    done = remove(room, *PRIVATE, "sh", "-c", bind, "sh")
    assert done.returncode == 1
    assert f"something is mounted in {room}, or runs there, so it is left alone: {room / place}" in done.stderr
    assert (precious / "data").exists()
    assert (room / "root" / "file").exists()


def test_room_that_is_mounted_on_itself_is_left_alone(room: Path, precious: Path) -> None:
    done = remove(room, *PRIVATE, "sh", "-c", f'mount --bind {room} {room} && exec "$@"', "sh")
    assert done.returncode == 1
    assert "something is mounted in" in done.stderr
    assert (room / "root" / "file").exists()


@pytest.mark.parametrize(
    "mount",
    [
        "mount -t tmpfs none {room}/root/mnt",
        # A process in a room does this: the room is its root, so that its mounts do not show the room's path.
        "mount --bind {room}/root {room}/root && cd {room}/root && {{ pivot_root . . || exit 1; }}",
        "mount --bind {room}/root/mnt {precious}",
    ],
)
def test_room_in_use_is_left_alone(room: Path, precious: Path, mount: str) -> None:
    """A process in a mount namespace of its own has something mounted in the room, or the room mounted elsewhere."""
    code = f"{mount.format(room=room, precious=precious)} && echo ready && read -r _"
    with subprocess.Popen(
        [*PRIVATE, "sh", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        done = remove(room)
        process.stdin.close()
    assert done.returncode == 1
    assert f"something is mounted in {room}, or runs there" in done.stderr
    assert (room / "root" / "file").exists()
    assert remove(room).returncode == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--suite", "etch"],
            "--suite must be one of bookworm trixie forky testing sid unstable, got etch",
        ),
        (["--package", "--purge"], "--package must be the name of a package of Debian, got --purge"),
        (
            ["--image", "--package", "hello"],
            "--package cannot be used with --image: the Dockerfile's steps install all",
        ),
    ],
)
def test_wrong_options_are_told_in_one_sentence(options: list[str], message: str) -> None:
    command = ["bash", str(CLEANROOM), *options, "--", "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, f"[cleanroom] error: {message}\n")


HOST_SOURCES = """\
Debian trixie http://mirror/debian/ main
Debian trixie-updates http://mirror/debian/ main
Debian trixie-security http://mirror/debian-security/ main
Other trixie http://other/ main
"""


@pytest.mark.parametrize(
    ("suite", "expected"),
    [
        (
            "bookworm",
            [
                "deb http://mirror/debian-security/ bookworm-security main",
                "deb http://mirror/debian/ bookworm main",
                "deb http://mirror/debian/ bookworm-updates main",
            ],
        ),
        ("testing", ["deb http://mirror/debian/ testing main"]),
    ],
)
def test_mirrors_are_the_host_s(suite: str, expected: list[str], tmp_path: Path) -> None:
    """A suite that has not been released has no updates beside it."""
    machine = CLEANROOM.with_name("cleanroom_machine.sh")
    variables = stand_in(tmp_path / "bin", "apt-get", f"cat <<'END'\n{HOST_SOURCES}END")
    done = subprocess.run(
        ["bash", "-c", f"source {machine}; host_sources {suite}; mirror {suite}"],
        env=os.environ | variables | {"KIM_TORCHML_DEBIAN_MIRROR": "", "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [*expected, "http://mirror/debian/"]


def test_options_are_explained_where_they_are_wrong() -> None:
    done = subprocess.run(["bash", str(CLEANROOM), "--no-such-option"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--user" in done.stderr
