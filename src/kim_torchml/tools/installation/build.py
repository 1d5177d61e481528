# SPDX-License-Identifier: LGPL-2.1-or-later
"""Letting KIM's manager build a model, without touching the collections of the user.

The manager must remove an older model before it builds the new one, and then the older one is lost if that fails. So it
gets a configuration in which portable models have an empty folder of their own, and what it has built is moved from
there to where it belongs.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from kim_torchml.errors import DriverError, shortened
from kim_torchml.tools.installation.driver_of_model import DriverOfModel
from kim_torchml.tools.kim_collections.kim_api import CONFIGURATION_VARIABLE, DRIVERS_VARIABLE, MODELS_VARIABLE, KimApi
from kim_torchml.tools.kim_collections.libraries import MODEL_LIBRARY
from kim_torchml.tools.programs.run_program import run_program

# s. A model file of 16 MB takes KIM-API 2.3 over a minute, and time grows with size.
_TIME_LIMIT = 4 * 3600.0

_MOST_LINES = 12
# What KIM's manager and CMake print after the reason.
_NO_REASON = re.compile(r"Aborting!|See also .*|-- Configuring incomplete.*|\s*/\S+\.log.*|make(\[\d+\])?: \*\*\* .*")
_ERROR = re.compile(r"\berror\b|\*\*\* ERROR|\(Failed\)|already installed", re.IGNORECASE)


class BuildError(DriverError):
    """KIM's manager could not build a model.

    Attributes:
        output: the last lines of its output.
    """

    def __init__(self, message: str, output: list[str]) -> None:
        super().__init__(message)
        self.output = output


def build_model(kim_api: KimApi, source: Path, driver: DriverOfModel, scratch: Path) -> Path:
    """Build a model; return the folder that holds what is to be installed.

    Args:
        kim_api: The KIM-API.
        source: The model's folder, in `scratch`, which has the name of the model.
        driver: Its driver, which is installed.
        scratch: An empty folder apart from that.
    Raises:
        BuildError: If KIM's manager fails.
    """
    models, temporary = scratch / "models", scratch / "build"
    for folder in (models, temporary):
        folder.mkdir()
    configuration = scratch / "configuration"
    configuration.write_text(_configuration(kim_api, models), encoding="utf-8")
    environment = _environment(kim_api.environment, driver)
    environment |= {CONFIGURATION_VARIABLE: str(configuration), "TMPDIR": str(temporary)}
    # KIM's manager cannot take a blank in a path: the folder is given relative to its parent.
    arguments = (kim_api.manager, "install", "user", f"./{source.name}")
    outcome = run_program(arguments, environment, folder=source.parent, time_limit=_TIME_LIMIT)
    built = models / source.name
    if outcome.failure or not (built / MODEL_LIBRARY).is_file():
        lines = _telling_lines(f"{outcome.stdout}\n{outcome.stderr}")
        reason = shortened(_reason(lines)) or outcome.failure or "it gave no reason"
        raise BuildError(
            f"KIM could not build the model {source.name}: {reason}; mend what its output names (`kim-torchml doctor` "
            "checks the tools that it needs)",
            lines,
        )
    return built


def _configuration(kim_api: KimApi, models: Path) -> str:
    """Return a configuration of KIM-API with drivers and simulator models as they are, and other portable models."""
    folders = {
        "model-drivers": kim_api.user_folders("model_drivers"),
        "portable-models": [models],
        "simulator-models": kim_api.user_folders("simulator_models") or [models],
    }
    return "".join(f"{kind}-dir = {':'.join(map(str, paths))}\n" for kind, paths in folders.items())


def _environment(variables: Mapping[str, str], driver: DriverOfModel) -> dict[str, str]:
    """Return the manager's environment: it must find the driver, and no other portable model of the same name."""
    environment = {name: value for name, value in variables.items() if name != MODELS_VARIABLE}
    if driver.item is not None and driver.item.where == "CWD":
        # The manager runs in another folder than this process.
        folders = [str(driver.item.folder.parent), environment.get(DRIVERS_VARIABLE, "")]
        environment[DRIVERS_VARIABLE] = os.pathsep.join(filter(None, folders))
    return environment


def _telling_lines(output: str) -> list[str]:
    """Return the lines of the output that say why the manager failed: from the first error on, or else the last."""
    lines = [line.rstrip() for line in output.splitlines() if line.strip()]
    lines = [line for line in lines if not _NO_REASON.fullmatch(line)]
    first = next((index for index, line in enumerate(lines) if _ERROR.search(line)), None)
    return lines[-_MOST_LINES:] if first is None else lines[first : first + _MOST_LINES]


def _reason(lines: list[str]) -> str:
    """Return the error that lines begin with, or else the last line."""
    if not lines or not _ERROR.search(lines[0]):
        return lines[-1].strip() if lines else ""
    # CMake says where on one line, and what on the next.
    goes_on = lines[0].endswith(":") and len(lines) > 1
    return " ".join(line.strip() for line in lines[: 2 if goes_on else 1])
