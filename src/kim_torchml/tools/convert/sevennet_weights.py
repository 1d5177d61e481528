# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checkpoints of SevenNet that its authors have published: where they are, and how to cite them.

Source: the package sevenn 0.13.0 (names and files), and its documentation (data sets, papers).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_RELEASES = "the release {tag} of github.com/MDIL-SNU/SevenNet"
# The repository's licence; the files say nothing of their own.
_LICENCE = "MIT"
_SEVENNET = {
    "authors": ["Yutack Park", "Jaesun Kim", "Seungwoo Hwang", "Seungwu Han"],
    "doi": "10.1021/acs.jctc.4c00190",
    "licence": _LICENCE,
}
_SEVERAL = {
    "authors": ["Jaesun Kim", "Jisu Kim", "Jaehoon Kim", "Jiho Lee", "Yutack Park", "Youngho Kang", "Seungwu Han"],
    "doi": "10.1021/jacs.4c14455",
    "licence": _LICENCE,
}
_OMNI = {"doi": "10.1038/s41467-026-70195-8", "licence": _LICENCE}
_SETS = "15 open data sets; each modality is of one level of theory"


@dataclass(frozen=True)
class Published:
    """A published checkpoint.

    Attributes:
        file: its path below the package's folder of checkpoints.
        about: title, authors, doi, licence and training set.
        fetched_from: who publishes the file where no wheel holds it; else empty.
    """

    file: str
    about: Mapping[str, Any]
    fetched_from: str = ""

    def is_file(self, path: Path) -> bool:
        """Return whether a path is that of the checkpoint: two of the wheel have one name, in two folders."""
        own = Path(self.file).parts
        return path.name == own[-1] if self.fetched_from else path.parts[-2:] == own


def _released(folder: str, file: str, tag: str, about: Mapping[str, Any]) -> Published:
    return Published(f"{folder}/{file}", about, _RELEASES.format(tag=tag))


# By the names that the package has for them, in small letters and with its shorter prefix.
PUBLISHED: dict[str, Published] = {
    "7net-0": Published(
        "SevenNet_0__11Jul2024/checkpoint_sevennet_0.pth",
        {**_SEVENNET, "title": "SevenNet-0 (11 July 2024)", "trained_on": "MPtrj, PBE(+U)"},
    ),
    "7net-0_22may2024": Published(
        "SevenNet_0__22May2024/checkpoint_sevennet_0.pth",
        {**_SEVENNET, "title": "SevenNet-0 (22 May 2024)", "trained_on": "MPF.2021.2.8 of M3GNet, PBE(+U)"},
    ),
    "7net-l3i5": Published(
        "SevenNet_l3i5/checkpoint_l3i5.pth", {**_SEVENNET, "title": "SevenNet-l3i5", "trained_on": "MPtrj, PBE(+U)"}
    ),
    "7net-mf-0": Published(
        "SevenNet_MF_0/checkpoint_sevennet_mf_0.pth",
        {**_SEVERAL, "title": "SevenNet-MF-0", "trained_on": "Materials Project, PBE(+U) and r2SCAN"},
    ),
    "7net-mf-ompa": _released(
        "SevenNet_MF_ompa",
        "checkpoint_sevennet_mf_ompa.pth",
        "v0.11.0.cp",
        {**_SEVERAL, "title": "SevenNet-MF-ompa", "trained_on": "MPtrj, sAlex and OMat24, PBE(+U)"},
    ),
    "7net-omat": _released(
        "SevenNet_omat",
        "checkpoint_sevennet_omat.pth",
        "v0.11.0.cp",
        {**_SEVENNET, "title": "SevenNet-omat", "trained_on": "OMat24, PBE(+U)"},
    ),
    "7net-omni": _released(
        "SevenNet_omni",
        "checkpoint_sevennet_omni.pth",
        "v0.12.0.cp",
        {**_OMNI, "title": "SevenNet-Omni", "trained_on": _SETS},
    ),
    "7net-omni-i8": _released(
        "SevenNet_omni_i8",
        "checkpoint_sevennet_omni_i8.pth",
        "v0.12.1.cp",
        {**_OMNI, "title": "SevenNet-Omni-i8", "trained_on": _SETS},
    ),
    "7net-omni-i12": _released(
        "SevenNet_omni_i12",
        "checkpoint_sevennet_omni_i12.pth",
        "v0.12.1.cp",
        {**_OMNI, "title": "SevenNet-Omni-i12", "trained_on": _SETS},
    ),
}


def published_name(source: str) -> str | None:
    """Return the name in PUBLISHED that a user means; None where it is none."""
    name = source.lower().replace("sevennet-", "7net-", 1)
    for date in ("_11jul2024", "_11july2024"):
        name = name.removesuffix(date)
    return name if name in PUBLISHED else None


def published_as(path: Path) -> Published | None:
    """Return what is known of a checkpoint by where it lies; None where nothing is."""
    return next((each for each in PUBLISHED.values() if each.is_file(path)), None)
