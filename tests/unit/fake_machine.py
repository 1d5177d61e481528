# SPDX-License-Identifier: LGPL-2.1-or-later
"""Broken installations to order: foreign tools that are not what they should be, in folders of a test's own."""

import json
import os
import shlex
import sysconfig
import venv
from pathlib import Path

from kim_torchml import __version__
from kim_torchml.tools.doctor import Machine


def script(path: Path, *lines: str) -> Path:
    """Write a shell script that can be run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + "\n".join(lines) + "\n")
    path.chmod(0o755)
    return path


class FakeMachine:
    """A machine whose PATH has only what a test puts there.

    Attributes:
        bin: The one folder on PATH.
        environment: Environment variables.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.environment = {"PATH": str(self.bin), "OMP_NUM_THREADS": "1"}

    def machine(self) -> Machine:
        return Machine(self.environment)

    def add_kim_api(self, version: str = "2.3.0-git+GNU.GNU.GNU", with_tool: bool = True, **answers: str) -> None:
        """Put KIM's tools on PATH; `answers`: to questions, their words joined by underscores."""
        script(self.bin / "kim-api-collections-management", "exit 0")
        (self.folder / "config").touch()
        known = {"__version": version, "config_file_name": str(self.folder / "config")}
        for kind in ("model_drivers", "portable_models"):
            (self.folder / kind).mkdir(exist_ok=True)
            known |= {f"config_file_{kind}": str(self.folder / kind), kind: ""}
        cases = [f"{name}) echo {shlex.quote(text)};;" for name, text in (known | answers).items()]
        if with_tool:
            lines = ['question=$(echo "$*" | /usr/bin/tr " -" "__")', 'case "$question" in', *cases, "*) exit 2;; esac"]
            script(self.folder / "libexec/kim-api/kim-api-collections-info", *lines)

    def add_driver(self, name: str = "TorchMLModelDriver", record: str | None = None, **changes: str) -> str:
        """Install a driver of ours; return KIM's line on it."""
        folder = self.folder / "model_drivers" / name
        folder.mkdir(parents=True)
        (folder / "kim_torchml_shim.so").touch()
        facts = {"version": __version__, "python_executable": "", "python_version": "3.11", "python_library": ""}
        (folder / "installation.json").write_text(json.dumps(facts | changes) if record is None else record)
        return f"user {name} {folder.parent}"

    def add_linked_library(self, *libraries: str) -> None:
        """Let every program be linked with some libraries, and no others."""
        lines = [f"echo '\t{Path(library).name} => {library} (0x00007f1234567890)'" for library in libraries]
        script(self.bin / "ldd", *lines)

    def add_lammps(self, packages: str = "KIM MANYBODY") -> None:
        version = "Large-scale Atomic/Molecular Massively Parallel Simulator - 29 Sep 2021"
        script(
            self.bin / "lmp", f"printf '\\n{version}\\n\\nInstalled packages:\\n\\n{packages} \\nRIGID \\n\\nList\\n'"
        )


def make_environment(folder: Path) -> Path:
    """Make a virtual environment with nothing in it; return its Python."""
    venv.create(folder, symlinks=True, with_pip=False)
    return folder / "bin" / "python3"


def add_package(python: Path, name: str, version: str, code: str = "") -> None:
    """Install a package that is nothing but `code`."""
    packages = python.parents[1] / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    (packages / name).mkdir()
    (packages / name / "__init__.py").write_text(code)
    distribution = name.replace("_", "-")
    info = packages / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")


# As much of torch as the checks look at.
TORCH = """
class version:
    cuda = {cuda!r}
class cuda:
    is_available = staticmethod(lambda: {gpus!r} > 0)
    device_count = staticmethod(lambda: {gpus!r})
    get_device_name = staticmethod(lambda index: "NVIDIA Test")
class jit:
    class _state:
        class _enabled:
            enabled = True
"""


def only(findings):
    """The one finding."""
    (finding,) = findings
    return finding


def refuse_to_write(monkeypatch, path):
    """Let a file or folder be read-only; the tests may run as root, who may write anywhere."""
    access = os.access
    monkeypatch.setattr(
        os, "access", lambda asked, mode: access(asked, mode) and not (asked == path and mode & os.W_OK)
    )
