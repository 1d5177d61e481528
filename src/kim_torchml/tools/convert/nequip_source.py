# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files of NequIP and Allegro, told apart by the names of their entries; nothing in them is opened."""

import zipfile
from collections.abc import Collection
from enum import Enum, auto
from pathlib import Path

from kim_torchml.errors import DriverError
from kim_torchml.tools.convert.plain_arrays import PLAIN_ARRAYS
from kim_torchml.tools.convert.source_file import FileKind, SourceFile, look_at

WHAT = "a checkpoint (.ckpt) or package (.nequip.zip) of NequIP or Allegro"
# What a package of nequip-package holds; a package of torch that another program has made holds other things.
_NETWORK_IN_PACKAGE = "model/eager_model.pkl"
_PACKAGE_OF_TORCH = ".data/extern_modules"
_COMPILED = "data/aotinductor/"
_CODE = "/code/__torch__/nequip/"
# A deployed network of nequip 0.6 and older says so.
_DEPLOYED = "extra/nequip_version"
_FAMILIES = ("mace", "sevenn", "chgnet")
_NEXT = "run `kim-torchml convert nequip` for the checkpoint or package that it was made from"


class NequIPFileKind(Enum):
    """What a source is."""

    CHECKPOINT = auto()
    PACKAGE = auto()


def kind_of(path: Path) -> tuple[NequIPFileKind, str]:
    """Return what a file is, and why reading it may run code of whoever made it; empty where it cannot.

    Args:
        path: The file.
    Raises:
        RequestError: If it is not there.
        DriverError: If it is nothing that can be converted.
    """
    names = _names_in(path)
    if any(name.endswith(_NETWORK_IN_PACKAGE) for name in names):
        return NequIPFileKind.PACKAGE, f"{path} is a package of nequip-package, a pickled network with its own code"
    if any(name.endswith(_PACKAGE_OF_TORCH) for name in names):
        raise DriverError(f"`source` must be {WHAT}, got {path}, a package of torch without a network of NequIP")
    if any(_COMPILED in name for name in names):
        raise DriverError(
            f"`source` must be {WHAT}, got {path}, native code that nequip-compile makes for one machine; {_NEXT}"
        )
    source = look_at(path, WHAT)
    _check_format(source, names)
    _check_names(source)
    foreign = [each for each in source.calls if each not in PLAIN_ARRAYS]
    reason = f"{path} holds {foreign[0]}, which unpickling alone can make" if foreign else ""
    return NequIPFileKind.CHECKPOINT, reason


def _names_in(path: Path) -> list[str]:
    """Return the names of an archive's entries; none where it is no archive that can be read, which is told later."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    # Lists of entries that are damaged raise errors of many types.
    except Exception:
        return []


def _check_format(source: SourceFile, names: Collection[str]) -> None:
    path = source.path
    if source.kind is FileKind.EXPORTED:
        raise DriverError(f"`source` must be {WHAT}, got {path}, a program of torch.export; see `kim-torchml package`")
    if source.kind is not FileKind.TORCHSCRIPT:
        return
    if any(name.endswith(_DEPLOYED) for name in names):
        raise DriverError(
            f"`source` must be {WHAT}, got {path}, deployed by nequip 0.6 or older, whose networks no newer one reads; "
            "train it again with nequip 0.7, or a newer version, and run `kim-torchml convert nequip` for that "
            "checkpoint"
        )
    of = "a network that nequip-compile has compiled" if any(_CODE in name for name in names) else "another network"
    raise DriverError(f"`source` must be {WHAT}, got {path}, TorchScript of {of}; {_NEXT}")


def _check_names(source: SourceFile) -> None:
    """Check that a pickle does not name what only another file has.

    Raises:
        DriverError: If it does.
    """
    for each in source.calls:
        package = each.split(".")[0]
        if package in _FAMILIES:
            raise DriverError(
                f"`source` must be {WHAT}, got {source.path}, which holds {each}: a network of another family"
            )
        if each.startswith("nequip.integrations."):
            raise DriverError(
                f"`source` must be {WHAT}, got {source.path}, a pickle of {each} for ML-IAP in LAMMPS; {_NEXT}"
            )
