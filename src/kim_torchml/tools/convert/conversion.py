# SPDX-License-Identifier: LGPL-2.1-or-later
"""From a source of a family to a folder that KIM can install, compared with what it was made of."""

import importlib.util
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from kim_torchml.engines.facts import type_word
from kim_torchml.errors import DriverError
from kim_torchml.model_files.elements import SYMBOLS
from kim_torchml.tools.convert.default_dtype import default_dtype
from kim_torchml.tools.convert.exported_folder import program_of_folder, statement_of_folder
from kim_torchml.tools.convert.family import (
    ASE_PACKAGE,
    EXACT,
    Asked,
    ExportedFolder,
    Family,
    FamilyPackage,
    Potential,
    check_trusted,
)
from kim_torchml.tools.convert.quiet import quiet
from kim_torchml.tools.late_progress import LateProgress
from kim_torchml.tools.model_check.loaded_model import LoadedModel
from kim_torchml.tools.package.kim_names import check_name
from kim_torchml.tools.package.program_file import SCRIPTED, ProgramFile, program_file_of
from kim_torchml.tools.package.statement import Statement
from kim_torchml.tools.package.unfinished_folder import check_free, unfinished_folder
from kim_torchml.tools.package.upgrade import check_same_parameters
from kim_torchml.tools.package.written_model import Compared, WrittenModel, write_model
from kim_torchml.tools.request_error import RequestError

if TYPE_CHECKING:
    from kim_torchml.tools.convert.comparison import Difference


@dataclass(frozen=True)
class Prepared:
    """What a model's folder is written of.

    Attributes:
        statement: what its files say.
        module: the module that the model file is made of; None where the file is there already.
        program: returns the model file.
        default_dtype: torch's default floating type while it is written.
        notes: what its user should know, a sentence each.
    """

    statement: Statement
    module: torch.nn.Module | None
    program: Callable[[LateProgress], ProgramFile]
    default_dtype: torch.dtype
    notes: tuple[str, ...]


class SomeSpecies(torch.nn.Module):
    """A network of which KIM does not know all species: those that it knows have consecutive codes."""

    def __init__(self, network: torch.nn.Module, codes: Sequence[int]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("codes", torch.tensor(codes, dtype=torch.int64, device="cpu"))

    def forward(self, species: torch.Tensor, edge_index: torch.Tensor, edge_vectors: torch.Tensor) -> torch.Tensor:
        """Return the energy of each row, shape [n], eV."""
        return self.network(self.codes[species], edge_index, edge_vectors)  # type: ignore[no-any-return, index]


def check_request(family: Family, asked: Asked, folder: Path, name: str) -> str:
    """Check all that can be checked without the family's package and before anything is unpickled.

    Args:
        family: The family.
        asked: What is to be converted.
        folder: Folder to write.
        name: KIM id of the model.
    Returns:
        Why converting may run code of whoever made the source, where the user trusts them; empty where it cannot.
    Raises:
        DriverError: If something is wrong, or trust is needed and was not given.
    """
    check_name(name, "name")
    check_free(folder, replace=False, how="")
    # Whether something can be written there is better known before the work than after it.
    with unfinished_folder(folder):
        pass
    if asked.species_as is not None and not family.takes_species_as:
        raise RequestError(
            f"`--species-as` must be left out for {family.title}, whose files say what a network gets as species, got "
            f"'{asked.species_as}'; leave it out"
        )
    reason = family.look(asked)
    check_trusted(reason, asked)
    return reason


def missing_packages(packages: Iterable[FamilyPackage]) -> list[FamilyPackage]:
    """Return those that cannot be imported here."""
    return [each for each in packages if importlib.util.find_spec(each.module) is None]


def check_packages(family: Family, asked: Asked) -> None:
    """Check that what converting a source needs is installed: ASE too, which not every package brings.

    Raises:
        DriverError: If it is not.
    """
    if missing := missing_packages(dict.fromkeys((*family.needs(asked), ASE_PACKAGE))):
        wanted = " ".join(f"{each.name}=={each.version}" for each in missing)
        raise DriverError(
            f"converting a source of {family.title} needs {', '.join(each.name for each in missing)} in the Python "
            f"environment of this command ({sys.prefix}), got none; say --isolated for a temporary environment, or run "
            f"kim-torchml in one of its own that has {wanted}"
        )


def convert(family: Family, asked: Asked, folder: Path, name: str, progress: LateProgress) -> WrittenModel:
    """Write a model's folder from a source of a family; the request has been checked.

    Args:
        family: The family.
        asked: What is to be converted.
        folder: Folder to write; it appears when all is well.
        name: KIM id of the model.
        progress: What to tell how far this is.
    Returns:
        What was written and checked.
    Raises:
        DriverError: If the source cannot be converted, or the model is not what the package's own calculator is.
    """
    progress(f"reading {asked.source}", 0.0)
    check_packages(family, asked)
    # It needs ASE.
    from kim_torchml.tools.convert.comparison import compare

    with quiet():
        loaded = family.load(asked)
    prepared = _of_folder(loaded, name) if isinstance(loaded, ExportedFolder) else _of_network(loaded, name, asked)
    prepared.statement.check()

    def compared(model: LoadedModel) -> Compared:
        with quiet():
            found = _compared(compare(model, loaded, progress), loaded)
        if isinstance(loaded, ExportedFolder):
            check_same_parameters(loaded.model, model, "nothing was written")
        # It takes long to come here, and another process may have written the folder.
        check_free(folder, replace=False, how="")
        return found

    with default_dtype(prepared.default_dtype):
        with quiet():
            program = prepared.program(progress)
        written = write_model(prepared.statement, program, prepared.module, folder, progress, compared)
    return replace(written, said=(*written.said, *prepared.notes))


def _of_folder(source: ExportedFolder, name: str) -> Prepared:
    """Return what is written of an exported folder: its model file as it is."""
    return Prepared(
        statement_of_folder(source, name), None, lambda progress: program_of_folder(source),
        # What a simulator leaves as it is.
        torch.float32, source.notes,
    )  # fmt: skip


def _of_network(potential: Potential, name: str, asked: Asked) -> Prepared:
    """Return what is written of a network."""
    module, species, unknown = _known_to_kim(potential)
    statement = Statement(
        name, "edges", species, potential.cutoff, potential.layers,
        dtype=type_word(potential.dtype), about=potential.about, made_with=potential.made_with,
    )  # fmt: skip
    program = partial(_program_of, potential, module, statement, asked.file_format or potential.file_format)
    # The package's own calculator computes so, and a program keeps the types that it was exported with.
    return Prepared(statement, module, program, potential.dtype, (*unknown, *potential.notes))


def _program_of(
    potential: Potential, module: torch.nn.Module, statement: Statement, file_format: str, progress: LateProgress
) -> ProgramFile:
    if file_format == SCRIPTED:
        return program_file_of(potential.script(module), statement.inputs(), SCRIPTED, progress)
    with potential.exporting():
        return program_file_of(module, statement.inputs(), file_format, progress)


def _known_to_kim(potential: Potential) -> tuple[torch.nn.Module, tuple[str, ...], tuple[str, ...]]:
    """Return the network of the species that KIM knows, their symbols by code, and a sentence on the others."""
    numbers = potential.atomic_numbers
    known = [code for code, number in enumerate(numbers) if 1 <= number <= len(SYMBOLS)]
    symbols = tuple(SYMBOLS[numbers[code] - 1] for code in known)
    if len(known) == len(numbers):
        return potential.module, symbols, ()
    if not known:
        raise DriverError("the network must know an element, got none that KIM knows; it cannot be converted")
    others = ", ".join(str(number) for code, number in enumerate(numbers) if code not in known)
    said = f"species that KIM does not know are left out, those of the atomic numbers {others}"
    return SomeSpecies(potential.module, known).eval(), symbols, (said,)


def _compared(differences: "Sequence[Difference]", source: Potential | ExportedFolder) -> Compared:
    """Return the table of a comparison, for the terminal and for README.md."""
    from kim_torchml.tools.convert.comparison import table_of

    table, allowed = table_of(differences), source.closeness
    packages = ", ".join(f"{name} {version}" for name, version in source.made_with.items())
    images, dtype = "", source.dtype
    if isinstance(source, Potential):
        images, dtype = ", images folded", source.computes_in or source.dtype
    beside = source.beside or f"the calculator of {packages}"
    beside = f"differences from {beside}, in {type_word(dtype)}{images}"
    limits = f"allowed: {allowed.energy:.0e} eV/atom, {allowed.force:.0e} eV/Å, {allowed.stress:.0e} eV/Å³"
    relative = f"{limits}, relative to values above 1"
    if allowed == EXACT:
        limits = relative = "allowed: none"
    section = ["", "## Compared", "", f"{beside[0].upper()}{beside[1:]}; {relative}:", "", *table, ""]
    return Compared((f"{beside} ({limits}):", *table), "\n".join(section))
