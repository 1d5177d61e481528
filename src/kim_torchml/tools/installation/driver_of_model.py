# SPDX-License-Identifier: LGPL-2.1-or-later
"""The driver that a model names, as far as it is installed."""

import sys
from dataclasses import dataclass

from kim_torchml.tools.doctor.remedies import driver_commands
from kim_torchml.tools.kim_collections.installed_drivers import InstalledDriver, find_drivers
from kim_torchml.tools.kim_collections.kim_api import MANAGER, Item, KimApi


@dataclass(frozen=True)
class DriverOfModel:
    """A driver that a model names.

    Attributes:
        name: KIM id of the driver.
        item: what is installed under this id; None if nothing is.
        ours: the same if it belongs to this project, else None.
    """

    name: str
    item: Item | None
    ours: InstalledDriver | None

    @property
    def state(self) -> str:
        """What is installed under its id, in a few words."""
        if self.item is None:
            return "not installed"
        version = f"version {self.ours.version or 'unknown'}" if self.ours else "not kim-torchml, but another program"
        return f"installed in the {self.item.where} collection ({version})"

    @property
    def remedy(self) -> str:
        """How to install it."""
        if self.name.startswith("TorchML"):
            command = driver_commands(sys.executable, self.name)[-1]
            return f"install kim-torchml under that id, in the folder that holds your clone of it: {command}"
        return f"install it: {MANAGER} install user {self.name}"


def driver_of_model(kim_api: KimApi, name: str) -> DriverOfModel:
    """Return what is installed under the id of a driver, in the collection that KIM searches first."""
    item = next((each for each in kim_api.items("model_drivers") if each.name == name), None)
    ours = None if item is None else next(iter(find_drivers([item])), None)
    return DriverOfModel(name, item, ours)
