# SPDX-License-Identifier: LGPL-2.1-or-later
"""What runs in a clean room sees the room alone, and however it ends, nothing is left. The rooms are small ones."""

import fcntl
import os
import pty
import re
import shutil
import signal
import subprocess
import termios
import time
from pathlib import Path

import pytest
from small_room import CLEANROOM, make_small_room


@pytest.fixture(scope="module")
def obstacle() -> str:
    """Return why nothing can be run in a room here, or an empty string."""
    code = f"source {CLEANROOM.with_name('cleanroom_machine.sh')}; obstacle_to_running"
    return subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(autouse=True)
def possible(obstacle: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip where no room can be used, and name no wheels to pip, because they would take a while to copy."""
    if obstacle:
        pytest.skip(f"no clean room can be used here: {obstacle}")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """Return a room that has been used before."""
    return make_small_room(tmp_path.resolve() / "room")


def clean_room(
    *arguments: str | Path, files: tuple[int, ...] = (), **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run docker/cleanroom.sh, which inherits these open files."""
    command = ["bash", CLEANROOM, *arguments]
    return subprocess.run(
        command, env=os.environ | variables, pass_fds=files, capture_output=True, text=True, check=False
    )


# This code leaves a mere chroot: from a folder outside of a second chroot, `..` leads up to the host's root.
ESCAPE = """
    mkdir "/second"; chroot "/second" or die; chdir ".." for 1 .. 99; chroot "." or die;
    exit(-e "SECRET" ? 1 : 0);
"""


def test_host_is_out_of_reach(room: Path, tmp_path: Path) -> None:
    """Nothing leads there: not the first process, which is the room's own, an open file, a second root or a mount."""
    secret = tmp_path.resolve() / "secret"
    secret.write_text("the host's")
    code = f"""
        for file in /proc/1/root{secret} /proc/1/cwd{secret} /../../..{secret}; do cat "$file" && exit 1; done
        perl -e '{ESCAPE.replace("SECRET", str(secret))}' || exit 1
        mount -t tmpfs none /etc && exit 1
        cat /proc/sys/kernel/sysrq >/proc/sys/kernel/sysrq && exit 1
        ls /proc/1/fd
        while read -r _ _ _ source target _; do echo "mount $source $target"; done </proc/self/mountinfo
    """
    folder = os.open("/", os.O_RDONLY)
    done = clean_room("--room", room, "--", "bash", "-c", code, files=(folder,))
    os.close(folder)
    assert done.returncode == 0, done.stderr
    mounts = dict(reversed(line.split()[1:]) for line in done.stdout.splitlines() if line.startswith("mount "))
    assert mounts.pop("/").endswith("/room/root")
    assert mounts == dict.fromkeys(("/proc", "/sys", "/dev", "/dev/pts", "/dev/shm", "/mnt"), "/")
    # The last one is the script that bash reads.
    assert re.findall(r"^\d+$", done.stdout, re.MULTILINE) == ["0", "1", "2", "255"]


def test_nothing_is_typed_into_the_terminal(room: Path) -> None:
    """The host's shell would run what a program pushes into its terminal (TIOCSTI, where the kernel allows it)."""
    primary, secondary = pty.openpty()
    code = "my $key = q(x); exit(ioctl(STDIN, 0x5412, $key) ? 1 : 0);"
    done = subprocess.run(
        ["bash", CLEANROOM, "--room", room, "--", "perl", "-e", code],
        stdin=secondary,
        capture_output=True,
        check=False,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(primary)
    os.close(secondary)
    assert done.returncode == 0, done.stderr


def test_room_is_kept_and_used_again(room: Path) -> None:
    assert clean_room("--room", room, "--", "touch", "/file").returncode == 0
    done = clean_room("--room", room, "--", "ls", "/file")
    assert done.returncode == 0, done.stderr
    assert f"kept: {room}" in done.stdout


def test_room_of_an_image_is_used_again_as_a_container(room: Path) -> None:
    """It has the Dockerfile's variables, working folder, user and entry point; no step is run again."""
    for folder in ("workdir", "opt/kim-torchml/docker"):
        (room / "root" / folder).mkdir(parents=True)
    shutil.copy(CLEANROOM.with_name("entrypoint.sh"), room / "root/opt/kim-torchml/docker")
    code = "echo $VIRTUAL_ENV $PWD $UID"
    done = clean_room("--room", room, "--image", "--", "bash", "-c", code)
    assert done.returncode == 0, done.stderr
    assert "/opt/environment /workdir 1001\n" in done.stdout


@pytest.mark.parametrize("name", ["", "dev", "mnt", "proc", "sys"])
def test_link_in_the_place_of_a_folder_is_refused(room: Path, tmp_path: Path, name: str) -> None:
    """A program that was root in the room may have left the link."""
    precious = tmp_path.resolve() / "precious"
    place = room / "root" / name
    place.rename(precious)
    before = sorted(precious.iterdir())
    place.symlink_to(precious)
    done = clean_room("--room", room, "--", "true")
    assert done.returncode == 1
    assert f"{place} must be a folder, as in the room that was made, and is not (a link?)" in done.stderr
    assert sorted(precious.iterdir()) == before


@pytest.mark.parametrize("name", ["etc/resolv.conf", "etc/hosts"])
def test_link_in_the_place_of_a_file_is_replaced(room: Path, tmp_path: Path, name: str) -> None:
    precious = tmp_path.resolve() / "precious"
    precious.write_text("the host's")
    (room / "root" / name).symlink_to(precious)
    done = clean_room("--room", room, "--", "cat", f"/{name}")
    assert done.returncode == 0, done.stderr
    assert precious.read_text() == "the host's"
    assert not (room / "root" / name).is_symlink()


@pytest.mark.parametrize("name", ["etc", "root"])
def test_link_in_the_place_of_another_folder_leads_into_the_room(room: Path, tmp_path: Path, name: str) -> None:
    """The link's target is not in the room, so nothing is written there."""
    precious = tmp_path.resolve() / "precious"
    (room / "root" / name).rename(precious)
    (room / "root" / name).symlink_to(precious)
    assert clean_room("--room", room, "--", "true").returncode != 0
    assert list(precious.iterdir()) == []


def test_packages_are_installed_before_the_command(room: Path) -> None:
    """The room's own apt-get is called, by the names that were given."""
    program = room / "root/usr/bin/apt-get"
    program.write_text('#!/bin/bash\necho "$@" >>/calls\n')
    program.chmod(0o755)
    done = clean_room("--room", room, "--package", "hello", "--package", "python3-torch", "--", "cat", "/calls")
    assert done.returncode == 0, done.stderr
    assert "update -q\ninstall -q -y --no-install-recommends hello python3-torch\n" in done.stdout


def test_packages_that_cannot_be_installed(room: Path) -> None:
    program = room / "root/usr/bin/apt-get"
    program.write_text("#!/bin/bash\necho E: Unable to locate package hello\nexit 100\n")
    program.chmod(0o755)
    done = clean_room("--room", room, "--package", "hello", "--", "touch", "/file")
    assert done.returncode == 1
    assert "E: Unable to locate package hello" in done.stderr
    assert not (room / "root/file").exists()


@pytest.mark.parametrize(("value", "count"), [("1", 1), ("", 0)])
def test_apt_takes_old_lists_of_a_snapshot(room: Path, value: str, count: int, tmp_path: Path) -> None:
    path = path_with(tmp_path / "bin", "apt-config", "echo 'Acquire::Retries \"3\";'")
    variables = {"PATH": path, "KIM_TORCHML_DEBIAN_SNAPSHOT": value}
    done = clean_room("--room", room, "--", "cat", "/mnt/host/apt.conf", **variables)
    assert done.returncode == 0, done.stderr
    assert "Acquire::Retries" in done.stdout
    assert done.stdout.count('Acquire::Check-Valid-Until "false";') == count


@pytest.fixture
def rooms(tmp_path: Path, room: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which rooms are made, each a copy of a small room instead of the empty Debian."""
    folder = tmp_path.resolve() / "rooms"
    folder.mkdir()
    system = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True).stdout.strip()
    for suite in ("bookworm", "trixie"):
        (room / "root" / "etc" / "suite").write_text(suite)
        kept = tmp_path / f"debian-{suite}-{system}.tar"
        subprocess.run(["tar", "-C", room / "root", "-cf", kept, "."], check=True)
    monkeypatch.setenv("KIM_TORCHML_CLEANROOM", str(folder))
    monkeypatch.setenv("KIM_TORCHML_CLEANROOM_CACHE", str(tmp_path))
    if "MB free" in (told := clean_room("--possible").stdout):
        pytest.skip(told)
    return folder


def assert_nothing_is_left(rooms: Path) -> None:
    """Check that no room is left, and nothing mounted in one."""
    assert list(rooms.iterdir()) == []
    assert not [path for path in Path("/proc").glob("[0-9]*/mountinfo") if f"{rooms}/" in mounts_of(path)]


def mounts_of(path: Path) -> str:
    """Return the mounts that a process sees; nothing if it has ended."""
    try:
        return path.read_text()
    except OSError:
        return ""


def test_exit_code_is_the_command_s(rooms: Path) -> None:
    assert clean_room("--", "bash", "-c", "exit 7").returncode == 7
    assert_nothing_is_left(rooms)


@pytest.mark.parametrize(("options", "suite"), [((), "bookworm"), (("--suite", "trixie"), "trixie")])
def test_empty_debian_is_kept_by_suite(rooms: Path, options: tuple[str, ...], suite: str) -> None:
    done = clean_room(*options, "--", "cat", "/etc/suite")
    assert done.returncode == 0, done.stderr
    assert f"\n{suite}\x1b" in done.stdout or f"\n{suite}\n" in done.stdout
    assert_nothing_is_left(rooms)


def test_what_pip_has_compiled_is_kept_for_later_rooms(rooms: Path, tmp_path: Path) -> None:
    """It is taken from pip's cache in the room, unless the command fails, and pip is told of it in the next room."""
    make = 'mkdir -p /root/.cache/pip/wheels/ab && touch /root/.cache/pip/wheels/ab/"$1".whl && exit "$2"'
    assert clean_room("--", "bash", "-c", make, "bash", "broken-1", "1").returncode == 1
    assert clean_room("--", "bash", "-c", make, "bash", "kimpy-1", "0").returncode == 0
    assert [path.name for path in (tmp_path / "wheels").iterdir()] == ["kimpy-1.whl"]
    done = clean_room("--", "bash", "-c", 'cat "$PIP_CONFIG_FILE"; ls /mnt/host/wheels0')
    assert done.returncode == 0, done.stderr
    assert "find-links = /mnt/host/wheels0\n" in done.stdout
    assert "kimpy-1.whl\n" in done.stdout
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("wheels")] == ["wheels"]
    assert_nothing_is_left(rooms)


def path_with(folder: Path, name: str, code: str) -> str:
    """Return a PATH on which a script with this code comes before the machine's own program of that name."""
    folder.mkdir()
    (folder / name).write_text(f"#!/bin/sh\n{code}\n")
    (folder / name).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.mark.parametrize(("status", "expected"), [(0, 1), (7, 7)])
def test_room_that_cannot_be_removed_is_named(rooms: Path, tmp_path: Path, status: int, expected: int) -> None:
    path = path_with(tmp_path / "bin", "rm", "exit 1")
    done = clean_room("--", "bash", "-c", f"exit {status}", PATH=path)
    assert done.returncode == expected
    (left,) = rooms.iterdir()
    assert f"the room is still there: {left}" in done.stdout
    assert clean_room("--remove", left).returncode == 0


def end(*, after: float | None, number: signal.Signals) -> int:
    """Send a signal to a run, after so many seconds or else once its command runs; return the exit code."""
    command = ["bash", str(CLEANROOM), "--", "bash", "-c", "echo ready; sleep 60"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        if after is None:
            assert any(line == "ready\n" for line in process.stdout)
        else:
            time.sleep(after)
        process.send_signal(number)
        return process.wait(timeout=30)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM], ids=str)
def test_room_is_removed_when_a_signal_ends_the_run(rooms: Path, number: signal.Signals) -> None:
    assert end(after=None, number=number) == 128 + number
    assert_nothing_is_left(rooms)


@pytest.mark.parametrize("after", [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8])
def test_room_is_removed_whenever_the_signal_comes(rooms: Path, after: float) -> None:
    """It may come while the machine is examined, while the room is made, or as the command starts."""
    assert end(after=after, number=signal.SIGTERM) in {-signal.SIGTERM, 128 + signal.SIGTERM}
    assert_nothing_is_left(rooms)


def test_further_signals_do_not_stop_the_removal(rooms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who does not want to wait presses Ctrl-C again."""
    monkeypatch.setenv("PATH", path_with(tmp_path / "bin", "rm", f'sleep 1\nexec {shutil.which("rm")} "$@"'))
    command = ["bash", str(CLEANROOM), "--", "bash", "-c", "echo ready; sleep 60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        assert any(line == "ready\n" for line in process.stdout)
        for _ in range(3):
            os.killpg(process.pid, signal.SIGINT)
            time.sleep(0.3)
        assert process.wait(timeout=30) == 128 + signal.SIGINT
    assert_nothing_is_left(rooms)


def test_folder_that_is_not_there(tmp_path: Path) -> None:
    done = clean_room("--", "true", KIM_TORCHML_CLEANROOM=str(tmp_path / "missing"))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.endswith(
        f"there is no folder {tmp_path / 'missing'} (KIM_TORCHML_CLEANROOM names the one to make rooms in)"
    )


def test_folder_where_rooms_could_not_be_removed(tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    done = clean_room("--", "true", KIM_TORCHML_CLEANROOM=str(tmp_path / "a b"))
    assert done.returncode == 1
    assert "must be of plain letters and digits" in done.stderr
    assert list((tmp_path / "a b").iterdir()) == []


def test_mirror_must_answer(tmp_path: Path) -> None:
    """Nothing answers at port 9 of this machine."""
    settings = {"KIM_TORCHML_CLEANROOM": str(tmp_path), "KIM_TORCHML_CLEANROOM_CACHE": ""}
    done = clean_room("--possible", KIM_TORCHML_DEBIAN_MIRROR="http://127.0.0.1:9/debian", **settings)
    if "MB free" in done.stdout:
        pytest.skip(done.stdout)
    assert done.returncode == 1
    assert "the Debian mirror http://127.0.0.1:9/debian has no answer" in done.stdout
    release = tmp_path / "mirror" / "dists" / "bookworm" / "InRelease"
    release.parent.mkdir(parents=True)
    release.touch()
    settings["KIM_TORCHML_DEBIAN_MIRROR"] = f"{(tmp_path / 'mirror').as_uri()}/"
    done = clean_room("--possible", **settings)
    assert (done.returncode, done.stdout) == (0, "")
    done = clean_room("--possible", "--suite", "trixie", **settings)
    assert done.returncode == 1
    assert "has no answer, or no trixie (KIM_TORCHML_DEBIAN_MIRROR names another)" in done.stdout
