# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command `kim-torchml` as a user runs it, in a folder, with temporary files and a store of the test's own."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tiny_models as tiny
from ase.build import bulk
from ase.neighborlist import neighbor_list
from kim_collection import KimCollection, PortableModel

_COMMAND = "from kim_torchml.tools.cli import main; main(prog_name='kim-torchml')"
_ENERGY = """
import sys
from ase.build import bulk
from ase.calculators.kim import KIM
atoms = bulk("Si", cubic=True)
atoms.symbols[::3] = "Ge"
atoms.rattle(0.1, seed=1)
atoms.calc = KIM(sys.argv[1])
print(repr(float(atoms.get_potential_energy())))
"""


@dataclass(frozen=True)
class CommandRun:
    """How a command ended.

    Attributes:
        code: Its exit code.
        output: What it printed on stdout.
        error: What it printed on stderr.
    """

    code: int
    output: str
    error: str


class CommandHost:
    """A user with a home of its own.

    Attributes:
        work: The working directory.
        temporary: Where temporary files are kept.
        store: The user's own store of model files, which need not be there.
    """

    def __init__(self, collection: KimCollection, folder: Path) -> None:
        self.collection = collection
        self.work, self.temporary = folder / "work", folder / "temporary"
        for each in (self.work, self.temporary):
            each.mkdir(parents=True)
        self.store = folder / "data" / "kim-torchml" / "models"
        self.variables = {"TMPDIR": str(self.temporary), "XDG_DATA_HOME": str(folder / "data")}

    def start(self, *arguments: str | Path, **variables: str) -> "subprocess.Popen[str]":
        """Start a command."""
        return subprocess.Popen(
            [sys.executable, "-c", _COMMAND, *map(str, arguments)],
            cwd=self.work,
            env=self.collection.environment | self.variables | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str | Path, timeout: float = 300, **variables: str) -> CommandRun:
        """Run a command, and check that it leaves nothing behind: temporary files, or KIM's log."""
        return self.finish(self.start(*arguments, **variables), timeout)

    def finish(self, process: "subprocess.Popen[str]", timeout: float = 300) -> CommandRun:
        """Wait for a command, and check that it leaves nothing behind."""
        output, error = process.communicate(timeout=timeout)
        assert list(self.temporary.iterdir()) == [], error
        assert not (self.work / "kim.log").exists()
        assert [path for path in self.models.iterdir() if path.name.startswith(".")] == []
        return CommandRun(process.returncode, output, error)

    @property
    def models(self) -> Path:
        """Folder of the user collection for portable models."""
        return self.collection.folder / "portable-models"

    def energy(self, model: str, **variables: str) -> float:
        """Return the energy of a rattled crystal in ASE, in a process of its own, eV."""
        done = self.energy_run(model, **variables)
        assert done.code == 0, done.error
        return float(done.output)

    def energy_run(self, model: str, **variables: str) -> CommandRun:
        """Compute that energy; return what was printed."""
        environment = self.variables | {"KIM_TORCHML_QUIET": "1"} | variables
        done = self.collection.run_python("-c", _ENERGY, model, **environment)
        return CommandRun(done.returncode, done.stdout, done.stderr)

    def remove(self, *models: str) -> None:
        """Remove models with KIM's own manager, where they are installed."""
        for model in models:
            self.collection.manage("remove", "--force", model)


def energy_of_formula(strength: float = 1.0) -> float:
    """Return the energy of that crystal by the formula of tiny_models.EdgesModel, with scaled bonds, eV."""
    atoms = bulk("Si", cubic=True)
    atoms.symbols[::3] = "Ge"
    atoms.rattle(0.1, seed=1)
    codes = np.array([tiny.ELEMENTS.index(symbol) for symbol in atoms.symbols])
    first, second, distance = neighbor_list("ijd", atoms, tiny.CUTOFF)
    bonds = (1.0 - (distance / tiny.CUTOFF) ** 2) ** 3
    density = np.bincount(first, bonds, minlength=len(atoms))
    pairs = 0.5 * strength * (2.0 + codes[first]) * (3.0 + codes[second]) * bonds
    return float(pairs.sum() - 0.1 * (density**2).sum())


def write_with_cmake(model: PortableModel, parent: Path, lines: str) -> Path:
    """Write a model's folder with more lines in its CMakeLists.txt, before the library is defined."""
    folder = model.write(parent)
    path = folder / "CMakeLists.txt"
    path.write_text(path.read_text().replace("add_kim_api_model_library", f"{lines}\nadd_kim_api_model_library"))
    return folder


def is_running(command: str) -> bool:
    """Return whether a process has a word in its command line."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if command.encode() in (folder / "cmdline").read_bytes() and int(folder.name) != os.getpid():
                return True
        except OSError:
            # It has ended.
            continue
    return False
