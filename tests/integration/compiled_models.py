# SPDX-License-Identifier: LGPL-2.1-or-later
"""Models that this machine compiles, for tests of several files: one at its first use, the other at its installing."""

import importlib.util
import json
import shutil
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pytest
import torch
from command_host import CommandHost, CommandRun
from exported_models import EXAMPLE, SINGLE, Twins, example_network, save, saved
from kim_collection import KimCollection, PortableModel
from kimpy_host import KimpyModel
from lammps_host import Case, run_lammps
from test_lammps import in_long_box

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler (g++)")
# No other tests install models of these names, so that the program stays the one that was compiled.
INSTALLED = replace(SINGLE, exported="Compiled_Single", scripted="Compiled_SingleScripted")
PARAMETERS = {"initial": "features of every particle before the first convolution"}
# Compiling takes a minute, and more where other tests compile too, s.
PATIENCE = 600.0
# What becomes by default of images and of other ranks' particles, by the number of ranks.
_HAS_MPI4PY = importlib.util.find_spec("mpi4py") is not None
WAYS = {1: "layers folded", 2: "layers, exchanged between ranks" if _HAS_MPI4PY else "layers staged"}


@dataclass(frozen=True)
class Compiled:
    """The models, compiled, and what was printed meanwhile.

    Attributes:
        collection: the collection that they are installed in, with the same networks as TorchScript.
        cache: the folder of compiled programs.
        first_run: LAMMPS' stderr on two ranks with KIM_TORCHML_COMPILE=now.
        folder: LAMMPS' folder.
        installed: how `kim-torchml install` ended.
    """

    collection: KimCollection
    cache: Path
    first_run: str
    folder: Path
    installed: CommandRun

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables with which the compiled programs are run."""
        return {"KIM_TORCHML_CACHE": str(self.cache), "KIM_TORCHML_COMPILE": "cached"}

    @property
    def entries(self) -> list[Path]:
        """The folders of compiled programs."""
        return [path for path in self.cache.iterdir() if path.is_dir()]


def scripted_models() -> list[PortableModel]:
    """Return the networks as TorchScript."""
    networks = ((EXAMPLE, torch.float64), (INSTALLED, torch.float32))
    return [saved(each.scripted, example_network(dtype), "pt", parameters=PARAMETERS) for each, dtype in networks]


def cases(twins: Twins) -> dict[str, Case]:
    """Return the structures that LAMMPS runs with both of the twins."""
    small = twins.atoms()[:40]
    small.pbc = False
    made = []
    for model in (twins.exported, twins.scripted):
        made += [
            Case(f"{model}_periodic", model, twins.atoms(), species=twins.species),
            Case(f"{model}_empty", model, in_long_box(small, 18.0), "1 1 *", species=twins.species),
            Case(f"{model}_atom", model, in_long_box(small[:1], 9.0), "1 1 *", species=twins.species),
            Case(f"{model}_dynamics", model, twins.atoms(), run="fix 1 all nve\nrun 10", species=twins.species),
        ]
    return {case.name: case for case in made}


def compile_models(collection: KimCollection, folder: Path) -> None:
    """Compile the models, one of which gets installed, into a cache in an empty folder; `read_compiled` reads it."""
    of_cache, lammps = {"KIM_TORCHML_CACHE": str(folder / "cache")}, folder / "lammps"
    lammps.mkdir()
    commands = "".join(case.write(lammps) for case in cases(EXAMPLE).values())
    run = run_lammps(collection, lammps, commands, 2, PATIENCE, **of_cache, KIM_TORCHML_COMPILE="now")
    assert run.returncode == 0, run.stdout + run.stderr
    host = CommandHost(collection, folder / "host")
    model = host.work / INSTALLED.exported
    save(INSTALLED.exported, example_network(torch.float32), "pt2", model, parameters=PARAMETERS)
    installed = host.run("install", model, timeout=PATIENCE, **of_cache, KIM_TORCHML_COMPILE="cached")
    assert installed.code == 0, installed.error
    (folder / "printed.json").write_text(json.dumps({"first_run": run.stderr, "installed": asdict(installed)}))


def read_compiled(collection: KimCollection, folder: Path) -> Compiled:
    """Return what `compile_models` has made, which may have been in another process, with another collection."""
    if not (collection.folder / "portable-models" / INSTALLED.exported).is_dir():
        collection.install(folder / "host" / "work" / INSTALLED.exported)
    printed = json.loads((folder / "printed.json").read_text())
    installed = CommandRun(**printed["installed"])
    return Compiled(collection, folder / "cache", printed["first_run"], folder / "lammps", installed)


def runs_compiled(name: str) -> bool:
    """Return whether a model that this process creates now runs compiled."""
    KimpyModel(name)
    opened = sys.modules["kim_torchml.driver.opened_models"]
    return bool(opened._recent[-1].is_compiled)
