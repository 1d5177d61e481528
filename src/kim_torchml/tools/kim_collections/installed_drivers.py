# SPDX-License-Identifier: LGPL-2.1-or-later
"""Installed drivers of this project, and what each was built for."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kim_torchml.tools.kim_collections.kim_api import Item

# KIM id of the driver, unless KIM_TORCHML_DRIVER_NAME gave it another one at its installation.
DEFAULT_DRIVER_NAME = "TorchMLModelDriver"
SHIM = "kim_torchml_shim.so"
# Written by the installation: kim_driver_cpp/installation.json.in.
RECORD = "installation.json"


@dataclass(frozen=True)
class InstalledDriver:
    """A driver of this project.

    Attributes:
        name: KIM id.
        collection: Collection that it is in.
        folder: Where it is.
        record: What its installation wrote down; empty if there is none that can be read.
    """

    name: str
    collection: str
    folder: Path
    record: dict[str, str]

    @property
    def version(self) -> str:
        """Its version."""
        return self.record.get("version", "")

    @property
    def python(self) -> str:
        """Path of the Python that it was built for."""
        return self.record.get("python_executable", "")

    @property
    def python_version(self) -> str:
        """X.Y of that Python."""
        return self.record.get("python_version", "")

    @property
    def python_library(self) -> str:
        """Path of its libpython; empty if it has none."""
        return self.record.get("python_library", "")


def find_drivers(items: Iterable[Item]) -> list[InstalledDriver]:
    """Return those of the installed model drivers that are this project's.

    Args:
        items: Installed model drivers.
    """
    return [
        InstalledDriver(item.name, item.collection, item.folder, _read_record(item.folder / RECORD))
        for item in items
        if (item.folder / SHIM).exists()
    ]


def _read_record(path: Path) -> dict[str, str]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # An empty record is itself a finding: check_drivers.py says what to do.
        return {}
    return {str(key): str(value) for key, value in record.items()} if isinstance(record, dict) else {}
