# SPDX-License-Identifier: LGPL-2.1-or-later
"""What all subcommands of `kim-torchml` have in common: examples, and the exit status of misuse."""

import re

import pytest
from click.testing import CliRunner
from model_folders import raw_files, write_folder
from models import Edges1, script_bytes
from saving import contents_of, left_in

from kim_torchml.errors import DriverError
from kim_torchml.tools.cli import main
from kim_torchml.tools.late_progress import LateProgress
from kim_torchml.tools.model_check.check_model import check_model
from kim_torchml.tools.package.upgrade import upgrade_folder

OF_FOLDERS = ["check", "info", "install", "upgrade"]


@pytest.fixture(autouse=True)
def no_kim(monkeypatch):
    """There is no KIM-API: what is asked for is found to be wrong before it is needed."""
    monkeypatch.setenv("PATH", "")


def error_of(*words):
    """Run a command that fails; return its exit status, and its last line on stderr, which begins with "Error: "."""
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert isinstance(result.exception, SystemExit), result.output
    *others, last = result.stderr.splitlines()
    # Click shows how a command is used before it says what is wrong.
    assert all(not line or line.startswith(("Usage: ", "Try ")) for line in others)
    return result.exit_code, last


@pytest.mark.parametrize("name", main.commands)
def test_help_has_an_example(name):
    for option in ("-h", "--help"):
        result = CliRunner().invoke(main, [name, option])
        assert result.exit_code == 0
        _, _, examples = result.output.partition("\n  Example:\n")
        assert re.match(rf"    kim-torchml {name}\b", examples)


@pytest.mark.parametrize("name", main.commands)
def test_an_unknown_option_has_exit_status_2(name):
    code, error = error_of(name, "--no-such-option")
    assert code == 2
    assert re.match(r"Error: No such option:? '?--no-such-option'?", error)


@pytest.mark.parametrize("command", OF_FOLDERS)
def test_a_folder_without_a_model_has_exit_status_2(command, tmp_path):
    (tmp_path / "notes.txt").touch()
    code, error = error_of(command, tmp_path)
    assert code == 2
    assert re.match(
        rf"Error: there is no model in {re.escape(str(tmp_path))}: it has no CMakeLists\.txt.*; name", error
    )


@pytest.mark.parametrize("command", OF_FOLDERS)
def test_a_folder_of_another_project_has_exit_status_2(command, tmp_path):
    (tmp_path / "CMakeLists.txt").write_text("project(Other)\nadd_executable(a a.c)\n")
    code, error = error_of(command, tmp_path)
    assert code == 2
    assert "CMakeLists.txt must define a portable model, got no add_kim_api_model_library(); name the folder" in error


@pytest.mark.parametrize("command", OF_FOLDERS)
def test_a_wrong_model_has_exit_status_1(command, tmp_path):
    folder = write_folder(tmp_path / "model", {"model.toml": b"format = 3\n"})
    code, error = error_of(command, folder)
    assert code == 1
    assert error.startswith("Error: `format` must be 2, got 3 (file model.toml)")


def test_a_taken_folder_has_exit_status_2(tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "train.py").touch()
    (tmp_path / "network.pt").write_bytes(script_bytes(Edges1))
    folder = write_folder(tmp_path / "model", raw_files())
    stated = ["--name", "My_Model", "--kind", "edges", "--species", "Si", "--cutoff", "2.5"]
    message = f"Error: the folder {tmp_path}/taken must be new or empty, got one with files in it; name another folder"
    assert error_of("upgrade", folder, "--output", tmp_path / "taken") == (2, message)
    assert error_of("package", tmp_path / "network.pt", "--output", tmp_path / "taken", *stated) == (
        2,
        f"{message}, or replace the model in it with --replace",
    )
    assert contents_of(tmp_path / "taken") == {"train.py": b""}
    assert left_in(tmp_path) == ["model", "network.pt", "taken"]


def test_in_python_misuse_is_an_error_of_the_driver_too(tmp_path):
    with pytest.raises(DriverError, match=r"^there is no model in .*; name the model's folder$"):
        check_model(tmp_path)
    with pytest.raises(DriverError, match=r"must lie in one that is there, got none; make .*/none first$"):
        upgrade_folder(tmp_path, None, tmp_path / "none" / "new", LateProgress())


@pytest.mark.parametrize("command", OF_FOLDERS)
def test_a_list_of_cmake_outside_of_the_folder(command, tmp_path):
    folder = write_folder(tmp_path / "model", raw_files())
    (folder / "CMakeLists.txt").rename(tmp_path / "secret")
    (folder / "CMakeLists.txt").symlink_to(tmp_path / "secret")
    message = "Error: the file CMakeLists.txt must lie in the model's own folder, got a link that leaves it; put the"
    code, error = error_of(command, folder)
    assert code == 1
    assert error.startswith(message)
    (tmp_path / "secret").unlink()
    assert error_of(command, folder) == (code, error)
