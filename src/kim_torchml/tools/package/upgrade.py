# SPDX-License-Identifier: LGPL-2.1-or-later
"""From a folder of the published format, with a parameter file, to one with a model.toml: `kim-torchml upgrade`."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from kim_torchml.driver.parameters import ATTRIBUTE
from kim_torchml.engines.facts import type_word
from kim_torchml.errors import DriverError
from kim_torchml.evaluation.returned_values import EnergyLayout
from kim_torchml.inputs import FILE_FORMATS
from kim_torchml.model_files.model_toml import FORMAT, MODEL_TOML, SPECIES_AS, parse_model_toml
from kim_torchml.model_files.model_toml_text import model_toml_text
from kim_torchml.model_files.parameter_file import ElementsMap
from kim_torchml.model_files.store import digest_of
from kim_torchml.process import settings
from kim_torchml.tools.kim_collections.cmake_lists import CMAKE_LISTS, read_cmake_lists, with_other_parameter_file
from kim_torchml.tools.late_progress import LateProgress
from kim_torchml.tools.model_check.listed_files import files_of
from kim_torchml.tools.model_check.loaded_model import LoadedModel
from kim_torchml.tools.model_check.trial import Trial
from kim_torchml.tools.package.documents import read_document
from kim_torchml.tools.package.unfinished_folder import check_free, unfinished_folder

_ATOMIC_NUMBERS = "--species-as 'atomic numbers'"
# Files that belong to a model although KIM does not hand them to the driver.
_DOCUMENTS = ("kimspec.edn", "README*", "LICENSE*", "LICENCE*", "COPYING*")


@dataclass(frozen=True)
class Upgrade:
    """What was done with a folder; its text says it.

    Attributes:
        folder: the folder that has a model.toml now.
        old: name of the parameter file; None where there was none, as the folder had a model.toml already.
        n_particles: for how many particles energies and forces were compared, bit by bit.
        n_parameters: number of KIM parameters that can be set, before and after.
    """

    folder: Path
    old: str | None
    n_particles: int = 0
    n_parameters: int = 0

    def __str__(self) -> str:
        if self.old is None:
            return f"{self.folder} has a {MODEL_TOML} (format {FORMAT}) already: nothing to do"
        return (
            f"{self.folder} has the format {FORMAT} now: {MODEL_TOML} takes the place of {self.old}; energies and "
            f"forces of {self.n_particles} particles have the same bits as before, and its {self.n_parameters} KIM "
            "parameters the same values"
        )


def upgrade_folder(folder: Path, species_as: str | None, output: Path | None, progress: LateProgress) -> Upgrade:
    """Write a model.toml in place of a folder's parameter file.

    Args:
        folder: The folder; it changes only if the new files give the same bits as the old ones.
        species_as: What the model gets as species, which a parameter file does not say: "codes" or "atomic numbers";
            None for what KIM_MODEL_ELEMENTS_MAP says.
        output: Where to write the upgraded model instead, new or empty; None for the folder itself.
        progress: What to tell how far this is.
    Returns:
        What was done.
    Raises:
        RequestError: If there is no model in the folder, or the other one is taken.
        DriverError: If the model cannot be opened, does not give the same, or may expect atomic numbers and nobody has
            said what it gets; then the folder is as it was.
    """
    progress("opening the model", 0.0)
    if output is not None:
        check_free(output, replace=False, how="")
    names = files_of(folder)
    old = LoadedModel(folder, names, _elements_map(species_as))
    if old.description.format == FORMAT:
        return Upgrade(folder, None)
    _check_species(old, species_as)
    if (folder / MODEL_TOML).exists():
        raise DriverError(
            f"the folder {folder} must have no {MODEL_TOML} beside {old.description.file_name}, got one that its "
            f"{CMAKE_LISTS} does not list; remove one of the two"
        )
    contents = _contents(old)
    listed = [*contents]
    contents |= _documents(folder, old.description.file_name, with_others=output is not None)
    with unfinished_folder(output or folder) as unfinished:
        unfinished.write(contents)
        progress("opening the upgraded model", 0.3)
        new = LoadedModel(unfinished.path, listed)
        progress("comparing the two", 0.6)
        n_particles = _compare(old, new)
        if output is None:
            changed = [name for name in (MODEL_TOML, CMAKE_LISTS) if name in contents]
            unfinished.publish(changed, removed=[old.description.file_name])
        else:
            unfinished.publish(list(contents))
    n_parameters = sum(each.tensor is not None for each in new.opened.parameters())
    return Upgrade(output or folder, old.description.file_name, n_particles, n_parameters)


def _elements_map(species_as: str | None) -> ElementsMap | None:
    """Return what to put in place of the environment's word; None where nobody has said anything else."""
    return None if species_as is None else ElementsMap(SPECIES_AS[species_as], settings.ELEMENTS_MAP)


def _check_species(model: LoadedModel, species_as: str | None) -> None:
    """Check that it is known what a model gets as species.

    Raises:
        DriverError: If it is not, or if a descriptor would get atomic numbers.
    """
    said = model.description
    if said.descriptor is not None and species_as is not None and SPECIES_AS[species_as]:
        raise DriverError(
            f"`species_as` must be codes for the kind {said.kind.lower()}, got {species_as}; descriptors tell elements "
            "by their codes"
        )
    sign = model.opened.sign_of_atomic_numbers
    if species_as is None and sign:
        raise DriverError(
            f"{said.file_name} must say what the model in {said.model_file} gets as species, got nothing, and it may "
            f"expect atomic numbers: {sign}; say --species-as codes, or {_ATOMIC_NUMBERS}"
        )


def _contents(model: LoadedModel) -> dict[str, bytes]:
    """Return the files that KIM is to hand to the driver, by name, in the old order."""
    files, said = model.opened.files, model.description
    description = replace(
        said,
        file_name=MODEL_TOML,
        format=FORMAT,
        dtype=type_word(model.dtype),
        # The species of descriptors are codes whatever the environment says.
        atomic_numbers=said.atomic_numbers and said.descriptor is None,
        energy_per_particle=model.layout is not EnergyLayout.TOTAL,
        descriptor_file=None if files.descriptor is None else files.descriptor.name,
        parameters=published_parameters(model),
        sha256=digest_of(files.program),
    )
    text = model_toml_text(description).encode()
    # What cannot be said in a model.toml is found here, in words about that file.
    parse_model_toml(text, MODEL_TOML, FILE_FORMATS)
    return dict((MODEL_TOML, text) if name == said.file_name else (name, content) for name, content in files.contents)


def published_parameters(model: LoadedModel) -> dict[str, str]:
    """Return descriptions of the tensors that are KIM parameters today, by dotted name, in their order."""
    attribute = model.opened.program.attribute(ATTRIBUTE)
    texts = attribute if isinstance(attribute, dict) else {}
    tensors = [each.tensor for each in model.opened.parameters() if each.tensor is not None]
    return {tensor: texts.get(tensor, "") for tensor in tensors}


def _documents(folder: Path, old_name: str, with_others: bool) -> dict[str, bytes]:
    """Return CMakeLists.txt as it is to be and, where they are wanted, the documents of a model.

    The new folder is complete and stands alone. So a document that cannot be copied, or is a link that leaves the
    folder, is an error: to leave it out could lose a licence unseen, and to follow the link could publish a file that
    belongs to somebody else. Folders with such names are no documents.

    Raises:
        DriverError: If one of them cannot be read, is too large, a link that leaves the folder, a pipe or a device.
    """
    found: dict[str, bytes] = {}
    if os.path.lexists(folder / CMAKE_LISTS):
        text = read_cmake_lists(folder)
        found[CMAKE_LISTS] = with_other_parameter_file(text, old_name, MODEL_TOML, folder / CMAKE_LISTS).encode()
    if not with_others:
        return found
    names = [path.name for pattern in _DOCUMENTS for path in sorted(folder.glob(pattern)) if not path.is_dir()]
    return found | {name: read_document(folder, name) for name in names}


def _compare(old: LoadedModel, new: LoadedModel) -> int:
    """Return for how many particles both give the same bits.

    Raises:
        DriverError: If they do not, or if KIM parameters differ.
    """
    structures = Trial(old).structures
    particles = old.particles(structures.wire())
    try:
        given, expected = new.compute(particles), old.compute(particles)
    except DriverError as error:
        if not old.inputs.gives_species_codes:
            raise
        raise DriverError(f"{error}; if it was trained on atomic numbers, say {_ATOMIC_NUMBERS}") from error
    same = given.energy == expected.energy and _equal(given.energies, expected.energies)
    if not same or not _equal(given.forces, expected.forces):
        raise DriverError(
            f"the energies and forces of {new.description.model_file} with {MODEL_TOML} must be those with "
            f"{old.description.file_name}, got others; the folder stays as it was"
        )
    check_same_parameters(old, new, "the folder stays as it was")
    return len(particles)


def check_same_parameters(old: LoadedModel, new: LoadedModel, otherwise: str) -> None:
    """Check that two models have the same KIM parameters, with the same values.

    Args:
        old: The model of a parameter file.
        new: That of the model.toml that was written of it.
        otherwise: What becomes of the folder if they do not, for the message.
    Raises:
        DriverError: If they do not.
    """
    before, after = (
        [(each.name, each.description, each.tensor, each.values.tolist()) for each in model.opened.parameters()]
        for model in (old, new)
    )
    if repr(before) != repr(after):
        raise DriverError(
            f"the KIM parameters of {new.description.model_file} with {MODEL_TOML} must be those with "
            f"{old.description.file_name}, got others; {otherwise}"
        )


def _equal(found: np.ndarray | None, expected: np.ndarray | None) -> bool:
    return found is expected if found is None or expected is None else np.array_equal(found, expected)
