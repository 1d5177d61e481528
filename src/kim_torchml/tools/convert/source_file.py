# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files of torch, looked at without unpickling: what they are, and what they would call when they are unpickled."""

import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any

import torch

from kim_torchml.engines.errors import reason_of
from kim_torchml.errors import DriverError
from kim_torchml.process.oldest_versions import OLDEST_EXPORTING_TORCH
from kim_torchml.tools.request_error import RequestError


class FileKind(Enum):
    """What a file of torch is."""

    PICKLE = auto()
    TORCHSCRIPT = auto()
    EXPORTED = auto()


@dataclass(frozen=True)
class SourceFile:
    """A file that was looked at.

    Attributes:
        path: the file.
        kind: what it is.
        calls: names of the classes and functions that unpickling it would call, beside those of plain tensors; sorted.
    """

    path: Path
    kind: FileKind
    calls: tuple[str, ...] = ()


def look_at(path: Path, what: str) -> SourceFile:
    """Return what a file is. Nothing in it is run, and no object of it is made.

    Args:
        path: The file.
        what: What it must be, for messages, such as "a checkpoint of SevenNet".
    Raises:
        RequestError: If it is not there.
        DriverError: If it is damaged, or no file of torch.
    """
    if not path.exists():
        raise RequestError(f"`source` must be {what}, got '{path}', which is not there; correct the path")
    if not path.is_file():
        raise RequestError(f"`source` must be {what}, got '{path}', which is no file; name the file itself")
    entries = _entries(path, what)
    names = [each.filename for each in entries]
    last = {name.rpartition("/")[2] for name in names}
    if any(name.endswith("models/model.json") for name in names):
        return SourceFile(path, FileKind.EXPORTED)
    if "constants.pkl" in last:
        return SourceFile(path, FileKind.TORCHSCRIPT)
    if "data.pkl" not in last:
        raise DriverError(f"`source` must be {what}, got {path}, an archive of something else; name the right file")
    if packed := [each.filename for each in entries if each.compress_type != zipfile.ZIP_STORED]:
        # A small file of such could fill all memory when it is read.
        raise DriverError(
            f"`source` must be {what} as torch.save writes it, got {path}, whose entry {packed[0]} is compressed; save "
            "it again with torch.save"
        )
    return SourceFile(path, FileKind.PICKLE, _calls(path, what))


def _calls(path: Path, what: str) -> tuple[str, ...]:
    """Return the names of what unpickling a file would call.

    Raises:
        DriverError: If the file is damaged, or torch is too old to tell.
    """
    if not hasattr(torch.serialization, "get_unsafe_globals_in_checkpoint"):
        raise DriverError(
            f"torch must be new enough to say what a pickle would call, got {torch.__version__}; install torch "
            f"{OLDEST_EXPORTING_TORCH} or newer, which writing model.pt2 needs too"
        )
    with damaged(path, what):
        return tuple(sorted(torch.serialization.get_unsafe_globals_in_checkpoint(str(path))))


def _entries(path: Path, what: str) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.infolist()
    except OSError:
        raise
    # Lists of entries that are damaged raise errors of many types.
    except Exception as error:
        raise DriverError(
            f"`source` must be {what}, got {path}, which is no archive of torch.save or is damaged "
            f"({reason_of(error)}); fetch it again, or name the right file"
        ) from error


@contextmanager
def damaged(path: Path, what: str) -> Iterator[None]:
    """Let whatever torch raises for a file be one sentence.

    Raises:
        DriverError: If the block raises an error.
    """
    try:
        yield
    except DriverError:
        raise
    # Readers of damaged files raise errors of every type.
    except Exception as error:
        raise DriverError(
            f"{what} in {path} cannot be read: {reason_of(error)}; fetch it again, or make it with the version of its "
            "package that is installed here"
        ) from error


def plain_content(path: Path, what: str, allowed: Mapping[str, Callable[..., Any]]) -> Any:
    """Return what a file holds that needs no code to be read: tensors, numbers, texts, and what is allowed besides.

    Args:
        path: The file.
        what: What it is, for messages.
        allowed: What makes other things, by the names that stand in files.
    Raises:
        DriverError: If it is damaged, or holds something else.
    """
    makers: list[Any] = [(maker, name) for name, maker in allowed.items()]
    with damaged(path, what), torch.serialization.safe_globals(makers):
        return torch.load(path, map_location="cpu", weights_only=True)
