# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks that the driver that each portable model names is installed."""

import shlex
from collections import defaultdict

from kim_torchml.tools.doctor.finding import Finding, ok, problem, skipped
from kim_torchml.tools.doctor.machine import NO_COLLECTIONS, Machine
from kim_torchml.tools.doctor.remedies import IN_FOLDER_OF_CLONE, driver_commands
from kim_torchml.tools.kim_collections.kim_api import MANAGER
from kim_torchml.tools.kim_collections.libraries import NOT_LOADED, read_drivers


def check_models(machine: Machine) -> list[Finding]:
    """Check that no model names a missing driver, and that the library of each model can be loaded."""
    if machine.collections is None:
        return [skipped("models", NO_COLLECTIONS)]
    found = machine.collections.items("portable_models")
    models = [item for item in found if not item.is_in_working_folder]
    not_loaded = [skipped(f"model {item.name}", NOT_LOADED) for item in found if item.is_in_working_folder]
    if not models:
        return not_loaded or [ok("models", "none is installed")]
    answers = read_drivers(models, machine.variables)
    installed = {item.name for item in machine.collections.items("model_drivers")}
    ours = {driver.name for driver in machine.drivers}
    orphans: dict[str, list[str]] = defaultdict(list)
    findings = []
    count = 0
    for item in models:
        answer, name = answers[item], item.name
        if answer.failure:
            advice = "Put a sound one in its place (install --force), or remove it:"
            reason = f"its library cannot be loaded: {answer.failure}"
            findings.append(problem(f"model {name}", reason, advice, f"{MANAGER} remove --force {shlex.quote(name)}"))
        elif answer.driver and answer.driver not in installed:
            orphans[answer.driver].append(name)
        count += answer.driver in ours
    findings += [_missing_driver(machine, driver, names) for driver, names in orphans.items()]
    findings = findings or [ok("models", f"{count} for kim-torchml; {_each(len(models))} the driver it names")]
    return [*findings, *not_loaded]


def _each(count: int) -> str:
    return "the only model has" if count == 1 else f"each of {count} models has"


def _missing_driver(machine: Machine, driver: str, names: list[str]) -> Finding:
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    found = f"{shown}: the driver {driver}, which it names, is not installed"
    if driver.startswith("TorchML"):
        advice = f"Install kim-torchml under that id, {IN_FOLDER_OF_CLONE}"
        return problem("models", found, advice, *driver_commands(machine.python_to_install_for, driver))
    return problem("models", found, "Install that driver:", f"{MANAGER} install user {shlex.quote(driver)}")
