# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is tested of a family of trained potentials: its models, structures, and the package's own calculator.

Each family has a file of its own, family_WORD.py, which runs in the environment of the family's package too: it imports
that package where it makes the calculator, and else no more than ASE and numpy.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ase import Atoms
from ase.calculators.calculator import Calculator


@dataclass(frozen=True)
class Limits:
    """How far results may be from those of the package.

    Attributes:
        energy: of the energy, eV for each atom.
        force: of each component of a force, eV/Å.
        stress: of each component of the stress, eV/Å³.
    """

    energy: float
    force: float
    stress: float


DOUBLE = Limits(1e-10, 1e-10, 1e-10)


@dataclass(frozen=True)
class Converted:
    """A model that is converted.

    Attributes:
        name: its KIM id.
        family: the family's word.
        source: a name that the family knows, or the name of a file that the family's maker writes.
        limits: how far its results may be from those of the package.
        dtype: its type.
        is_quick: whether it is converted in CI.
        modal: modality, if there are several.
        head: head, if there are several.
        file_format: "pt2" or "pt".
        fails: checks of `kim-torchml check` that the network itself fails.
        made_into: name of the file, which the package has made of the source, that is converted; if another one.
        is_compiled: whether it can be compiled.
        is_local: whether nothing is folded, as its energies depend on neighbours alone, or it is not of the kind edges.
        others: limits of structures that have others, by their names.
        graded_f: checks of `kim-torchml verify` that the network fails, or that rounding alone fails in float32.
        gives_total_alone: whether it gives no energies of atoms.
    """

    name: str
    family: str
    source: str
    limits: Limits
    dtype: str = "float32"
    is_quick: bool = False
    modal: str | None = None
    head: str | None = None
    file_format: str = "pt2"
    fails: tuple[str, ...] = ()
    made_into: str = ""
    is_compiled: bool = True
    is_local: bool = False
    others: Mapping[str, Limits] = field(default_factory=dict)
    graded_f: tuple[str, ...] = ()
    gives_total_alone: bool = False

    @property
    def options(self) -> list[str]:
        """What of it is an option of the command and of package_results.py."""
        given = (("--modal", self.modal), ("--head", self.head))
        return [word for option, value in given if value is not None for word in (option, value)]


@dataclass(frozen=True)
class Wanted:
    """The package's calculator that is wanted.

    Attributes:
        source: a file, or a name that the package knows.
        dtype: "float32" or "float64".
        device: "cpu" or "cuda".
        modal: modality, if there are several.
        head: head, if there are several.
    """

    source: str
    dtype: str
    device: str = "cpu"
    modal: str | None = None
    head: str | None = None


@dataclass(frozen=True)
class TriedFamily:
    """What is tested of a family.

    Attributes:
        package: name of its package for pip.
        models: what is converted.
        structures: what is computed, by name; all cells are lower triangular, as LAMMPS has them.
        species: the elements in it, in the order of LAMMPS' atom types.
        calculator: makes the package's own calculator as its users do.
        maker: script that writes sources into a folder; runs where the package is.
        verified: those of the species that `kim-torchml verify` is asked for, if not all.
    """

    package: str
    models: tuple[Converted, ...]
    structures: Mapping[str, Callable[[], Atoms]]
    species: tuple[str, ...]
    calculator: Callable[[Wanted], Calculator]
    maker: str = ""
    verified: tuple[str, ...] = ()
