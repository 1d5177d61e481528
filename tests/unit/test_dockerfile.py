# SPDX-License-Identifier: LGPL-2.1-or-later
"""The Dockerfile: its steps are docker/install.sh's, in an order that keeps torch, and the clean room runs the same."""

import re
import runpy
import shlex
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
DOCKER = REPOSITORY / "docker"
MODULE = runpy.run_path(str(DOCKER / "dockerfile.py"))
INSTRUCTIONS = MODULE["read_dockerfile"]()
Instruction = MODULE["Instruction"]


def commands() -> list[list[str]]:
    """Return the commands of all RUN instructions."""
    lines = [part for instruction in INSTRUCTIONS if instruction.name == "RUN" for part in instruction.text.split("&&")]
    return [shlex.split(line) for line in lines]


def copied() -> list[str]:
    """Return the sources of all COPY instructions."""
    return [
        word for instruction in INSTRUCTIONS if instruction.name == "COPY" for word in instruction.text.split()[:-1]
    ]


def test_every_run_is_a_step_of_the_install_script() -> None:
    done = subprocess.run(["bash", DOCKER / "install.sh"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    steps = set(re.findall(r"bash docker/install\.sh (\w+)", done.stdout))
    assert len(commands()) > len(steps) > 5
    for command in commands():
        assert command[:2] == ["bash", "docker/install.sh"]
        assert command[2] in steps
    assert {command[2] for command in commands()} == steps


def test_every_layer_that_downloads_is_cleaned_in_the_same_layer() -> None:
    for instruction in INSTRUCTIONS:
        if instruction.name == "RUN" and re.search(
            r"install\.sh (system|torch|dependencies|environment)", instruction.text
        ):
            assert instruction.text.endswith("&& bash docker/install.sh clean")


def test_sources_come_after_torch_and_dependencies() -> None:
    """So a change of src leaves the layers of torch and the dependencies as they are."""
    texts = [instruction.text for instruction in INSTRUCTIONS]
    sources = next(index for index, text in enumerate(texts) if text.startswith("src/"))
    downloads = [
        index for index, text in enumerate(texts) if re.search(r"install\.sh (system|torch|dependencies)", text)
    ]
    assert len(downloads) == 3
    assert max(downloads) < sources
    before = {
        word
        for instruction in INSTRUCTIONS[:sources]
        if instruction.name == "COPY"
        for word in instruction.text.split()
    }
    assert before == {"docker/install.sh", "docker/", "pyproject.toml", "./", "CMakeLists.txt", "LICENSE", "README.md"}


def test_models_are_all_examples() -> None:
    models = next(command[3:] for command in commands() if command[2] == "model")
    assert sorted(models) == sorted(
        str(path.parent.relative_to(REPOSITORY)) for path in REPOSITORY.glob("examples/*/CMakeLists.txt")
    )


def test_builder_is_sent_what_is_copied_and_no_more() -> None:
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    assert patterns[0] == "*"
    assert {line[1:] for line in patterns if line.startswith("!")} == {name.split("/")[0] for name in copied()}
    assert all((REPOSITORY / name).exists() for name in copied())


def test_image_is_not_for_root() -> None:
    by_name = {instruction.name: instruction.text for instruction in INSTRUCTIONS}
    account = next(command[3:] for command in commands() if command[2] == "account")
    assert by_name["USER"] == account[1] != "0"
    assert by_name["WORKDIR"] == account[2]


def test_clean_room_runs_the_same_steps(tmp_path: Path) -> None:
    """The shell script that stands for `docker build` runs every RUN, in order, with the Dockerfile's variables."""
    script = MODULE["build_script"](INSTRUCTIONS, "/context", {"KIM_TORCHML_TORCH_BUILD": "cu130"})
    recorder = """
        mkdir() { :; }; cd() { :; }; cp() { :; }
        layer() { echo "$1|$KIM_TORCHML_TORCH_BUILD|$KIM_TORCHML_COLLECTION"; }
    """
    done = subprocess.run(["bash", "-euc", recorder + script], capture_output=True, text=True, check=True, cwd=tmp_path)
    runs = [instruction.text for instruction in INSTRUCTIONS if instruction.name == "RUN"]
    assert done.stdout.splitlines() == [f"{text}|cu130|system" for text in runs]


def test_folders_are_copied_as_docker_does(tmp_path: Path) -> None:
    """Docker copies the content of a folder, not the folder, and a file as it is."""
    context, target = tmp_path / "context", tmp_path / "image"
    (context / "src" / "deep").mkdir(parents=True)
    (context / "src" / "deep" / "file").write_text("a")
    (context / "LICENSE").write_text("b")
    target.mkdir()
    instructions = [
        Instruction("WORKDIR", str(target)),
        Instruction("COPY", "src/ src/"),
        Instruction("COPY", "LICENSE ./"),
    ]
    script = MODULE["build_script"](instructions, str(context), {})
    subprocess.run(["bash", "-euc", script], check=True)
    assert {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()} == {
        "src/deep/file",
        "LICENSE",
    }


def test_container_has_the_environment_of_the_dockerfile() -> None:
    """It also has the user, folder and entry point, but not the values that are given at build time only."""
    script = MODULE["run_script"](INSTRUCTIONS, {})
    recorder = 'cd() { echo "cd $1"; }\nexec() { echo "$*"; env; }\n'
    done = subprocess.run(
        ["bash", "-euc", recorder + script, "bash", "lmp", "-h"],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert lines[:2] == [
        "cd /workdir",
        "setpriv --reuid=1001 --regid=1001 --clear-groups bash /opt/kim-torchml/docker/entrypoint.sh lmp -h",
    ]
    assert "PATH=/opt/environment/bin:/usr/bin:/bin" in lines
    assert "KIM_TORCHML_EXPECTED_TORCH_BUILD=cpu" in lines
    assert not [line for line in lines if line.startswith("KIM_TORCHML_TORCH_INDEX")]


def test_container_of_another_user() -> None:
    """The script does as `docker run --user`; the number needs no account."""
    assert "setpriv --reuid=77 --regid=77" in MODULE["run_script"](INSTRUCTIONS, {}, "77")


def test_unknown_instruction_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot do HEALTHCHECK"):
        MODULE["build_script"]([Instruction("HEALTHCHECK", "NONE")], "/context", {})
