# SPDX-License-Identifier: LGPL-2.1-or-later
"""Stores of model files: folders in which a file is found by its SHA-256 alone.

KIM-API before 2.4 turns every file of a model into source code and compiles it, which takes minutes for a large one.
"""

import hashlib
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kim_torchml.errors import DriverError


@dataclass(frozen=True)
class Store:
    """A folder of model files.

    Attributes:
        folder: the folder.
        is_private: whether it is this user's own: then nobody else may be able to write there.
    """

    folder: Path
    is_private: bool = False

    def path_of(self, digest: str) -> Path:
        """Return where the file of a digest is, if it is there."""
        return self.folder / f"{digest}.model"

    def why_not_usable(self) -> str:
        """Return why files of this store must not be used, or an empty string."""
        try:
            found = self.folder.lstat() if self.is_private else self.folder.stat()
        except FileNotFoundError:
            return "there is no such folder"
        except OSError as error:
            return str(error.strerror or error)
        if not stat.S_ISDIR(found.st_mode):
            return "it must be a folder, not a link or a file" if self.is_private else "it is no folder"
        if not self.is_private:
            return ""
        if found.st_uid != os.getuid():
            return "it must belong to you"
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return "others can write there; take their right with chmod go-w"
        return ""


def digest_of(content: bytes) -> str:
    """Return the SHA-256 of a file's content, lower-case hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def read_from_stores(stores: Sequence[Store], digest: str, name: str, description_file: str) -> tuple[bytes, Path]:
    """Return the first file that has a digest, which is computed from what was read: its content, and its path.

    Args:
        stores: Where to look, in this order.
        digest: SHA-256 of the file.
        name: Name of the model file, for messages.
        description_file: Name of the file that gives the digest, for messages.
    Raises:
        DriverError: If it is nowhere, with the folders that were looked in and what is wrong with each.
    """
    looked = []
    for store in stores:
        content, reason = _read(store, digest)
        if content is not None:
            return content, store.path_of(digest)
        looked.append(f"{store.folder} ({reason})")
    raise DriverError(
        f"the model file {name} with the SHA-256 {digest} must be in a store of model files, as {description_file} "
        f"says, got none in {', '.join(looked) or 'no folder at all'}; install the model's folder with "
        "`kim-torchml install FOLDER --store`, or name the folder that has the file in KIM_TORCHML_MODEL_PATH"
    )


def _read(store: Store, digest: str) -> tuple[bytes | None, str]:
    """Return the content of the file of a digest, or why there is none."""
    if reason := store.why_not_usable():
        return None, reason
    return read_file(store.path_of(digest), digest)


def read_file(path: Path, digest: str) -> tuple[bytes | None, str]:
    """Return the content of a file that is to have a digest, or why there is none."""
    try:
        # Opening a pipe would wait for its other end.
        if not stat.S_ISREG(path.stat().st_mode):
            return None, f"{path.name} is no file"
        content = path.read_bytes()
    except FileNotFoundError:
        return None, "not there"
    except OSError as error:
        return None, f"{path.name} cannot be read: {error.strerror or error}"
    if digest_of(content) != digest:
        return None, f"{path.name} is damaged: its {len(content)} bytes have another SHA-256"
    return content, ""
