# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command of the examples: what it sets up, and what it runs, with and without a family of trained potentials."""

import re
import subprocess
from pathlib import Path

import pytest

from kim_torchml.tools.convert.families import FAMILIES

ROOT = Path(__file__).resolve().parents[2]
RUN = ROOT / "examples" / "run.sh"
README = (ROOT / "examples" / "sevennet" / "README.md").read_text()


def run_sh(*options, **variables):
    return subprocess.run(
        ["bash", RUN, *options],
        env={"PATH": "/usr/bin:/bin"} | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("options", "got"),
    [
        (["--family", "sevenet"], "'sevenet'"),
        (["--family=sevenet"], "'sevenet'"),
        (["--family="], "''"),
        (["--family", ""], "''"),
        (["--steps", "3", "--family", "."], r"'\.'"),
        (["--family"], "nothing"),
    ],
)
def test_an_unknown_family_is_one_sentence(options, got):
    """Nothing has been set up by then: the sentence is all that is printed."""
    done = run_sh(*options)
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch(rf"error: --family must be .*: sevennet; got {got}\n", done.stderr)


@pytest.fixture
def recorded(tmp_path):
    """Return a function that runs a copy of run.sh, in which each step says what it was asked."""
    record = '#!/bin/sh\necho "$@"\n'
    for name, path in (("install", "docker/install.sh"), ("python", ".venv/bin/python")):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(record.replace("echo", f"echo {name} ${{KIM_TORCHML_FAMILIES:--}}"))
        (tmp_path / path).chmod(0o755)
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "run.sh").write_text(RUN.read_text())

    def run(*options, **variables):
        done = subprocess.run(
            ["bash", tmp_path / "examples" / "run.sh", *options],
            env={"PATH": "/usr/bin:/bin"} | variables,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
        return done.stdout.replace(f"{tmp_path}/", "").splitlines()

    return run


SET_UP = ["install - system", "install - environment examples", "install - driver"]


def test_without_a_family_it_is_the_first_example(recorded):
    assert recorded("--cells", "2") == [
        *SET_UP,
        "install - model examples/stillinger_weber examples/descriptor examples/graph",
        "python - examples/demo.py --cells 2",
    ]


@pytest.mark.parametrize("family", [["--family", "sevennet"], ["--family=sevennet"]])
def test_with_a_family_it_makes_an_environment_of_the_package(recorded, family):
    lines = recorded("--steps", "3", *family, "--no-compile")
    assert lines[:3] == SET_UP
    made = "-I -m kim_torchml.tools.convert.keep_environment sevennet .venv-families/sevennet"
    assert lines[3] == f"python .venv-families {made}"
    assert lines[4:] == ["python .venv-families examples/sevennet/compare.py --steps 3 --no-compile"]


def test_a_variable_names_the_folder_of_environments(recorded):
    lines = recorded("--family=sevennet", KIM_TORCHML_FAMILIES="/elsewhere")
    assert lines[3].endswith(" sevennet /elsewhere/sevennet")
    assert lines[4].startswith("python /elsewhere ")


def test_environments_are_ignored_by_git():
    done = subprocess.run(
        ["git", "check-ignore", "--no-index", "-q", ".venv-families/sevennet/bin/python"], cwd=ROOT, check=False
    )
    assert done.returncode == 0


def test_the_command_of_the_readme_is_one_of_run_sh():
    (command,) = re.findall(r"^```bash\n(.*)\n```$", README, re.MULTILINE)[:1]
    assert command == "bash examples/run.sh --family sevennet"
    assert f"families=({command.split()[-1]})" in RUN.read_text()
    assert "sevennet" in FAMILIES
