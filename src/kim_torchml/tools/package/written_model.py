# SPDX-License-Identifier: LGPL-2.1-or-later
"""A model's complete folder, written, loaded again and checked before it appears."""

import datetime
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from kim_torchml.errors import DriverError
from kim_torchml.model_files.description import ModelDescription, is_plain_name
from kim_torchml.model_files.model_toml import MODEL_TOML
from kim_torchml.model_files.model_toml_text import model_toml_text
from kim_torchml.tools.kim_collections.cmake_lists import CMAKE_LISTS
from kim_torchml.tools.late_progress import LateProgress
from kim_torchml.tools.model_check.listed_files import files_of
from kim_torchml.tools.model_check.loaded_model import LoadedModel
from kim_torchml.tools.package.cmake_lists_text import cmake_lists_text
from kim_torchml.tools.package.documents import documents_of, edited_documents
from kim_torchml.tools.package.first_checks import check_first
from kim_torchml.tools.package.model_readme import README
from kim_torchml.tools.package.program_file import ProgramFile
from kim_torchml.tools.package.statement import Statement
from kim_torchml.tools.package.unfinished_folder import unfinished_folder
from kim_torchml.tools.package.wording import in_arguments, reworded_errors


@dataclass(frozen=True)
class WrittenModel:
    """A folder that was written; its text says what was checked.

    Attributes:
        folder: the folder.
        files: names of the files in it.
        kept: names of documents that stayed, as their author had edited them.
        said: what the files say of the model that its author may have left to a default, a line each.
        notes: why the model file has its format, if that needs a word, a line each.
        checks: what was checked and how close it was, a line each.
        doubts: what its author should know although it is no error.
    """

    folder: Path
    files: tuple[str, ...]
    kept: tuple[str, ...]
    said: tuple[str, ...]
    notes: tuple[str, ...]
    checks: tuple[str, ...]
    doubts: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"wrote {self.folder}: {', '.join(self.files)}"]
        if self.kept:
            lines.append(f"kept what was edited: {', '.join(self.kept)}; see whether it still holds")
        lines += [*self.said, *self.notes, *self.checks]
        return "\n".join([*lines, *(f"doubtful: {each}" for each in self.doubts)])


@dataclass(frozen=True)
class Compared:
    """What a model was compared with before its folder appears.

    Attributes:
        lines: what was found, a line each, for people.
        section: a part of README.md in Markdown that says so.
    """

    lines: tuple[str, ...] = ()
    section: str = ""


def write_model(
    stated: Statement,
    program: ProgramFile,
    module: torch.nn.Module | None,
    folder: Path,
    progress: LateProgress,
    compare: Callable[[LoadedModel], Compared] | None = None,
) -> WrittenModel:
    """Write a model's folder. Whatever goes wrong before all is checked leaves nothing behind.

    Args:
        stated: What its author says of it.
        program: The model file.
        module: The module that it was made from; None where there is a file alone.
        folder: The folder; files in it are replaced, and those of a model that was in it removed. Documents that were
            edited stay.
        progress: What to tell how far this is.
        compare: Compares the model, as the driver loads it, with something else; raises a DriverError if they disagree.
    Returns:
        What was written and checked.
    Raises:
        DriverError: If what was said is wrong, the model cannot be run, or a check disagrees.
    """
    progress("opening the model", 0.0)
    with reworded_errors(in_arguments), _with_doubts(program):
        return _write(stated, program, module, folder, progress, compare)


@contextmanager
def _with_doubts(program: ProgramFile) -> Iterator[None]:
    """Add to an error what is known of the model file that may be its reason."""
    try:
        yield
    except DriverError as error:
        said = "; ".join((*program.notes, *program.doubts))
        if not said:
            raise
        # The reason comes first: what follows from it names other things to look at.
        raise DriverError(f"{said}. That may be why {error}") from error


def _write(
    stated: Statement,
    program: ProgramFile,
    module: torch.nn.Module | None,
    folder: Path,
    progress: LateProgress,
    compare: Callable[[LoadedModel], Compared] | None,
) -> WrittenModel:
    description = stated.description(program)
    contents = _contents(stated, description, program.content)
    described = list(contents)
    listed = cmake_lists_text(stated.name, stated.driver, described)
    contents[CMAKE_LISTS] = listed.encode()
    kept = edited_documents(folder)
    documents = documents_of(stated.name, stated.driver, description, datetime.date.today())
    contents |= {name: document for name, document in documents.items() if name not in kept}
    with unfinished_folder(folder) as unfinished:
        unfinished.write(contents)
        model = LoadedModel(unfinished.path, described)
        checks = check_first(model, module, progress)
        compared = compare(model) if compare else Compared()
        if compared.section and README in contents:
            contents[README] = documents[README] + compared.section.encode()
            unfinished.write({README: contents[README]})
        unfinished.publish(list(contents), removed=[name for name in _old_files(folder) if name not in contents])
    doubts = (*_doubts(model), *program.doubts, *checks.doubts)
    lines = (*checks.lines, *compared.lines)
    return WrittenModel(folder, tuple(contents), tuple(kept), _said(description), program.notes, lines, doubts)


def _said(description: ModelDescription) -> tuple[str, ...]:
    """Return how far energies reach: one layer is a default, with which a deeper network would be silently wrong."""
    if not description.has_layers:
        return ()
    layers, reach = description.n_layers, description.n_layers * description.cutoff
    return (f"layers: {layers}, so that an energy depends on particles up to {reach:g} Å away",)


def _contents(stated: Statement, description: ModelDescription, program: bytes) -> dict[str, bytes]:
    """Return the files that KIM hands to the driver, by name."""
    contents = {MODEL_TOML: model_toml_text(description).encode(), description.model_file: program}
    descriptor = stated.read_descriptor()
    if descriptor is not None:
        contents[descriptor.name] = descriptor.text.encode()
    return contents


def _old_files(folder: Path) -> list[str]:
    """Return the files of the model that is in a folder already."""
    try:
        return [name for name in files_of(folder) if is_plain_name(name)] if (folder / CMAKE_LISTS).exists() else []
    except DriverError:
        # Nothing can be said of what is there, so it stays.
        return []


def _doubts(model: LoadedModel) -> list[str]:
    sign = model.opened.sign_of_atomic_numbers
    if not sign:
        return []
    return [f"the model gets species codes (0, 1, ..), but may expect atomic numbers: {sign}; species_as says which"]
