# SPDX-License-Identifier: LGPL-2.1-or-later
"""The beginning of a descriptor file: the type of cutoff, the species, and a cutoff for each pair of species."""

from dataclasses import dataclass

from kim_torchml.descriptors.files.descriptor_file import DescriptorFile, Field, SpeciesAndCutoff, nearly_equal


@dataclass(frozen=True)
class Head:
    """The beginning of a descriptor's file.

    Attributes:
        cutoffs: Cutoffs of pairs of species, [n_species][n_species], symmetric, Å.
        fields: Fields of the file that hold the cutoffs, [n_species][n_species].
        order: Species codes in the order in which the file names the species.
    """

    cutoffs: tuple[tuple[float, ...], ...]
    fields: tuple[tuple[Field, ...], ...]
    order: tuple[int, ...]


def read_head(file: DescriptorFile, model: SpeciesAndCutoff) -> Head:
    """Read the beginning of a file, which may give a pair of species once or in both orders.

    Raises:
        DriverError: If pairs are missing, or contradict each other or the model.
    """
    kind = file.value("cutoff type")
    if kind.text.lower() != "cos":
        raise file.error("cutoff type", "cos, the cosine cutoff", kind, "refit the model with it: there is no other")
    check_number_of_species(file, model, file.value("number of species"))
    found: dict[tuple[int, int], Field] = {}
    order: list[int] = []
    while (ahead := file.peek()) is not None and not ahead.is_number():
        first_symbol, second_symbol, cutoff = file.row("species pair", 3)
        first, second = species_code(file, model, first_symbol), species_code(file, model, second_symbol)
        for pair in ((first, second), (second, first)):
            before = found.setdefault(pair, cutoff)
            if not nearly_equal(file.positive("cutoff", cutoff), file.number("cutoff", before)):
                raise file.error(
                    "cutoff", f"{before.text} as on line {before.line}", cutoff, "give both orders of a pair one cutoff"
                )
        order += [code for code in dict.fromkeys((first, second)) if code not in order]
    _check_complete(file, model, found)
    codes = range(len(model.species))
    fields = tuple(tuple(found[i, j] for j in codes) for i in codes)
    cutoffs = tuple(tuple(float(field.text) for field in row) for row in fields)
    check_cutoff(file, model, max(found.values(), key=lambda field: float(field.text)))
    return Head(cutoffs, fields, tuple(order))


def _check_complete(file: DescriptorFile, model: SpeciesAndCutoff, found: dict[tuple[int, int], Field]) -> None:
    for i, first in enumerate(model.species):
        for j, second in enumerate(model.species):
            if (i, j) not in found:
                ahead = file.line(f"species pair {first} {second}")[0]
                raise file.error(
                    "species pair", f"{first} {second} and their cutoff, which is missing", ahead, "add the line"
                )


def check_number_of_species(file: DescriptorFile, model: SpeciesAndCutoff, field: Field) -> None:
    """Check that the number of species is that of the model."""
    if file.whole("number of species", field, 1) != len(model.species):
        raise file.error(
            "number of species",
            f"{len(model.species)}, as in {model.source} ({' '.join(model.species)})",
            field,
            "correct that of the two files that is wrong",
        )


def species_code(file: DescriptorFile, model: SpeciesAndCutoff, symbol: Field) -> int:
    """Return the code of a species in the model."""
    if symbol.text not in model.species:
        raise file.error(
            "species",
            f"one of {model.source}'s, {' '.join(model.species)}",
            symbol,
            "correct that of the two files that is wrong",
        )
    return model.species.index(symbol.text)


def check_cutoff(file: DescriptorFile, model: SpeciesAndCutoff, cutoff: Field) -> None:
    """Check that the largest cutoff is that of the model."""
    if not nearly_equal(file.positive("cutoff", cutoff), model.cutoff):
        raise file.error(
            "cutoff",
            f"{model.cutoff:g} Å, {model.source}'s, where it is largest",
            cutoff,
            "correct that of the two files that is wrong",
        )
