# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a family of trained potentials gives: networks that become models of the kind edges, or exported folders."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from kim_torchml.tools.convert.pins import ASE
from kim_torchml.tools.model_check.loaded_model import LoadedModel
from kim_torchml.tools.package.arguments import with_home
from kim_torchml.tools.request_error import RequestError


@dataclass(frozen=True)
class Asked:
    """What a user asks to be converted.

    Attributes:
        source: path of a file, or a name that the family knows.
        head: name of the head of a network that has several.
        modal: name of the modality of a network that has several.
        dtype: "float32" or "float64"; None for the type of the checkpoint.
        file_format: "pt2" or "pt"; None for what suits the source.
        trusts: whether the user trusts whoever made the source to run code.
        species_as: "codes" or "atomic numbers", what the network gets as species; None for what the source says.
    """

    source: str
    head: str | None = None
    modal: str | None = None
    dtype: str | None = None
    file_format: str | None = None
    trusts: bool = False
    species_as: str | None = None

    @property
    def path(self) -> Path:
        """The source as a path; a `~` at its beginning is the home folder."""
        return with_home(self.source)


def check_trusted(reason: str, asked: Asked) -> None:
    """Check that a user trusts whoever made a source, where unpickling it may run code.

    Args:
        reason: Why it may; empty where it cannot.
        asked: What is to be converted.
    Raises:
        RequestError: If trust is needed and was not given.
    """
    if reason and not asked.trusts:
        raise RequestError(
            f"{reason}, and unpickling runs whatever code its maker has put in; nothing was unpickled: say --trust if "
            "you trust whoever made it"
        )


@dataclass(frozen=True)
class FamilyPackage:
    """A package that a family needs.

    Attributes:
        name: its name for pip.
        module: the name that it is imported by.
        version: the version that the family was tried with.
    """

    name: str
    module: str
    version: str


# What every model is compared with the help of.
ASE_PACKAGE = FamilyPackage("ase", "ase", ASE.partition("==")[2])


@dataclass(frozen=True)
class Isolation:
    """What a temporary environment for a family is made of: requirements of pip with exact versions.

    Attributes:
        pinned: those that are installed with what they ask for, which is all among them and in `if_needed`.
        alone: those that are installed without what they ask for; `pinned` names what converting needs of that.
        if_needed: versions of what those in `pinned` ask for on some machines alone.
        from_source: names of those that are built from source; all others are installed as wheels.
        pythons: oldest and newest version of Python that all of these can be installed for.
    """

    pinned: tuple[str, ...]
    alone: tuple[str, ...] = ()
    if_needed: tuple[str, ...] = ()
    from_source: tuple[str, ...] = ()
    pythons: tuple[tuple[int, int], tuple[int, int]] = ((3, 11), (3, 13))


@dataclass(frozen=True)
class Closeness:
    """How close a converted model must be to the package's own calculator.

    Each holds for values up to 1, and relatively beyond that.

    Attributes:
        energy: of the energy, eV for each atom.
        force: of each component of a force, eV/Å.
        stress: of each component of the stress, eV/Å³.
    """

    energy: float
    force: float
    stress: float


# In double precision both must give the same but for the order of sums.
DOUBLE = Closeness(1e-10, 1e-10, 1e-10)
# Where the same program is called with the same tensors.
EXACT = Closeness(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Measured:
    """What was found of a model in LAMMPS beside the package's own calculator; docs/potentials.md says how.

    Attributes:
        model: which it is, with its type.
        within: how close it was, as tests ask for it.
        faster: how many times as fast it is compiled, for 64 and for 216 atoms; empty where it cannot be compiled.
    """

    model: str
    within: Closeness
    faster: tuple[float, ...] = ()

    def __str__(self) -> str:
        close = f"within {self.within.energy:.0e} eV/atom and {self.within.force:.0e} eV/Å of its package's calculator"
        if not self.faster:
            return f"{self.model}: {close}"
        faster = " and ".join(f"{each:.2f}" for each in self.faster)
        return f"{self.model}: {close}; compiled {faster} times as fast as that (64 and 216 atoms)"


def note_on_authors(title: str | None) -> str:
    """Return what is to be said of a file's authors and licence.

    Args:
        title: Title of the published network whose file has that name; None where none has it.
    """
    if title is None:
        return "authors, licence and training set are not known: say them in [about] of model.toml"
    return f"the file is taken for {title} by its name: if it is another network, correct [about] of model.toml"


@dataclass(frozen=True)
class Potential:
    """A trained network, ready to become a model of the kind edges.

    Attributes:
        module: takes species codes [n], edge_index [2, E] and edge_vectors [E, 3]; gives the energy of each row, eV.
        atomic_numbers: of the species that the network knows, in the order of its own codes.
        cutoff: cutoff, Å.
        layers: how often it passes messages.
        dtype: type of its floating inputs.
        calculator: makes the package's own calculator for ASE, of the same network in the same type.
        closeness: how close to that the model must be.
        script: makes TorchScript of the module, or of one around it.
        exporting: is entered while the module is exported, but not while it is scripted.
        about: title, authors, doi, licence, description, trained_on, as far as they are known.
        made_with: versions of the family's packages, by name.
        notes: what its user should know, a sentence each.
        beside: what it is compared with, where that is not the package's own calculator.
        file_format: "pt2" or "pt", where none is asked for.
        computes_in: type that it computes in, where that is not the type of its inputs.
    """

    module: torch.nn.Module
    atomic_numbers: tuple[int, ...]
    cutoff: float
    layers: int
    dtype: torch.dtype
    calculator: Callable[[], Any]
    closeness: Closeness
    script: Callable[[torch.nn.Module], torch.jit.ScriptModule]
    exporting: Callable[[], AbstractContextManager[None]] = nullcontext
    about: Mapping[str, Any] = field(default_factory=dict)
    made_with: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    beside: str = ""
    file_format: str = "pt2"
    computes_in: torch.dtype | None = None


@dataclass(frozen=True)
class ExportedFolder:
    """A folder of the published format 1 that a package has exported: a model of any kind, which the driver runs.

    Its model file stays as it is, and so it must give the same as before, bit by bit.

    Attributes:
        folder: the folder.
        model: its model, opened as the driver opens it, with the species that it was made for.
        calculator: makes a calculator for ASE of that model.
        about: title, authors, doi, licence, description, trained_on, as far as they are known.
        made_with: versions of what made it, by name.
        notes: what its user should know, a sentence each.
    """

    folder: Path
    model: LoadedModel
    calculator: Callable[[], Any]
    about: Mapping[str, Any] = field(default_factory=dict)
    made_with: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def dtype(self) -> torch.dtype:
        """Type of the model's floating inputs."""
        return self.model.dtype

    @property
    def closeness(self) -> Closeness:
        """How close to that model the written one must be."""
        return EXACT

    @property
    def beside(self) -> str:
        """What the written model is compared with."""
        return f"{self.model.description.file_name} and its files as the driver runs them"


class Family(ABC):
    """Networks of one package.

    Attributes:
        word: what it is called in commands.
        title: what people call it.
        sources: what can be converted, a line each.
        packages: what converting needs; the first is the family's own.
        measured: what was found beside the package's own calculator, for a model each.
        isolation: what a temporary environment is made of.
        reference: what an environment is made of that has the family's package too, where converting needs it not.
        takes_species_as: whether it may have to be said what a network gets as species.
    """

    word: str
    title: str
    sources: tuple[str, ...]
    packages: tuple[FamilyPackage, ...]
    measured: tuple[Measured, ...]
    isolation: Isolation
    reference: Isolation | None = None
    takes_species_as: bool = False

    def needs(self, asked: Asked) -> tuple[FamilyPackage, ...]:
        """Return the packages that converting a source needs beside ASE, which `look` has found fit."""
        del asked
        return self.packages

    @abstractmethod
    def look(self, asked: Asked) -> str:
        """Look at a source without the family's package, and without unpickling anything.

        Args:
            asked: What is to be converted.
        Returns:
            Why converting it may run code of whoever made it; empty where it cannot.
        Raises:
            DriverError: If it is nothing that the family can convert, as far as that can be seen.
        """

    @abstractmethod
    def load(self, asked: Asked) -> Potential | ExportedFolder:
        """Return the network of a source, which `look` has found fit, or the folder; the packages are there.

        Raises:
            DriverError: If the source is damaged, or holds what the kind edges cannot express.
        """
