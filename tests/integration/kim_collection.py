# SPDX-License-Identifier: LGPL-2.1-or-later
"""A KIM collection of the tests' own, and what is installed into it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
DRIVER = "TorchMLModelDriver"
# The variables of MPI launchers and of Slurm begin with these.
LAUNCHERS = ("OMPI_", "MV2_", "MPI_", "PMI_", "PALS_", "SLURM_")
# CI's compiler. Another one warns of other things, so its warnings are errors nowhere.
STRICT_COMPILER = "g++ 12"

_MODEL_CMAKE = """\
cmake_minimum_required(VERSION 3.10)
list(APPEND CMAKE_PREFIX_PATH $ENV{{KIM_API_CMAKE_PREFIX_DIR}})
find_package(KIM-API-ITEMS 2.2 REQUIRED CONFIG)
kim_api_items_setup_before_project(ITEM_TYPE "portableModel")
project({name})
kim_api_items_setup_after_project(ITEM_TYPE "portableModel")
add_kim_api_model_library(NAME ${{PROJECT_NAME}} DRIVER_NAME "{driver}" PARAMETER_FILES {files})
"""

# All models in one build: an order of magnitude quicker than one after the other through KIM's manager.
_ALL_MODELS_CMAKE = """\
cmake_minimum_required(VERSION 3.10)
list(APPEND CMAKE_PREFIX_PATH $ENV{KIM_API_CMAKE_PREFIX_DIR})
find_package(KIM-API-ITEMS 2.2 REQUIRED CONFIG)
kim_api_items_setup_before_project(ITEM_TYPE "portableModel")
project(AllModels)
"""


@dataclass(frozen=True)
class PortableModel:
    """A KIM portable model.

    Attributes:
        name: Its KIM id.
        files: Content of its parameter files by name.
        driver: KIM id of its driver.
    """

    name: str
    files: Mapping[str, bytes]
    driver: str = DRIVER

    def write(self, parent: Path) -> Path:
        """Write the model's folder, as its author would hand it out; return it."""
        folder = parent / self.name
        folder.mkdir(parents=True)
        for name, content in self.files.items():
            (folder / name).write_bytes(content)
        listed = " ".join(f'"{name}"' for name in self.files)
        cmake = _MODEL_CMAKE.format(name=self.name, driver=self.driver, files=listed)
        (folder / "CMakeLists.txt").write_text(cmake)
        return folder


class KimCollection:
    """A user collection in a folder of its own.

    Attributes:
        items: The folders of installed drivers and models.
        environment: For processes that are to use this collection and nothing else of the caller's KIM settings.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kinds = {kind: folder / kind for kind in ("model-drivers", "portable-models", "simulator-models")}
        for path in kinds.values():
            path.mkdir(parents=True)
        configuration = folder / "configuration"
        configuration.write_text("".join(f"{kind}-dir = {path}\n" for kind, path in kinds.items()))
        self.items = tuple(kinds.values())
        self.drivers = kinds["model-drivers"]
        # Compiling a model takes a minute: tests that are about it ask for it.
        own = {"KIM_API_CONFIGURATION_FILE": str(configuration), "KIM_TORCHML_COMPILE": "never"}
        self.environment = plain_environment() | own

    def manage(self, *arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run KIM's collections manager; its two outputs come as one, in `stdout`."""
        return subprocess.run(
            ["kim-api-collections-management", *map(str, arguments)],
            env=self.environment | variables,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )

    def install(self, folder: Path, **variables: str) -> None:
        """Install one item as a user does; an error shows what the manager printed."""
        # A copy nearby: KIM's manager cannot take a blank in a path, and the one of a clone may have one.
        copy = shutil.copytree(folder, self.folder / "items" / folder.name, dirs_exist_ok=True)
        done = self.manage("install", "user", copy, **variables)
        shutil.rmtree(copy)
        assert done.returncode == 0, done.stdout

    def install_models(self, models: list[PortableModel], build: Path) -> None:
        """Build several portable models at once and install them."""
        cmake = [_ALL_MODELS_CMAKE, *(f"add_subdirectory({model.write(build).name})\n" for model in models)]
        (build / "CMakeLists.txt").write_text("".join(cmake))
        self.cmake(build, build / "build")

    def cmake(self, sources: Path, build: Path, *options: str) -> None:
        """Configure, build and install portable models; an error shows what CMake printed."""
        for arguments in (
            ["-S", sources, "-B", build, "-DKIM_API_INSTALL_COLLECTION=USER", *options],
            ["--build", build, "--parallel", "2"],
            ["--install", build],
        ):
            done = subprocess.run(
                ["cmake", *map(str, arguments)],
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=300,
                check=False,
            )
            assert done.returncode == 0, done.stdout

    def run_python(
        self, *arguments: str | Path, python: str | Path = sys.executable, timeout: float = 120, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run Python with this collection and the modules of these tests."""
        return subprocess.run(
            [str(python), *map(str, arguments)],
            env=self.environment | {"PYTHONPATH": python_path(HERE)} | variables,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )


def python_path(*folders: str | Path) -> str:
    """Return a PYTHONPATH of folders, and then of those of this process's own."""
    own = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    return os.pathsep.join([*map(str, folders), *(str(Path(folder).resolve()) for folder in own)])


def plain_environment() -> dict[str, str]:
    """Return this process's environment without what steers KIM, the driver, Python (but for its path) or threads."""
    steering = ("KIM_", "PYTHON", "VIRTUAL_ENV", "CONDA_", "OMP_", "CUDA_", *LAUNCHERS)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(steering)}
    # The checkout's sources, where they stand in for the package that pip has installed.
    if path := python_path():
        kept["PYTHONPATH"] = path
    # Two threads on contended cores are slower than one.
    settings = {"OMP_NUM_THREADS": "1", "MAKEFLAGS": "-j2"}
    # Open MPI refuses to run as root unless told, and a rank that waits for others keeps a core busy.
    settings |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return kept | settings | {"OMPI_MCA_mpi_yield_when_idle": "1"}


def export_sources(folder: Path) -> Path:
    """Copy what git tracks, or would track, into a folder; return it."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)
    return folder


def compiler() -> str:
    """Return the name and the major version of the compiler of these tests, such as g++ 12."""
    printed = subprocess.run(["c++", "-dM", "-E", "-x", "c++", os.devnull], capture_output=True, text=True, check=True)
    macros = dict(line.split(maxsplit=2)[1:] for line in printed.stdout.splitlines() if len(line.split()) > 2)
    return f"clang {macros['__clang_major__']}" if "__clang_major__" in macros else f"g++ {macros['__GNUC__']}"


def warnings_are_errors() -> bool:
    """Return whether a warning of this machine's compiler fails the tests."""
    return compiler() == STRICT_COMPILER


def compile_simulator(name: str, folder: Path, flags: Sequence[str]) -> Path:
    """Compile the C++ simulator in the folder `name` beside this file; return the program."""
    program = folder / name
    kim = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "libkim-api"], capture_output=True, text=True, check=True
    ).stdout.split()
    sources = sorted((HERE / name).glob("*.cpp"))
    strict = ["-std=c++17", "-Wall", "-Wextra", *(["-Werror"] if warnings_are_errors() else []), *flags]
    subprocess.run(["c++", *strict, *map(str, sources), *kim, "-o", str(program)], check=True)
    return program
