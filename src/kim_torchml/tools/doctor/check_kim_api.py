# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks of KIM-API: its tools, its version, its configuration file, and the folders of the user collection."""

import os
import shlex
from pathlib import Path

from kim_torchml.process.oldest_versions import OLDEST_KIM_API, is_older
from kim_torchml.tools.doctor.finding import Finding, ok, problem, skipped
from kim_torchml.tools.doctor.folders import holds_programs, is_read_only
from kim_torchml.tools.doctor.machine import NO_COLLECTIONS, Machine
from kim_torchml.tools.kim_collections.kim_api import CONFIGURATION_VARIABLE, KINDS, MANAGER, KimApi, find_kim_api

INSTALL_KIM_API = (
    "sudo apt-get install libkim-api-dev openkim-models   # Debian, Ubuntu",
    "conda install -c conda-forge kim-api   # conda",
)

# KIM-API always writes its own configuration into the home folder; these commands write one in another place.
OWN_CONFIGURATION = (
    "mkdir -p kim/model-drivers kim/portable-models kim/simulator-models",
    'printf "%s-dir = $PWD/kim/%s\\n" model-drivers model-drivers portable-models portable-models simulator-models '
    "simulator-models >kim/configuration",
    f'export {CONFIGURATION_VARIABLE}="$PWD/kim/configuration"',
)


def check_kim_tools(machine: Machine) -> list[Finding]:
    """Check that KIM-API's tools are on PATH and new enough."""
    try:
        kim_api = find_kim_api(machine.variables)
    except FileNotFoundError as error:
        return [problem("KIM-API", f"the installation is damaged: {error}", "Install it again:", *INSTALL_KIM_API)]
    if kim_api is None:
        advice = "Install KIM-API, or add the folder of its programs to PATH:"
        return [problem("KIM-API", f"there is no {MANAGER} on PATH", advice, *INSTALL_KIM_API)]
    failure = kim_api.version_answer.failure
    if failure or not kim_api.version:
        found = f"{kim_api.tool} does not tell its version: {failure or kim_api.version_answer.stdout.strip()}"
        return [problem("KIM-API", found, "Install KIM-API again:", *INSTALL_KIM_API)]
    if is_older(kim_api.version, OLDEST_KIM_API):
        found = f"version {kim_api.version} ({kim_api.manager}) is too old: {OLDEST_KIM_API} or newer is needed"
        return [problem("KIM-API", found, "Install a newer one:", *INSTALL_KIM_API)]
    return [ok("KIM-API", f"version {kim_api.version} ({kim_api.manager})")]


def check_kim_configuration(machine: Machine) -> list[Finding]:
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
    # If this user has never used KIM, this question makes KIM write the file; its existence is tested afterwards.
    broken = [word for kind, word in KINDS.items() if not kim_api.user_folders(kind)]
    if not Path(file).exists():
        found = f"KIM cannot write its configuration file, '{file}'"
        advice = "Give yourself the right to write there, or make one of your own, in a folder that you can write, "
        advice += "without blanks in its path:"
        return [problem(name, found, advice, *OWN_CONFIGURATION)]
    if broken:
        found = f"KIM cannot read its configuration file '{file}': it names no folder for {' and '.join(broken)}"
        if machine.variables.get(CONFIGURATION_VARIABLE):
            advice = f"Correct {CONFIGURATION_VARIABLE}, which names it, or let KIM use the default collection:"
            return [problem(name, found, advice, f"unset {CONFIGURATION_VARIABLE}")]
        advice = "Move it away; KIM writes a new one when it is next used:"
        return [problem(name, found, advice, shlex.join(("mv", file, f"{file}.broken")), f"{MANAGER} list")]
    return _check_blanks(kim_api) or [ok(name, file)]


def _check_blanks(kim_api: KimApi) -> list[Finding]:
    """Return a problem if the configuration file names folders with blanks, where KIM cuts a path off."""
    named = {kim_api.folders_with_blanks(kind): word for kind, word in KINDS.items()}
    named.pop("", None)
    if not named:
        return []
    folders = " and ".join(f"'{text}' for {word}" for text, word in named.items())
    found = f"'{kim_api.configuration_file}' names {folders}, but KIM takes no blanks there: it cuts off what follows"
    return [
        problem(
            "configuration", found, "Make one of your own, in a folder without blanks in its path:", *OWN_CONFIGURATION
        )
    ]


def check_user_collection(machine: Machine) -> list[Finding]:
    """Check that the folders of the user collection can be written, and that libraries in them can be loaded."""
    kim_api = machine.collections
    if kim_api is None:
        return [skipped("user collection", NO_COLLECTIONS)]
    findings = []
    for kind, word in KINDS.items():
        if kim_api.folders_with_blanks(kind):
            findings.append(skipped(f"user {word}", "needs a path without blanks"))
            continue
        # KIM installs into the first folder only.
        folders = kim_api.user_folders(kind)[:1]
        findings += [_check_collection_folder(kim_api, f"user {word}", kind, folder) for folder in folders]
    return findings


def _check_collection_folder(kim_api: KimApi, name: str, kind: str, folder: Path) -> Finding:
    choose_another = _another_folder(kim_api, kind)
    if not folder.is_dir():
        found = f"'{folder}', named in {kim_api.configuration_file}, is not a folder"
        existing = next(path for path in folder.absolute().parents if path.exists())
        if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
            return problem(name, found, "Make it:", f"mkdir -p {shlex.quote(str(folder))}")
        return problem(name, f"{found}, nor can it be made", "Choose another one:", *choose_another)
    if not os.access(folder, os.W_OK | os.X_OK):
        found = f"'{folder}' cannot be written"
        if folder.stat().st_uid != os.geteuid() or is_read_only(folder):
            return problem(name, found, "Choose another folder:", *choose_another)
        advice = "Give yourself the right to write there, or choose another folder:"
        return problem(name, found, advice, f"chmod u+rwx {shlex.quote(str(folder))}", *choose_another)
    if not holds_programs(folder):
        found = f"'{folder}' is on a file system mounted noexec: nothing that is installed there can be loaded"
        return problem(name, found, "Choose a folder elsewhere, and install driver and models again:", *choose_another)
    return ok(name, str(folder))


def _another_folder(kim_api: KimApi, kind: str) -> tuple[str, ...]:
    """Return the commands that move a part of the user collection elsewhere."""
    if not os.access(kim_api.configuration_file, os.W_OK):
        return OWN_CONFIGURATION
    words = kind.replace("_", "-")
    # KIM's manager does not make the folder.
    return (f"mkdir -p ~/kim-{words}", f"{MANAGER} set-user-{words}-dir ~/kim-{words}")
