# SPDX-License-Identifier: LGPL-2.1-or-later
"""The KIM-API of this user for commands that cannot do without it, and what is installed there."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from kim_torchml.tools.kim_collections.kim_api import (
    COLLECTIONS,
    CONFIGURATION_VARIABLE,
    KINDS,
    MANAGER,
    MODELS_VARIABLE,
    Item,
    KimApi,
    find_kim_api,
)
from kim_torchml.tools.request_error import RequestError, did_you_mean

_DOCTOR = "`kim-torchml doctor` says how"


def usable_kim_api(environment: Mapping[str, str]) -> KimApi:
    """Return the KIM-API whose manager is first on PATH.

    Raises:
        RequestError: If there is none, or it cannot be asked about its collections.
    """
    try:
        kim_api = find_kim_api(environment)
    except FileNotFoundError as error:
        raise RequestError(f"KIM-API's installation is damaged: {error}; mend that ({_DOCTOR})") from error
    if kim_api is None:
        raise RequestError(
            f"there is no {MANAGER} on PATH; install KIM-API, or add the folder of its programs to PATH ({_DOCTOR})"
        )
    file = kim_api.configuration_file
    if not kim_api.is_configured:
        raise RequestError(
            f"{CONFIGURATION_VARIABLE} must name a configuration file of KIM-API, got '{file}', which is not there; "
            "correct or unset it"
        )
    # If this user has never used KIM, these questions make KIM write the file.
    if not all(map(kim_api.user_folders, KINDS)) or not Path(file).exists():
        raise RequestError(f"KIM-API cannot read or write its configuration file '{file}'; mend it ({_DOCTOR})")
    return kim_api


def models_named(kim_api: KimApi, name: str) -> list[Item]:
    """Return the installed portable models of a name, in the order in which KIM searches the collections.

    Raises:
        RequestError: If there is none.
    """
    models = kim_api.items("portable_models")
    found = [item for item in models if item.name == name]
    if not found:
        hint = did_you_mean(name, [item.name for item in models]) or f"; `{MANAGER} list` shows what is"
        raise RequestError(f"no portable model '{name}' is installed in any of KIM's collections{hint}")
    return found


def in_collection(items: Sequence[Item], collection: str | None) -> Item:
    """Return the item that is in a collection; without one, the only item.

    Args:
        items: Items of one name, at least one.
        collection: One of the words in COLLECTIONS, or None.
    Raises:
        RequestError: If it is in no such collection, or in several.
    """
    places = " and the ".join(item.where for item in items)
    name = items[0].name
    if collection is None:
        if len(items) > 1:
            raise RequestError(
                f"{name} is installed in the {places} collection; say which with --collection {items[0].where}"
            )
        return items[0]
    found = [item for item in items if item.where == collection]
    if not found:
        raise RequestError(
            f"{name} is not installed in the {collection} collection, but in the {places} collection; say "
            f"--collection {items[0].where}"
        )
    return found[0]


def folder_to_install_into(kim_api: KimApi, collection: str) -> Path:
    """Return the folder of a collection that portable models are installed into.

    Args:
        kim_api: The KIM-API.
        collection: One of the words in COLLECTIONS.
    Raises:
        RequestError: If the collection has none.
    """
    if collection not in COLLECTIONS:
        raise RequestError(f"there is no collection {collection}{did_you_mean(collection, COLLECTIONS)}")
    folders = kim_api.collection_folders(collection, "portable_models")
    if not folders:
        advice = "name one in it" if collection == "environment" else "choose another collection"
        found = f"{MODELS_VARIABLE} names no folder" if collection == "environment" else "KIM-API names no folder"
        raise RequestError(f"the {collection} collection has no place for portable models: {found}; {advice}")
    return folders[0].absolute()
