# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a user means by the word that stands for a model: a folder, a model file, or an installed model."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kim_torchml.tools.kim_collections.cmake_lists import CMAKE_LISTS
from kim_torchml.tools.kim_collections.kim_api import Item, KimApi
from kim_torchml.tools.kim_collections.libraries import MODEL_LIBRARY
from kim_torchml.tools.kim_collections.usable_kim_api import models_named, usable_kim_api
from kim_torchml.tools.request_error import RequestError


@dataclass(frozen=True)
class ModelTarget:
    """What is to be described.

    Attributes:
        path: a model's folder, a model file, or the folder that a model is installed in.
        item: the installed model; None for a folder or a file.
        kim_api: the KIM-API; None where there is none that could be asked, which an installed model needs.
    """

    path: Path
    item: Item | None
    kim_api: KimApi | None


def find_target(word: str, environment: Mapping[str, str]) -> ModelTarget:
    """Return what a word stands for: a path that is there comes before the name of an installed model.

    Args:
        word: Path or KIM id.
        environment: Environment variables, which say where KIM's collections are.
    Raises:
        RequestError: If it stands for nothing.
    """
    path = Path(word)
    try:
        kim_api, why_none = usable_kim_api(environment), None
    except RequestError as error:
        kim_api, why_none = None, error
    # In the collection CWD a model's folder is named like the model.
    is_installed_there = (path / MODEL_LIBRARY).is_file() and not (path / CMAKE_LISTS).exists()
    if path.exists() and not is_installed_there:
        return ModelTarget(path, None, kim_api)
    if kim_api is None:
        raise RequestError(
            f"there is no folder or file '{word}', and installed models cannot be looked for: {why_none}"
        )
    if is_installed_there:
        folder = path.absolute()
        here = next((each for each in kim_api.items("portable_models") if each.folder == folder), None)
        return _installed(word, here, kim_api)
    if "/" in word:
        raise RequestError(f"there is no folder or file '{word}'; correct the path")
    return _installed(word, models_named(kim_api, word)[0], kim_api)


def _installed(word: str, item: Item | None, kim_api: KimApi) -> ModelTarget:
    """Return an installed model.

    Raises:
        RequestError: If nobody has installed it: reading a model's library runs it, and could run anything.
    """
    if item is None or item.is_in_working_folder:
        raise RequestError(
            f"'{word}' is a library in none of KIM's user, environment and system collections; it is not loaded, as "
            "that could run anything: give the folder that it was installed from, or install that"
        )
    return ModelTarget(item.folder, item, kim_api)
