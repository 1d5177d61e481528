# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a store holds, and which installed models need it."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kim_torchml.errors import DriverError
from kim_torchml.model_files.model_toml import MODEL_TOML
from kim_torchml.model_files.store import Store
from kim_torchml.model_files.toml_parser import parse_toml
from kim_torchml.tools.kim_collections.kim_api import KimApi
from kim_torchml.tools.kim_collections.libraries import NOT_LOADED, ModelLibrary, read_files

_FILE_NAME = re.compile(r"([0-9a-f]{64})\.model")


@dataclass(frozen=True)
class StoredFile:
    """A file of a store.

    Attributes:
        path: where it is.
        digest: SHA-256 that its name gives.
        size: its size in bytes.
        problem: why it cannot be used, or an empty string.
    """

    path: Path
    digest: str
    size: int
    problem: str


@dataclass(frozen=True)
class UsersOfFiles:
    """Which installed models need which files of stores.

    Attributes:
        by_digest: names of models, by the digest of the file that they need.
        unknown: why it is not known what a model needs, by the name of the model.
    """

    by_digest: Mapping[str, list[str]]
    unknown: Mapping[str, str]


def stored_files(store: Store) -> list[StoredFile]:
    """Return the files of a store, in the order of their digests, which are computed anew.

    Raises:
        DriverError: If the store cannot be read, or must not be used.
    """
    if reason := store.why_not_usable():
        raise DriverError(f"the store of model files {store.folder} cannot be used: {reason}; mend that")
    try:
        named = {path: match[1] for path in store.folder.iterdir() if (match := _FILE_NAME.fullmatch(path.name))}
    except OSError as error:
        raise DriverError(
            f"the store of model files {store.folder} cannot be read: {error.strerror or error}; give yourself that "
            "right"
        ) from error
    return [_examined(path, digest) for path, digest in sorted(named.items())]


def _examined(path: Path, digest: str) -> StoredFile:
    if not path.is_file():
        return StoredFile(path, digest, 0, "it is no file")
    size = path.stat().st_size
    found = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                found.update(piece)
    except OSError as error:
        return StoredFile(path, digest, size, f"it cannot be read: {error.strerror or error}")
    problem = "" if found.hexdigest() == digest else "it is damaged: its bytes have another SHA-256"
    return StoredFile(path, digest, size, problem)


def users_of_files(kim_api: KimApi) -> UsersOfFiles:
    """Return which of the models that are installed in any collection need which files of stores."""
    by_digest: dict[str, list[str]] = defaultdict(list)
    unknown = {}
    for item, found in read_files(kim_api.items("portable_models"), kim_api.environment).items():
        try:
            digest = needed_from_store(found)
        except DriverError as error:
            unknown[item.name] = str(error)
            continue
        if digest and item.name not in by_digest[digest]:
            by_digest[digest].append(item.name)
    return UsersOfFiles({digest: names for digest, names in by_digest.items() if names}, unknown)


def needed_from_store(model: ModelLibrary) -> str:
    """Return the digest of the file that an installed model needs from a store, or an empty string.

    Only these two keys are looked at, so that models of newer formats are understood too.

    Raises:
        DriverError: If that is not known.
    """
    if reason := model.failure or model.why_no_files:
        raise DriverError(reason)
    if not model.description:
        return ""
    try:
        table = parse_toml(model.description.encode(), MODEL_TOML).get("model")
    except DriverError as error:
        raise DriverError(f"its {MODEL_TOML} cannot be read: {error}") from error
    if not isinstance(table, dict) or table.get("where") != "store":
        return ""
    return str(table.get("sha256", "")).lower()


def unused_files(files: Sequence[StoredFile], users: UsersOfFiles) -> list[StoredFile]:
    """Return the files of a store that no installed model needs.

    Raises:
        DriverError: If it is not known what some model needs.
    """
    if users.unknown:
        name, reason = next(iter(users.unknown.items()))
        more = f" (and {len(users.unknown) - 1} more)" if len(users.unknown) > 1 else ""
        advice = (
            "work in another folder"
            if reason == NOT_LOADED
            else "install it again with `kim-torchml install`, or remove it"
        )
        raise DriverError(f"it is not known which file the installed model {name}{more} needs: {reason}; {advice}")
    return [file for file in files if file.digest not in users.by_digest]
