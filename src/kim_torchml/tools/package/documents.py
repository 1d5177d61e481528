# SPDX-License-Identifier: LGPL-2.1-or-later
"""The documents of a model's folder, README.md and kimspec.edn, which its author may edit once they are written."""

import datetime
import os
import re
from pathlib import Path

from kim_torchml.errors import DriverError
from kim_torchml.inputs import FILE_FORMATS
from kim_torchml.model_files.description import ModelDescription
from kim_torchml.model_files.file_inside import read_inside
from kim_torchml.model_files.model_toml import MODEL_TOML, parse_model_toml
from kim_torchml.model_files.toml_parser import LARGEST_FILE
from kim_torchml.tools.kim_collections.cmake_lists import read_model_item
from kim_torchml.tools.package.kimspec import KIMSPEC, kimspec_text
from kim_torchml.tools.package.model_readme import README, readme_text

_DATE = re.compile(r'^.?"date" "(\d{4}-\d\d-\d\d)"', re.MULTILINE)
# Bytes. A page with pictures in it has less.
_LARGEST = 1 << 24


def documents_of(name: str, driver: str, model: ModelDescription, day: datetime.date) -> dict[str, bytes]:
    """Return the documents of a model, by file name.

    Args:
        name: KIM id of the model.
        driver: KIM id of its driver.
        model: What its files say.
        day: When they are written.
    """
    return {
        KIMSPEC: kimspec_text(name, driver, model, day).encode(),
        README: readme_text(name, driver, model).encode(),
    }


def edited_documents(folder: Path) -> list[str]:
    """Return which documents of a folder are not as they would be written for the model that is in it.

    Raises:
        DriverError: If one that is there cannot be read, is too large, a link that leaves the folder, or no file.
    """
    found = {name: read_document(folder, name) for name in (KIMSPEC, README) if os.path.lexists(folder / name)}
    try:
        item = read_model_item(folder)
        model = parse_model_toml(read_inside(folder, MODEL_TOML, LARGEST_FILE), MODEL_TOML, FILE_FORMATS)
        written = documents_of(item.name, item.driver, model, _date_of(found.get(KIMSPEC, b"")))
    except (DriverError, OSError):
        # Who has written them cannot be known where there is another model than this project writes.
        written = {}
    return [name for name, content in found.items() if written.get(name) != content]


def read_document(folder: Path, name: str) -> bytes:
    """Return the content of a document in a model's folder.

    Raises:
        DriverError: If it cannot be read, is too large, a link that leaves the folder, or no file.
    """
    try:
        return read_inside(folder, name, _LARGEST)
    except OSError as error:
        raise DriverError(f"cannot read {folder / name}: {error.strerror or error}; mend that first") from error


def _date_of(kimspec: bytes) -> datetime.date:
    """Return the date in a kimspec.edn, or today where it gives none."""
    match = _DATE.search(kimspec.decode(errors="replace"))
    try:
        return datetime.date.today() if match is None else datetime.date.fromisoformat(match[1])
    except ValueError:
        return datetime.date.today()
