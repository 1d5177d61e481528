# SPDX-License-Identifier: LGPL-2.1-or-later
"""docker/check.py, which checks what the Dockerfile promises and reports what is broken, and docker/entrypoint.sh."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
DOCKER = REPOSITORY / "docker"

LIST = """\
kim-api : \n\tkim-api 2.3.0\n
User Collection
Model Drivers: '/home/kim/drivers'\n\t--empty--\n
System Collection
Model Drivers: '/lib/drivers'\n\tEDIP__MD_506186535567_002\n\tTorchML__MD_123456789012_000\n
Portable Models: '/lib/models'\n\tEDIP_X__MO_1_0\n\tTorchML_Graph_Si\n
"""


@pytest.fixture
def check():
    """Return the module, loaded anew for each test."""
    spec = importlib.util.spec_from_file_location("image_check", DOCKER / "check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_looks_for_what_the_dockerfile_installs(check) -> None:
    (models,) = re.findall(r"install\.sh model (.*)", (DOCKER / "Dockerfile").read_text())
    cmake = [(REPOSITORY / folder / "CMakeLists.txt").read_text() for folder in models.split()]
    names = [re.findall(r"^ *project\((\w+)", text, re.MULTILINE)[0] for text in cmake]
    assert sorted(names) == sorted(check.EXAMPLES)
    assert f"KIM_TORCHML_DRIVER_NAME:-{check.DRIVER}}}" in (DOCKER / "install.sh").read_text()
    assert check.promised("USER") == "1001"
    assert check.promised("WORKDIR") == "/workdir"


def test_every_check_is_run(check) -> None:
    """A check that is missing from the list would never run, and nobody would notice."""
    listed = {function.__name__ for functions in check.CHECKS.values() for function in functions}
    checks = {
        name for name, value in vars(check).items() if callable(value) and (value.__doc__ or "").startswith("Check ")
    }
    assert listed == checks


def test_missing_program_is_named(check) -> None:
    with pytest.raises(check.BrokenPromiseError, match="there is no program no-such-program on PATH"):
        check.run("no-such-program", "-h")


def test_failures_are_reported_and_the_other_checks_run(
    check, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def missing_file() -> str:
        raise FileNotFoundError(2, "No such file or directory", "/opt/kim-torchml/examples")

    def fine() -> str:
        return "all there"

    monkeypatch.setitem(check.CHECKS, "use", (missing_file, fine))
    monkeypatch.setattr(sys, "argv", ["check.py", "use"])
    with pytest.raises(SystemExit) as end:
        check.main()
    assert end.value.code == 1
    lines = capfd.readouterr().out.splitlines()
    assert re.fullmatch("FAILED  missing_file: .*'/opt/kim-torchml/examples'", lines[0])
    assert lines[1] == "ok      fine: all there"


def test_own_model_is_removed_although_its_energy_is_wrong(
    check, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commands: list[tuple[str, ...]] = []
    monkeypatch.setattr(check, "run", lambda *command: commands.append(command))
    monkeypatch.setattr(check, "lammps_energy", lambda name: 0.0)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(check.BrokenPromiseError, match="My_StillingerWeber_Si gives another energy"):
        check.own_model()
    assert [command[1] for command in commands] == ["install", "remove"]


def test_entry_point_names_the_driver_and_the_models_that_are_there(tmp_path: Path) -> None:
    programs = {
        "kim-api-collections-management": f'[ "$1" = list ] && cat {tmp_path}/list || echo 2.3.0',
        "lmp": "echo 'Large-scale Atomic/Molecular Massively Parallel Simulator - 1 Jan 2000'",
        "python": f'exec {sys.executable} "$@"',
    }
    (tmp_path / "list").write_text(LIST)
    for name, code in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{code}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["bash", DOCKER / "entrypoint.sh"],
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "  driver   TorchML__MD_123456789012_000\n" in done.stdout
    assert "  models   TorchML_Graph_Si\n" in done.stdout
    # The folder must be made first, because KIM refuses one that does not exist.
    assert done.stdout.index("mkdir -p /workdir/kim-models") < done.stdout.index("set-user-portable-models-dir")
