# SPDX-License-Identifier: LGPL-2.1-or-later
"""KIM-API: its tools, its version, its configuration file, and the folders of the user collection."""

import os
from pathlib import Path

from kim_torchml.doctor.finding import Finding, ok, problem, skipped
from kim_torchml.doctor.folders import holds_programs
from kim_torchml.doctor.kim_api import CONFIGURATION_VARIABLE, KINDS, MANAGER, KimApi, find_kim_api
from kim_torchml.doctor.machine import NO_COLLECTIONS, Machine

OLDEST = (2, 2)

INSTALL_KIM_API = (
    "sudo apt-get install libkim-api-dev openkim-models   # Debian, Ubuntu",
    "conda install -c conda-forge kim-api   # conda",
)


def check_tools(machine: Machine) -> list[Finding]:
    """Check that KIM-API's tools are on PATH, and are new enough."""
    try:
        kim_api = find_kim_api(machine.environment)
    except FileNotFoundError as error:
        return [problem("KIM-API", f"the installation is damaged: {error}", "Install it again:", *INSTALL_KIM_API)]
    if kim_api is None:
        advice = "Install KIM-API, or add the folder of its programs to PATH:"
        return [problem("KIM-API", f"there is no {MANAGER} on PATH", advice, *INSTALL_KIM_API)]
    failure = kim_api.version_answer.failure
    if failure or not kim_api.version:
        found = f"{kim_api.tool} does not tell its version: {failure or kim_api.version_answer.stdout.strip()}"
        return [problem("KIM-API", found, "Install KIM-API again:", *INSTALL_KIM_API)]
    numbers = tuple(int(part) for part in kim_api.version.split("."))
    if numbers[:2] < OLDEST:
        found = f"version {kim_api.version} ({kim_api.manager}) is too old: 2.2 or newer is needed"
        return [problem("KIM-API", found, "Install a newer one:", *INSTALL_KIM_API)]
    return [ok("KIM-API", f"version {kim_api.version} ({kim_api.manager})")]


def check_configuration(machine: Machine) -> list[Finding]:
    """Check that the configuration file says where the user collection is."""
    name = "configuration"
    kim_api = machine.kim_api
    if kim_api is None:
        return [skipped(name, "needs KIM-API")]
    if not kim_api.is_configured:
        found = f"{CONFIGURATION_VARIABLE} names '{kim_api.configuration_file}', which is not there"
        advice = "Correct the variable, or let KIM use the default collection:"
        return [problem(name, found, advice, f"unset {CONFIGURATION_VARIABLE}")]
    file = kim_api.configuration_file
    broken = [word for kind, word in KINDS.items() if not kim_api.user_folders(kind)]
    if broken:
        found = f"KIM cannot read its configuration file '{file}': it names no folder for {' and '.join(broken)}"
        advice = "Move it away; KIM writes a new one when it is next used:"
        return [problem(name, found, advice, f"mv '{file}' '{file}.broken'", f"{MANAGER} list")]
    return [ok(name, file)]


def check_user_collection(machine: Machine) -> list[Finding]:
    """Check that the user collection's folders can be written, and libraries in them can be loaded."""
    kim_api = machine.collections
    if kim_api is None:
        return [skipped("user collection", NO_COLLECTIONS)]
    findings = []
    for kind, word in KINDS.items():
        # KIM installs into the first one.
        folders = kim_api.user_folders(kind)[:1]
        findings += [_check_collection_folder(kim_api, f"user {word}", kind, folder) for folder in folders]
    return findings


def _check_collection_folder(kim_api: KimApi, name: str, kind: str, folder: Path) -> Finding:
    choose_another = f"{MANAGER} set-user-{kind.replace('_', '-')}-dir ~/kim-{kind.replace('_', '-')}"
    if not folder.is_dir():
        found = f"'{folder}', named in {kim_api.configuration_file}, is not a folder"
        return problem(name, found, "Make it:", f"mkdir -p '{folder}'")
    if not os.access(folder, os.W_OK | os.X_OK):
        advice = "Give yourself the right to write there, or choose another folder:"
        return problem(name, f"'{folder}' cannot be written", advice, f"chmod u+rwx '{folder}'", choose_another)
    if not holds_programs(folder):
        found = f"'{folder}' is on a file system mounted noexec: nothing that is installed there can be loaded"
        return problem(name, found, "Choose a folder elsewhere, and install driver and models again:", choose_another)
    return ok(name, str(folder))
