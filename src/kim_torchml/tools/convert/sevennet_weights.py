# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checkpoints of SevenNet that its authors have published: where they are, and how to cite them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Published:
    """A published checkpoint.

    Attributes:
        file: its path below the package's folder of checkpoints.
        about: title, authors, doi, licence and training set.
        fetched_from: who publishes the file where no wheel holds it; else empty.
    """

    file: str
    about: Mapping[str, Any] = field(default_factory=dict)
    fetched_from: str = ""


PUBLISHED: dict[str, Published] = {
    "7net-0": Published("SevenNet_0__11Jul2024/checkpoint_sevennet_0.pth", {"title": "SevenNet-0"}),
    "7net-l3i5": Published("SevenNet_l3i5/checkpoint_l3i5.pth", {"title": "SevenNet-l3i5"}),
    "7net-mf-0": Published("SevenNet_MF_0/checkpoint_sevennet_mf_0.pth", {"title": "SevenNet-MF-0"}),
}


def published_as(path: Path) -> Published | None:
    """Return what is known of a checkpoint by its file's name; None where nothing is."""
    return next((each for each in PUBLISHED.values() if Path(each.file).name == path.name), None)
