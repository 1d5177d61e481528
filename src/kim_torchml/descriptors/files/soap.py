# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files of SOAP, in two layouts: KLIFF writes the head that all its files have, libdescriptor does not."""

from kim_torchml.descriptors.files.descriptor_file import DescriptorFile, Field, SpeciesAndCutoff, nearly_equal
from kim_torchml.descriptors.files.head import (
    check_cutoff,
    check_number_of_species,
    read_head,
    species_code,
)
from kim_torchml.descriptors.soap.descriptor import Soap, SoapParameters


def read_soap(file: DescriptorFile, model: SpeciesAndCutoff) -> Soap:
    """Read n_max, l_max, cutoff, radial basis and eta; columns are in the order of the model's species.

    The cutoffs in the head decide which neighbours count. SOAP's own cutoff is the range of the radial functions.

    Raises:
        DriverError: Naming file, line, what was expected and what was found.
    """
    ahead = file.peek()
    has_head = ahead is not None and not ahead.is_number()
    head = read_head(file, model) if has_head else None
    n_max = file.whole("n_max", file.value("n_max"), 1)
    l_max = file.whole("l_max", file.value("l_max"), 0)
    cutoff = file.value("cutoff")
    neighbour_cutoff = None
    if head:
        neighbour_cutoff = _one_cutoff(file, head.fields)
        basis, eta = file.value("radial_basis"), file.value("eta")
    else:
        check_cutoff(file, model, cutoff)
        eta, basis = file.value("eta"), file.value("radial_basis")
        _read_species(file, model)
    if basis.text.lower() != "polynomial":
        raise file.error("radial_basis", "polynomial", basis, "refit the model with it: there is no other")
    numbers = {"cutoff": file.positive("cutoff", cutoff), "eta": file.positive("eta", eta)}
    with file.named_in_errors():
        return Soap(
            SoapParameters(
                n_max,
                l_max,
                radial_basis="polynomial",
                species=model.species,
                neighbour_cutoff=neighbour_cutoff,
                **numbers,
            )
        )


def _one_cutoff(file: DescriptorFile, pairs: tuple[tuple[Field, ...], ...]) -> float:
    """Return the cutoff that all pairs of species share, which KLIFF made its neighbour lists with."""
    first, *others = sorted((field for row in pairs for field in row), key=lambda field: field.line)
    for other in others:
        if not nearly_equal(float(other.text), float(first.text)):
            raise file.error(
                "cutoff",
                f"{first.text} as on line {first.line}, SOAP having one for all pairs of species",
                other,
                "correct it, or refit the model with one cutoff",
            )
    return max(float(field.text) for field in (first, *others))


def _read_species(file: DescriptorFile, model: SpeciesAndCutoff) -> None:
    """Read the number of species and their symbols, on the same line or on further ones."""
    count, *symbols = file.line("number of species")
    check_number_of_species(file, model, count)
    while len(symbols) < len(model.species):
        symbols += file.line("species")
    codes = [species_code(file, model, symbol) for symbol in symbols]
    if len(set(codes)) < len(codes):
        raise file.error("species", "different from each other", symbols[-1], "name each species once")
