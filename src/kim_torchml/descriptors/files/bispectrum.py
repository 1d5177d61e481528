# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files of the bispectrum, as KLIFF writes them: the head, then one value after the other."""

from kim_torchml.descriptors.bispectrum.descriptor import LARGEST_TWOJMAX, Bispectrum, BispectrumParameters
from kim_torchml.descriptors.files.descriptor_file import DescriptorFile, SpeciesAndCutoff
from kim_torchml.descriptors.files.head import read_head


def read_bispectrum(file: DescriptorFile, model: SpeciesAndCutoff) -> Bispectrum:
    """Read jmax, rfac0, diagonalstyle, rmin0, the two flags and a weight for each species, in the file's order.

    Raises:
        DriverError: Naming file, line, what was expected and what was found.
    """
    head = read_head(file, model)
    jmax = file.value("jmax")
    twojmax = 2.0 * file.number("jmax", jmax)
    if not 0.0 <= twojmax <= LARGEST_TWOJMAX or twojmax != int(twojmax):
        expected = f"0, 0.5, 1, 1.5 or so on up to {LARGEST_TWOJMAX / 2:g}"
        raise file.error("jmax", expected, jmax, "correct the jmax, or refit with less")
    rfac0 = file.positive("rfac0", file.value("rfac0"))
    style = file.value("diagonalstyle")
    diagonalstyle = file.whole("diagonalstyle", style, 0)
    if diagonalstyle > 3:
        raise file.error("diagonalstyle", "0, 1, 2 or 3", style, "correct the diagonalstyle")
    least = file.value("rmin0")
    rmin0 = file.number("rmin0", least)
    smallest = min(min(row) for row in head.cutoffs)
    if rmin0 >= smallest:
        raise file.error("rmin0", f"less than the smallest cutoff, {smallest:g} Å", least, "correct one of the two")
    switch_flag = file.flag("switch_flag", file.value("switch_flag"))
    bzero_flag = file.flag("bzero_flag", file.value("bzero_flag"))
    weights = [file.number("weights", field) for field in file.row("weights", len(model.species))]
    with file.named_in_errors():
        parameters = BispectrumParameters(
            twojmax=int(twojmax),
            rfac0=rfac0,
            rmin0=rmin0,
            diagonalstyle=diagonalstyle,
            switch_flag=int(switch_flag),
            bzero_flag=int(bzero_flag),
            weights=tuple(weights[head.order.index(code)] for code in range(len(model.species))),
            cutoffs=head.cutoffs,
        )
        return Bispectrum(parameters, model.species)
