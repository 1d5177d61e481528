# SPDX-License-Identifier: LGPL-2.1-or-later
"""A folder of the published format 1 as one of format 2: the same model file, and all that was left to be found out."""

from kim_torchml.engines.facts import type_word
from kim_torchml.evaluation.returned_values import EnergyLayout
from kim_torchml.model_files.model_toml import ENERGY, SPECIES_AS
from kim_torchml.tools.convert.family import ExportedFolder
from kim_torchml.tools.package.program_file import ProgramFile
from kim_torchml.tools.package.statement import Statement
from kim_torchml.tools.package.upgrade import published_parameters
from kim_torchml.tools.package.wording import SCRIPT_FILE


def statement_of_folder(source: ExportedFolder, name: str) -> Statement:
    """Return what a model.toml is to say of the model of a folder.

    Args:
        source: The folder.
        name: KIM id of the model that is written.
    """
    model, said = source.model, source.model.description
    descriptor = model.opened.files.descriptor
    is_of_particles = model.layout is not EnergyLayout.TOTAL
    return Statement(
        name, said.kind, said.species, said.cutoff, said.n_layers,
        species_as=_word(SPECIES_AS, said.atomic_numbers),
        energy=_word(ENERGY, is_of_particles),
        dtype=type_word(model.dtype),
        returns_forces=said.returns_forces,
        descriptor=said.descriptor,
        descriptor_file=None if descriptor is None else source.folder / descriptor.name,
        parameters=published_parameters(model),
        about=source.about,
        made_with=source.made_with,
    )  # fmt: skip


def program_of_folder(source: ExportedFolder) -> ProgramFile:
    """Return the model file of a folder, as it is."""
    return ProgramFile(SCRIPT_FILE, source.model.opened.files.program)


def _word(words: dict[str, bool], value: bool) -> str:
    return next(word for word, each in words.items() if each == value)
