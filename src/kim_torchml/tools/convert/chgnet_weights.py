# SPDX-License-Identifier: LGPL-2.1-or-later
"""Weights of CHGNet that its wheel holds: where they are, and how to cite them.

Source: the package chgnet 0.4.2, which states this in its licence, its description and the README of each folder.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Modified BSD with a paragraph on enhancements; the files say nothing of their own.
_LICENCE = "BSD-3-Clause-LBNL"
_AUTHORS = [
    *("Bowen Deng", "Peichen Zhong", "KyuJung Jun", "Janosh Riebesell", "Kevin Han", "Christopher J. Bartel"),
    "Gerbrand Ceder",
]
_CHGNET = {
    "authors": _AUTHORS,
    "doi": "10.1038/s42256-023-00716-3",
    "licence": _LICENCE,
    "trained_on": "MPtrj, GGA and GGA+U of the Materials Project",
}


@dataclass(frozen=True)
class PublishedWeights:
    """Weights in the wheel.

    Attributes:
        file: their path below the package's folder.
        about: title, authors, doi, licence and training set.
    """

    file: str
    about: Mapping[str, Any]


# By the package's own names.
PUBLISHED_CHGNET: dict[str, PublishedWeights] = {
    "0.3.0": PublishedWeights(
        "pretrained/0.3.0/chgnet_0.3.0_e29f68s314m37.pth.tar", {**_CHGNET, "title": "CHGNet 0.3.0"}
    ),
    "0.2.0": PublishedWeights(
        "pretrained/0.2.0/chgnet_0.2.0_e30f77s348m32.pth.tar", {**_CHGNET, "title": "CHGNet 0.2.0"}
    ),
    "r2scan": PublishedWeights(
        "pretrained/r2scan/chgnet_r2scan_transfer_learning_e15f36s161m23.pth.tar",
        {
            "title": "CHGNet r2SCAN",
            "authors": ["Xu Huang"],
            "licence": _LICENCE,
            "description": "CHGNet 0.3.0, trained further as in the article 'Cross-functional transferability in "
            "foundation machine learning interatomic potentials' (npj Computational Materials)",
            "trained_on": "MP-r2SCAN",
        },
    ),
}


def published_as(path: Path) -> PublishedWeights | None:
    """Return what is known of a file by its name; None where nothing is."""
    return next((each for each in PUBLISHED_CHGNET.values() if Path(each.file).name == path.name), None)
