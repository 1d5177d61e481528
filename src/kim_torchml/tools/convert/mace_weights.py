# SPDX-License-Identifier: LGPL-2.1-or-later
"""Networks of MACE that their authors have published: where they are, and how to cite them. No wheel holds them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_RELEASES = "the release {} of github.com/ACEsuit/mace-foundations"
_MIT, _ASL = "MIT", "ASL (Academic Software License: no commercial use; github.com/gabor1/ASL)"
_MP_AUTHORS = (
    "Ilyes Batatia",
    "Philipp Benner",
    "Yuan Chiang",
    "Alin M. Elena",
    "Dávid P. Kovács",
    "Janosh Riebesell",
    "and others (arXiv 2401.00096)",
)
_OFF_AUTHORS = (
    "Dávid Péter Kovács",
    "J. Harry Moore",
    "Nicholas J. Browning",
    "Ilyes Batatia",
    "Joshua T. Horton",
    "Venkat Kapil",
    "William C. Witt",
    "Ioan-Bogdan Magdău",
    "Daniel J. Cole",
    "Gábor Csányi",
)
_CC_AUTHORS = ("Dávid Péter Kovács", "Ilyes Batatia", "Eszter Sára Arany", "Gábor Csányi")
_MP_DOI, _MH_DOI = "10.48550/arXiv.2401.00096", "10.48550/arXiv.2510.25380"
_MPTRJ = "MPtrj, PBE and PBE+U"
_MPA = "MPtrj and subsampled Alexandria, PBE and PBE+U"
_OMAT = "OMat24, PBE and PBE+U (pseudopotentials VASP 54)"
_SPICE = "SPICE 1 and others (doi 10.17863/CAM.107498), ωB97M-D3(BJ)"
_MIXED = "OMat24, OMol25, OC20, MatPES and others: a head each, with its own level of theory"


@dataclass(frozen=True)
class PublishedMace:
    """A published network.

    Attributes:
        file: the name of its file.
        fetched_from: who publishes it.
        about: title, authors, doi, licence and training set.
        beyond: what it needs beside species and edges, so that it cannot be converted; else empty.
    """

    file: str
    fetched_from: str
    about: Mapping[str, Any]
    beyond: str = ""

    @property
    def licence(self) -> str:
        """The licence of the weights; empty where it is not known."""
        return str(self.about.get("licence", ""))


def _materials(title: str, tag: str, file: str, trained_on: str, licence: str = _MIT) -> PublishedMace:
    about = {
        "title": title, "authors": _MP_AUTHORS, "doi": _MP_DOI, "licence": licence, "trained_on": trained_on,
    }  # fmt: skip
    return PublishedMace(file, _RELEASES.format(tag), about)


def _several_heads(title: str, file: str) -> PublishedMace:
    about = {"title": title, "doi": _MH_DOI, "licence": _ASL, "trained_on": _MIXED}
    return PublishedMace(file, _RELEASES.format("mace_mh_1"), about)


def _organic(size: str) -> PublishedMace:
    about = {
        "title": f"MACE-OFF23 {size}", "authors": _OFF_AUTHORS, "doi": "10.1021/jacs.4c07099", "licence": _ASL,
        "trained_on": _SPICE,
    }  # fmt: skip
    folder = "the folder mace_off23 of github.com/ACEsuit/mace-off"
    return PublishedMace(f"MACE-OFF23_{size}.model", folder, about)


def _charged(title: str, tag: str, file: str, beyond: str) -> PublishedMace:
    return PublishedMace(file, _RELEASES.format(tag), {"title": title}, beyond)


_LONG_RANGE = "charges, spin and the electrostatics of all atoms"
_OLD = "mace_mp_0"
_ANI_CC = PublishedMace(
    "ani500k_large_CC.model",
    "the folder mace/calculators/foundations_models of github.com/ACEsuit/mace",
    {
        "title": "MACE for ANI-1ccx",
        "authors": _CC_AUTHORS,
        "doi": "10.1063/5.0155322",
        "licence": _MIT,
        "trained_on": "500,000 configurations of ANI-1x, coupled cluster",
    },
)

# By the names that mace_mp takes and, with a word before them, those of mace_off, mace_anicc, mace_omol and mace_polar.
PUBLISHED_MACE: dict[str, PublishedMace] = {
    "small": _materials("MACE-MP-0 small", _OLD, "2023-12-10-mace-128-L0_energy_epoch-249.model", _MPTRJ),
    "medium": _materials("MACE-MP-0 medium", _OLD, "2023-12-03-mace-128-L1_epoch-199.model", _MPTRJ),
    "large": _materials("MACE-MP-0 large", _OLD, "MACE_MPtrj_2022.9.model", _MPTRJ),
    "small-0b": _materials("MACE-MP-0b small", "mace_mp_0b", "mace_agnesi_small.model", _MPTRJ),
    "medium-0b": _materials("MACE-MP-0b medium", "mace_mp_0b", "mace_agnesi_medium.model", _MPTRJ),
    **{
        f"{size}-0b2": _materials(
            f"MACE-MP-0b2 {size}", "mace_mp_0b2", f"mace-{size}-density-agnesi-stress.model", _MPTRJ
        )
        for size in ("small", "medium", "large")
    },
    "medium-0b3": _materials("MACE-MP-0b3 medium", "mace_mp_0b3", "mace-mp-0b3-medium.model", _MPTRJ),
    "medium-mpa-0": _materials("MACE-MPA-0 medium", "mace_mpa_0", "mace-mpa-0-medium.model", _MPA),
    **{
        f"{size}-omat-0": _materials(
            f"MACE-OMAT-0 {size}", "mace_omat_0", f"mace-omat-0-{size}.model", _OMAT, licence=_ASL
        )
        for size in ("small", "medium")
    },
    "mace-matpes-pbe-0": _materials(
        "MACE-MATPES-PBE-0", "mace_matpes_0", "MACE-matpes-pbe-omat-ft.model", "OMat24, then MatPES, PBE", licence=_ASL
    ),
    "mace-matpes-r2scan-0": _materials(
        "MACE-MATPES-r2SCAN-0", "mace_matpes_0", "MACE-matpes-r2scan-omat-ft.model", "OMat24, then MatPES, r2SCAN",
        licence=_ASL,
    ),
    "mh-0": _several_heads("MACE-MH-0", "mace-mh-0.model"),
    "mh-1": _several_heads("MACE-MH-1", "mace-mh-1.model"),
    **{f"off-{size}": _organic(size) for size in ("small", "medium", "large")},
    "anicc": _ANI_CC,
    "omol-extra_large": _charged(
        "MACE-OMOL-0", "mace_omol_0", "MACE-omol-0-extra-large-1024.model", "the total charge and spin"
    ),
    **{
        f"polar-1-{size}": _charged(
            f"MACE-POLAR-1-{size.upper()}", "mace_polar_1", f"MACE-POLAR-1-{size.upper()}.model", _LONG_RANGE
        )
        for size in ("s", "m", "l")
    },
}  # fmt: skip


def published_as(path: Path) -> PublishedMace | None:
    """Return what is known of a network by its file's name, also as mace_mp keeps it; None where nothing is."""
    for each in PUBLISHED_MACE.values():
        if path.name in (each.file, _as_kept(each.file)):
            return each
    return None


def _as_kept(file: str) -> str:
    return "".join(letter for letter in file if letter.isalnum() or letter == "_")
