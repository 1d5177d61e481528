# SPDX-License-Identifier: LGPL-2.1-or-later
"""The installed drivers that belong to this project, and the environment that each was built for."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kim_torchml.tools.kim_collections.kim_api import Item

# KIM id of the driver, unless KIM_TORCHML_DRIVER_NAME gave it another one at its installation.
DEFAULT_DRIVER_NAME = "TorchMLModelDriver"
# A model driver that has this file belongs to this project.
SHIM = "kim_torchml_shim.so"
# The installation writes this file from kim_driver_cpp/installation.json.in.
RECORD = "installation.json"


@dataclass(frozen=True)
class InstalledDriver:
    """An installed driver that belongs to this project.

    Attributes:
        name: KIM id of the driver.
        collection: Collection that holds it, in the words of KIM's tool.
        folder: Folder that it is installed in.
        record: Facts that its installation wrote down; empty if they cannot be read.
    """

    name: str
    collection: str
    folder: Path
    record: dict[str, str]

    @property
    def version(self) -> str:
        """Version of the driver."""
        return self.record.get("version", "")

    @property
    def python(self) -> str:
        """Path of the Python that the driver was built for."""
        return self.record.get("python_executable", "")

    @property
    def python_version(self) -> str:
        """X.Y of that Python."""
        return self.record.get("python_version", "")

    @property
    def python_library(self) -> str:
        """Path of the libpython of that Python; empty if it has none."""
        return self.record.get("python_library", "")


def find_drivers(items: Iterable[Item]) -> list[InstalledDriver]:
    """Return the installed model drivers that belong to this project.

    Args:
        items: All installed model drivers.
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
        # The doctor reports an empty record (check_drivers.py).
        return {}
    return {str(key): str(value) for key, value in record.items()} if isinstance(record, dict) else {}
