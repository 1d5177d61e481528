# SPDX-License-Identifier: LGPL-2.1-or-later
"""Descriptors of a particle's surroundings: a folder for each, registered here under its name in model files."""

from collections.abc import Callable, Sequence
from typing import Any

from kim_torchml.descriptors.base import Descriptor, Neighbourhoods
from kim_torchml.descriptors.files.bispectrum import read_bispectrum
from kim_torchml.descriptors.files.descriptor_file import DescriptorFile, SpeciesAndCutoff
from kim_torchml.descriptors.files.normalisation import read_normalisation
from kim_torchml.descriptors.files.soap import read_soap
from kim_torchml.descriptors.files.symmetry_functions import read_symmetry_functions
from kim_torchml.descriptors.normalisation import Normalisation
from kim_torchml.errors import DriverError
from kim_torchml.model_files.plain_text import quoted

# Each function reads the part of a file that describes its descriptor, and returns the descriptor.
READERS: dict[str, Callable[[DescriptorFile, SpeciesAndCutoff], Descriptor[Any]]] = {
    "SymmetryFunctions": read_symmetry_functions,
    "Bispectrum": read_bispectrum,
    "SOAP": read_soap,
}


def read_descriptor(
    content: str,
    file_name: str,
    name: str,
    species: Sequence[str],
    cutoff: float,
    source: str = "the parameter file",
) -> tuple[Descriptor[Any], Normalisation | None]:
    """Read a descriptor's file.

    Args:
        content: The file's text.
        file_name: Name of the file, for errors.
        name: The descriptor's name as the model gives it, in any case.
        species: Element symbols of the model; the index is the species code.
        cutoff: Cutoff of the model, Å.
        source: File that says these three, for errors.
    Returns:
        The descriptor, and the normalisation of its values, None if they are not normalised.
    Raises:
        DriverError: If there is no such descriptor, or the file contradicts itself or the model.
    """
    readers = {known.lower(): read for known, read in READERS.items()}
    if name.lower() not in readers:
        raise DriverError(
            f"`descriptor` must be one that this version computes ({', '.join(READERS)}), got {quoted(name)}; correct "
            f"the name in {source}, or update the driver when a version with it is out"
        )
    file = DescriptorFile(content, file_name)
    descriptor = readers[name.lower()](file, SpeciesAndCutoff(tuple(species), cutoff, source))
    normalisation = read_normalisation(file, descriptor.width)
    file.expect_end()
    return descriptor, normalisation


__all__ = ["READERS", "Descriptor", "Neighbourhoods", "Normalisation", "read_descriptor"]
