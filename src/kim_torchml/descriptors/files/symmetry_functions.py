# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files of symmetry functions, as KLIFF writes them: the head, then each family of functions with its numbers."""

from kim_torchml.descriptors.files.descriptor_file import DescriptorFile, Field, SpeciesAndCutoff
from kim_torchml.descriptors.files.head import read_head
from kim_torchml.descriptors.symmetry_functions.descriptor import NUMBERS, SymmetryFunctionParameters, SymmetryFunctions

Function = tuple[str, tuple[float, ...]]


def read_symmetry_functions(file: DescriptorFile, model: SpeciesAndCutoff) -> SymmetryFunctions:
    """Read symmetry functions; columns are in the order of the file.

    Raises:
        DriverError: Naming file, line, what was expected and what was found.
    """
    head = read_head(file, model)
    what = "number of symmetry function types"
    functions: list[Function] = []
    for _ in range(file.whole(what, file.value(what), 1)):
        functions += _read_family(file)
    with file.named_in_errors():
        return SymmetryFunctions(SymmetryFunctionParameters(model.species, head.cutoffs, tuple(functions)))


def _read_family(file: DescriptorFile) -> list[Function]:
    name, *sizes = file.line("symmetry function type")
    family = name.text.lower()
    if family not in NUMBERS:
        raise file.error(
            "symmetry function type",
            f"one of {', '.join(NUMBERS)}",
            name,
            "correct the type, or a number of lines above it",
        )
    numbers = NUMBERS[family]
    if family == "g1" and not sizes:
        return [(family, ())]
    if len(sizes) != 2:
        raise file.error(family, "followed by its rows and columns", name, "write them on the same line")
    n_rows = file.whole(f"{family} rows", sizes[0], 1)
    if family == "g1" and n_rows != 1:
        raise file.error("g1 rows", "1, there being but one g1 for each cutoff", sizes[0], "write g1 once")
    n_columns = file.whole(f"{family} columns", sizes[1], 0)
    # Some programs write a column for g1, with a number that has no meaning.
    if n_columns != len(numbers) and (family != "g1" or n_columns != 1):
        expected = f"{len(numbers)} ({', '.join(numbers) or 'no numbers'})"
        raise file.error(f"{family} columns", expected, sizes[1], "correct the number of columns")
    functions: list[Function] = []
    for _ in range(n_rows):
        row = _read_row(file, family, sizes[0], n_columns)
        values = tuple(file.number(number, field) for number, field in zip(numbers, row, strict=False))
        if numbers[:1] == ("zeta",):
            file.positive("zeta", row[0])
        if "eta" in numbers:
            file.not_negative("eta", row[numbers.index("eta")])
        functions.append((family, values))
    return functions


def _read_row(file: DescriptorFile, family: str, n_rows: Field, n_columns: int) -> list[Field]:
    if n_columns == 0:
        return []
    ahead = file.peek()
    if ahead is not None and ahead.text.lower() in (*NUMBERS, "center_and_normalize"):
        rows = "1 row" if int(n_rows.text) == 1 else f"{n_rows.text} rows"
        expected = f"{rows} of numbers, as line {n_rows.line} says"
        raise file.error(family, expected, ahead, "correct the number, or add rows")
    return file.row(f"{family} row", n_columns)
