# SPDX-License-Identifier: LGPL-2.1-or-later
import os
import shlex
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
from fake_machine import only, refuse_to_write, script

from kim_torchml.tools.doctor import Status
from kim_torchml.tools.doctor.check_build_tools import check_build_programs, check_python_headers
from kim_torchml.tools.doctor.check_kim_api import (
    OWN_CONFIGURATION,
    check_kim_configuration,
    check_kim_tools,
    check_user_collection,
)
from kim_torchml.tools.doctor.check_temporary_folders import check_temporary_folders


def test_no_tools_on_path(fake):
    finding = only(check_kim_tools(fake.machine()))
    assert finding.status is Status.PROBLEM
    assert finding.found == "there is no kim-api-collections-management on PATH"
    assert finding.commands[0].startswith("sudo apt-get install libkim-api-dev")
    assert only(check_kim_configuration(fake.machine())).status is Status.SKIPPED
    assert only(check_user_collection(fake.machine())).status is Status.SKIPPED


def test_tools_are_not_complete(fake):
    fake.add_kim_api(with_tool=False)
    finding = only(check_kim_tools(fake.machine()))
    assert finding.status is Status.PROBLEM
    assert "the installation is damaged" in finding.found
    assert "libexec/kim-api/kim-api-collections-info, which is not there" in finding.found
    assert fake.machine().kim_api is None


@pytest.mark.parametrize(
    ("version", "status"), [("2.1.3", "problem"), ("2.2.0", "ok"), ("2.10.0", "ok"), ("3.0", "ok")]
)
def test_version(fake, version, status):
    fake.add_kim_api(version=f"{version}-git+GNU")
    finding = only(check_kim_tools(fake.machine()))
    assert finding.status.value == status
    assert f"version {version}" in finding.found
    assert ("too old: 2.2 or newer is needed" in finding.found) == (status == "problem")


def test_tool_that_fails(fake):
    fake.add_kim_api()
    script(fake.folder / "libexec/kim-api/kim-api-collections-info", "echo no such luck >&2", "exit 3")
    finding = only(check_kim_tools(fake.machine()))
    assert finding.status is Status.PROBLEM
    assert "does not tell its version: it ended with exit code 3: no such luck" in finding.found


def test_configuration_that_kim_cannot_read(fake):
    fake.add_kim_api(config_file_model_drivers="", config_file_portable_models="")
    finding = only(check_kim_configuration(fake.machine()))
    assert finding.status is Status.PROBLEM
    assert f"KIM cannot read its configuration file '{fake.folder}/config'" in finding.found
    assert finding.commands[0] == f"mv {fake.folder}/config {fake.folder}/config.broken"
    assert fake.machine().collections is None
    # What a variable names may be anything: it stays where it is.
    fake.environment["KIM_API_CONFIGURATION_FILE"] = str(fake.folder)
    finding = only(check_kim_configuration(fake.machine()))
    assert f"KIM cannot read its configuration file '{fake.folder}'" in finding.found
    assert finding.commands == ("unset KIM_API_CONFIGURATION_FILE",)


def test_configuration_that_kim_cannot_write(fake):
    """As where the home folder is read-only. What is printed makes one that will do."""
    fake.add_kim_api(config_file_name="/nonexistent/.kim-api/config")
    finding = only(check_kim_configuration(fake.machine()))
    assert finding.status is Status.PROBLEM
    assert finding.found == "KIM cannot write its configuration file, '/nonexistent/.kim-api/config'"
    assert fake.machine().collections is None
    (fake.folder / "mine").mkdir()
    script = "; ".join((*finding.commands, 'echo "$KIM_API_CONFIGURATION_FILE"'))
    done = subprocess.run(["sh", "-c", script], cwd=fake.folder / "mine", capture_output=True, text=True, check=True)
    folder = fake.folder / "mine" / "kim"
    assert done.stdout == f"{folder}/configuration\n"
    kinds = ("model-drivers", "portable-models", "simulator-models")
    assert (folder / "configuration").read_text() == "".join(f"{kind}-dir = {folder}/{kind}\n" for kind in kinds)
    assert all((folder / kind).is_dir() for kind in kinds)


def test_configuration_of_a_fresh_account(fake):
    """KIM tells the file's name without writing it; it writes it when it is asked for folders."""
    fake.add_kim_api()
    tool = fake.folder / "libexec/kim-api/kim-api-collections-info"
    lines = tool.read_text().splitlines()[1:]
    file = fake.folder / "config"
    file.unlink()
    script(tool, f'case "$*" in "config_file model_drivers") echo >{file};; esac', *lines)
    finding = only(check_kim_configuration(fake.machine()))
    assert finding.found == str(file)
    assert finding.status is Status.OK


def test_configuration_that_is_not_there_is_not_written(fake):
    fake.add_kim_api()
    touches = script(fake.folder / "libexec/kim-api/kim-api-collections-info", f"touch {fake.folder}/mistyped")
    assert touches.exists()
    fake.environment["KIM_API_CONFIGURATION_FILE"] = f"{fake.folder}/mistyped"
    finding = only(check_kim_configuration(fake.machine()))
    assert finding.status is Status.PROBLEM
    assert f"KIM_API_CONFIGURATION_FILE names '{fake.folder}/mistyped', which is not there" in finding.found
    assert finding.commands == ("unset KIM_API_CONFIGURATION_FILE",)
    assert only(check_user_collection(fake.machine())).status is Status.SKIPPED
    assert not (fake.folder / "mistyped").exists()


def test_sound_configuration_and_folders(fake):
    fake.add_kim_api()
    assert only(check_kim_configuration(fake.machine())).status is Status.OK
    assert [finding.status for finding in check_user_collection(fake.machine())] == [Status.OK, Status.OK]


def test_collection_folder_is_missing(fake):
    missing = fake.folder / "not" / "yet"
    fake.add_kim_api(config_file_model_drivers=f"{missing}:/usr")
    finding = check_user_collection(fake.machine())[0]
    assert finding.status is Status.PROBLEM
    assert f"'{missing}', named in {fake.folder}/config, is not a folder" in finding.found
    assert finding.commands == (f"mkdir -p {missing}",)


def test_collection_folder_that_cannot_be_made(fake, monkeypatch):
    (fake.folder / "file").touch()
    fake.add_kim_api(config_file_portable_models=f"{fake.folder}/file/models")
    finding = check_user_collection(fake.machine())[1]
    assert finding.found.endswith("is not a folder, nor can it be made")
    assert finding.commands == (
        "mkdir -p ~/kim-portable-models",
        "kim-api-collections-management set-user-portable-models-dir ~/kim-portable-models",
    )
    refuse_to_write(monkeypatch, str(fake.folder / "config"))
    assert check_user_collection(fake.machine())[1].commands == OWN_CONFIGURATION


def test_collection_folder_is_read_only(fake, monkeypatch):
    fake.add_kim_api()
    folder = fake.folder / "portable_models"
    refuse_to_write(monkeypatch, folder)
    drivers, models = check_user_collection(fake.machine())
    assert drivers.status is Status.OK
    assert models.status is Status.PROBLEM
    assert models.found == f"'{folder}' cannot be written"
    assert models.commands[0] == f"chmod u+rwx {folder}"
    assert models.commands[2].startswith("kim-api-collections-management set-user-portable-models-dir ")
    # Of another user, or on a file system mounted read-only.
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    assert check_user_collection(fake.machine())[1].commands == models.commands[1:]


def test_paths_in_commands_are_words_of_a_shell(fake, monkeypatch):
    home = fake.folder / "o'brien"
    home.mkdir()
    file, missing = home / "config", home / "missing"
    file.touch()
    fake.add_kim_api(
        config_file_name=str(file), config_file_model_drivers=str(missing), config_file_portable_models=str(home)
    )
    make = first_words(check_user_collection(fake.machine())[0])
    assert make == ["mkdir", "-p", str(missing)]
    refuse_to_write(monkeypatch, home)
    assert first_words(check_user_collection(fake.machine())[1]) == ["chmod", "u+rwx", str(home)]
    fake.environment["TMPDIR"] = str(missing)
    assert first_words(check_temporary_folders(fake.machine())[0]) == ["mkdir", "-p", str(missing)]
    fake.environment["TMPDIR"] = str(home)
    pretend_file_system(monkeypatch, free=3 * 1024**2)
    assert first_words(check_temporary_folders(fake.machine())[0])[:3] == ["du", "-xsh", f"{home}/*"]
    fake.add_kim_api(config_file_name=str(file), config_file_model_drivers="")
    assert first_words(only(check_kim_configuration(fake.machine()))) == ["mv", str(file), f"{file}.broken"]


@pytest.mark.parametrize("kind", ["model-drivers", "portable-models"])
def test_collection_in_a_folder_with_a_blank(fake, kind):
    """KIM reads the path up to the blank."""
    fake.add_kim_api(**{f"config_file_{kind.replace('-', '_')}": "/home/with"})
    (fake.folder / "config").write_text(f"{kind}-dir = /home/with blank/items\n\nwith path\n   /a b\n")
    finding = only(check_kim_configuration(fake.machine()))
    assert finding.status is Status.PROBLEM
    assert finding.found == (
        f"'{fake.folder}/config' names '/home/with blank/items' for {kind.replace('-', ' ')}, but KIM takes no blanks "
        "there: it cuts off what follows"
    )
    assert finding.advice == "Make one of your own, in a folder without blanks in its path:"
    assert finding.commands == OWN_CONFIGURATION
    cut = [finding for finding in check_user_collection(fake.machine()) if finding.status is not Status.OK]
    assert (only(cut).name, only(cut).found) == (f"user {kind.replace('-', ' ')}", "needs a path without blanks")


def first_words(finding):
    """The words of the first command."""
    return shlex.split(finding.commands[0])


def pretend_file_system(monkeypatch, flag=0, free=2**40):
    facts = SimpleNamespace(f_flag=flag, f_bavail=free, f_frsize=1)
    monkeypatch.setattr(os, "statvfs", lambda path: facts)


def test_collection_folder_is_noexec(fake, monkeypatch):
    fake.add_kim_api()
    pretend_file_system(monkeypatch, flag=os.ST_NOEXEC)
    for finding in check_user_collection(fake.machine()):
        assert finding.status is Status.PROBLEM
        assert "on a file system mounted noexec: nothing that is installed there can be loaded" in finding.found


def test_temporary_folder_is_noexec(fake, monkeypatch):
    pretend_file_system(monkeypatch, flag=os.ST_NOEXEC)
    finding = only(check_temporary_folders(fake.machine()))
    assert finding.status is Status.PROBLEM
    assert "'/tmp' is mounted noexec, so installing fails in KIM's own test" in finding.found
    assert finding.commands == ("mkdir -p ~/kim-build", "export TMPDIR=~/kim-build")


def test_noexec_matters_only_where_things_are_built(fake, monkeypatch):
    """With a TMPDIR, /tmp only holds models' files while they are created."""
    fake.environment["TMPDIR"] = str(fake.folder)
    pretend_file_system(monkeypatch, flag=os.ST_NOEXEC)
    chosen, system = check_temporary_folders(fake.machine())
    assert (chosen.name, chosen.status) == ("TMPDIR", Status.PROBLEM)
    assert system.status is Status.OK


def test_temporary_folder_is_nearly_full(fake, monkeypatch):
    pretend_file_system(monkeypatch, free=3 * 1024**2)
    finding = only(check_temporary_folders(fake.machine()))
    assert finding.status is Status.WARNING
    assert "'/tmp' has only 3 MB left" in finding.found
    assert finding.commands == ("du -xsh /tmp/* | sort -h",)


def test_temporary_folder_that_is_a_file(fake):
    (fake.folder / "file").touch()
    fake.environment["TMPDIR"] = f"{fake.folder}/file"
    finding = check_temporary_folders(fake.machine())[0]
    assert f"'{fake.folder}/file' is not a folder" in finding.found
    assert finding.commands == ("mkdir -p ~/kim-build", "export TMPDIR=~/kim-build")


def test_temporary_folder_that_is_not_there(fake):
    fake.environment["TMPDIR"] = f"{fake.folder}/gone"
    finding = check_temporary_folders(fake.machine())[0]
    assert finding.status is Status.PROBLEM
    assert f"'{fake.folder}/gone' is not a folder; KIM builds what it installs there" in finding.found
    assert finding.commands[0] == f"mkdir -p {fake.folder}/gone"


_IN_NAMESPACE = """
import sys
from kim_torchml.tools.doctor import Machine
from kim_torchml.tools.doctor.check_temporary_folders import check_temporary_folders
print(check_temporary_folders(Machine({"PATH": "", "TMPDIR": sys.argv[1]}))[0])
"""


@pytest.mark.parametrize(
    ("options", "fill", "message"),
    [
        ("noexec,size=300m", 0, "is mounted noexec, so installing fails in KIM's own test"),
        ("size=64k", 64, "cannot be written (No space left on device; 0 MB free); KIM builds what it installs there"),
        ("ro,size=300m", 0, "cannot be written (Read-only file system"),
    ],
)
def test_real_mounts(fake, options, fill, message):
    """In a mount namespace of the test's own: nothing of it is seen outside."""
    if (
        shutil.which("unshare") is None
        or subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode
    ):
        pytest.skip("this user may not make mount namespaces (unshare --mount)")
    folder = fake.folder / "mounted"
    folder.mkdir()
    commands = (
        f"mount -t tmpfs -o {options} none {folder} && head -c {fill}K /dev/zero >{folder}/fill; "
        f"exec {sys.executable} -c '{_IN_NAMESPACE}' {folder}"
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", commands],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Status.PROBLEM" in done.stdout
    assert message in done.stdout
    assert "export TMPDIR=~/kim-build" in done.stdout


def test_build_tools(fake):
    for name in ("cmake", "g++", "curl"):
        script(fake.bin / name)
    finding = only(check_build_programs(fake.machine()))
    assert finding.status is Status.PROBLEM
    assert "not on PATH: make; nothing can be installed without" in finding.found
    assert finding.commands == ("sudo apt-get install make   # Debian, Ubuntu",)
    script(fake.bin / "make")
    assert only(check_build_programs(fake.machine())).status is Status.OK


def test_headers_of_python(fake):
    answer = '{"version": "3.12.1", "include": "/nonexistent/include", "packages": {}, '
    answer += '"pip": true, "ensurepip": true, "managed": false}'
    fake.environment["KIM_TORCHML_PYTHON"] = str(script(fake.bin / "python3", f"echo '{answer}'"))
    finding = only(check_python_headers(fake.machine()))
    assert finding.status is Status.PROBLEM
    assert "Python.h is not in /nonexistent/include" in finding.found
    assert finding.commands == ("sudo apt-get install python3.12-dev   # Debian, Ubuntu",)
