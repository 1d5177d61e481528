# SPDX-License-Identifier: LGPL-2.1-or-later
"""The end of a descriptor file, which says whether values are normalised, and with which means and deviations."""

import torch

from kim_torchml.descriptors.files.descriptor_file import DescriptorFile, Field
from kim_torchml.descriptors.normalisation import Normalisation


def read_normalisation(file: DescriptorFile, width: int) -> Normalisation | None:
    """Read the rest of a file.

    Args:
        file: File of which all other lines have been taken.
        width: Number of columns of the descriptor.
    Returns:
        The normalisation; None if the file asks for none, or for one that changes nothing.
    Raises:
        DriverError: Naming file, line, what was expected and what was found.
    """
    if file.at_end():
        return None
    what = "center_and_normalize"
    name, *flag = file.line(what)
    if name.text.lower() != what or len(flag) != 1:
        found = Field(" ".join(field.text for field in (name, *flag)), name.line)
        raise file.error(
            what, f"here, with True or False, after {width} columns", found, "correct a number of lines above"
        )
    if not file.flag(what, flag[0]):
        return None
    size = file.value("descriptor size")
    if file.whole("descriptor size", size, 1) != width:
        raise file.error("descriptor size", f"{width}, as the lines above make it", size, "correct one of the two")
    mean_fields, deviation_fields = _divide(file, size, _take_numbers(file), width)
    means = [file.number("mean", field) for field in mean_fields]
    deviations = [file.positive("standard deviation", field) for field in deviation_fields]
    if set(means) == {0.0} and set(deviations) == {1.0}:
        return None
    mean, deviation = (torch.tensor(each, dtype=torch.float64, device="cpu") for each in (means, deviations))
    return Normalisation(mean.expand(width), deviation.expand(width))


def _take_numbers(file: DescriptorFile) -> list[Field]:
    fields: list[Field] = []
    while not file.at_end():
        fields += file.line("mean")
    return fields


def _divide(file: DescriptorFile, size: Field, fields: list[Field], width: int) -> tuple[list[Field], list[Field]]:
    """Divide numbers into means and standard deviations; a single mean or deviation may stand for all columns."""
    if len(fields) in (2, 2 * width):
        half = len(fields) // 2
        return fields[:half], fields[half:]
    if len(fields) == width + 1:
        # A blank line separates the single number from the others. A comment alone does not: it may be any remark.
        after_first = file.are_apart(fields[0], fields[1])
        before_last = file.are_apart(fields[-2], fields[-1])
        if after_first != before_last:
            n_means = 1 if after_first else width
            return fields[:n_means], fields[n_means:]
    found = Field(f"{len(fields)} numbers", fields[0].line if fields else size.line)
    raise file.error(
        "mean and standard deviation",
        f"{width} numbers each, or one that stands for all",
        found,
        "correct the numbers; a blank line sets the means apart from the standard deviations",
    )
