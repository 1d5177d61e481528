# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the libraries of installed portable models hold, read in processes of their own."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kim_torchml.errors import DriverError
from kim_torchml.tools.kim_collections.kim_api import Item
from kim_torchml.tools.programs.run_program import last_line, run_program

MODEL_LIBRARY = "libkim-api-portable-model.so"

# Reading a library loads it, and it may run anything then.
NOT_LOADED = "it lies in the working folder, whose libraries are not loaded, as they could run anything"

_READER = Path(__file__).parent / "read_libraries.py"


@dataclass(frozen=True)
class ModelLibrary:
    """What the library of a portable model holds.

    Attributes:
        driver: KIM id of its driver; empty for a model without one, or if the library cannot be read.
        failure: why it cannot be loaded, or an empty string.
        why_no_files: why its parameter files cannot be read, or an empty string.
        files: names of its parameter files, in KIM's order.
        description: text of its model.toml, or an empty string.
    """

    driver: str = ""
    failure: str = ""
    why_no_files: str = ""
    files: tuple[str, ...] = ()
    description: str = ""


def read_drivers(models: Sequence[Item], environment: Mapping[str, str]) -> dict[Item, ModelLibrary]:
    """Return for each installed model the driver that its library names, or why it is not known."""
    return _read_items(models, "drivers", environment)


def read_files(models: Sequence[Item], environment: Mapping[str, str]) -> dict[Item, ModelLibrary]:
    """Return for each installed model the driver and the parameter files in its library, or why they are not known."""
    return _read_items(models, "files", environment)


def unpack_model(item: Item, folder: Path, environment: Mapping[str, str]) -> ModelLibrary:
    """Write the parameter files of an installed model into a folder.

    Raises:
        DriverError: If its library cannot be read.
    """
    found = _read_items([item], f"unpack={folder}", environment)[item]
    if reason := found.failure or found.why_no_files:
        library = item.folder / MODEL_LIBRARY
        raise DriverError(f"the library of the installed model {item.name} cannot be read: {reason} ({library})")
    return found


def _read_items(models: Sequence[Item], wanted: str, environment: Mapping[str, str]) -> dict[Item, ModelLibrary]:
    paths = {item: os.fspath(item.folder / MODEL_LIBRARY) for item in models}
    found = _read([path for item, path in paths.items() if not item.is_in_working_folder], wanted, environment)
    return {
        item: ModelLibrary(failure=NOT_LOADED) if item.is_in_working_folder else found[path]
        for item, path in paths.items()
    }


def _read(libraries: Sequence[str], wanted: str, environment: Mapping[str, str]) -> dict[str, ModelLibrary]:
    """Return what libraries hold; one that ends the process that loads it is found by halving the list."""
    if not libraries:
        return {}
    outcome = run_program([sys.executable, _READER, wanted, *libraries], environment)
    if not outcome.failure:
        return {library: _model_library(facts) for library, facts in json.loads(last_line(outcome.stdout)).items()}
    if len(libraries) == 1:
        return {libraries[0]: ModelLibrary(failure=outcome.failure)}
    half = len(libraries) // 2
    return _read(libraries[:half], wanted, environment) | _read(libraries[half:], wanted, environment)


def _model_library(facts: Mapping[str, Any]) -> ModelLibrary:
    reason = facts.get("no_files", "")
    if "files" not in facts and not reason:
        reason = (
            f"its layout (schema {facts['schema']}) is another than this kim-torchml can read; "
            "update kim-torchml, or install the model again with `kim-torchml install`"
        )
    return ModelLibrary(
        facts["driver"], facts["failure"], reason, tuple(facts.get("files", ())), facts.get("description", "")
    )
