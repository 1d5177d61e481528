# SPDX-License-Identifier: LGPL-2.1-or-later
"""KIM-API as its own tools describe it: its place, its version, its collections and what is installed in them."""

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from kim_torchml.tools.programs.run_program import ProgramOutcome, run_program

MANAGER = "kim-api-collections-management"
CONFIGURATION_VARIABLE = "KIM_API_CONFIGURATION_FILE"
DRIVERS_VARIABLE = "KIM_API_MODEL_DRIVERS_DIR"
MODELS_VARIABLE = "KIM_API_PORTABLE_MODELS_DIR"

# Keys are the words by which KIM's manager takes a collection, values those by which its tool names it.
COLLECTIONS = {
    "user": "user",
    "environment": "environmentVariable",
    "system": "system",
    "CWD": "currentWorkingDirectory",
}

# Keys are what KIM calls each kind of item, values what people call it.
KINDS = {"model_drivers": "model drivers", "portable_models": "portable models"}


@dataclass(frozen=True)
class Item:
    """An installed model driver or model.

    Attributes:
        collection: Collection that holds it, in the words of KIM's tool.
        name: KIM id of the item.
        folder: Folder that it is installed in.
    """

    collection: str
    name: str
    folder: Path

    @property
    def where(self) -> str:
        """The collection in the word by which KIM's manager takes it, such as environment."""
        return next((word for word, name in COLLECTIONS.items() if name == self.collection), self.collection)

    @property
    def is_in_working_folder(self) -> bool:
        """Whether KIM found it in the folder that this program runs in, which may hold what nobody has installed."""
        return self.collection == COLLECTIONS["CWD"]


class KimApi:
    """KIM-API as its tools show it; most answers are asked for once and then kept.

    Attributes:
        manager: Path of the collections manager.
        tool: Path of the program that the manager itself calls for facts about collections.
        environment: Environment variables that both get.
    """

    def __init__(self, manager: Path, tool: Path, environment: Mapping[str, str]) -> None:
        self.manager = manager
        self.tool = tool
        self.environment = environment

    def _ask(self, *question: str) -> ProgramOutcome:
        return run_program([self.tool, *question], self.environment)

    @cached_property
    def version_answer(self) -> ProgramOutcome:
        """How the tool answers to --version."""
        return self._ask("--version")

    @property
    def version(self) -> str:
        """Version of KIM-API, such as 2.3.0, or an empty string."""
        match = re.search(r"\d+\.\d+(\.\d+)?", self.version_answer.stdout)
        return "" if match is None else match.group(0)

    @cached_property
    def configuration_file(self) -> str:
        """Path of the configuration file, whether or not the file exists.

        KIM writes the default file only when it is asked for more than its path, as `user_folders` does.
        """
        chosen = self.environment.get(CONFIGURATION_VARIABLE, "")
        return chosen or self._ask("config_file", "name").stdout.strip()

    @property
    def is_configured(self) -> bool:
        """Whether questions about collections are safe: KIM would create a configuration file that was misspelt."""
        chosen = self.environment.get(CONFIGURATION_VARIABLE, "")
        return not chosen or Path(chosen).exists()

    def user_folders(self, kind: str) -> list[Path]:
        """Return the user collection's folders for a kind of item; the list is empty if the configuration is broken."""
        return self._folders("config_file", kind)

    def collection_folders(self, collection: str, kind: str) -> list[Path]:
        """Return the folders of a collection for a kind of item; KIM installs into the first.

        Args:
            collection: One of the words in COLLECTIONS.
            kind: Kind of item, as KIM calls it.
        """
        if collection == "CWD":
            return [Path.cwd()]
        return self._folders({"environment": "env", "user": "config_file"}.get(collection, collection), kind)

    def _folders(self, whose: str, kind: str) -> list[Path]:
        return [Path(path) for path in re.split(r"[:\n]", self._ask(whose, kind).stdout.strip()) if path]

    def folders_with_blanks(self, kind: str) -> str:
        """Return the folders that the configuration file names for a kind of item if they hold blanks, else nothing.

        KIM cuts a path off at its first blank.
        """
        try:
            text = Path(self.configuration_file).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        match = re.search(rf"^\s*{kind.replace('_', '-')}-dir\s*=[ \t]*(\S+[ \t]+\S.*)$", text, re.MULTILINE)
        return "" if match is None else match.group(1).rstrip()

    def items(self, kind: str) -> list[Item]:
        """Return the installed items of a kind from all collections, in the order in which KIM searches these."""
        return self._items[kind]

    @cached_property
    def _items(self) -> dict[str, list[Item]]:
        found = {}
        for kind in KINDS:
            rows = (line.split(" ", 2) for line in self._ask(kind).stdout.splitlines())
            found[kind] = [Item(row[0], row[1], Path(row[2], row[1]).absolute()) for row in rows if len(row) == 3]
        return found

    @cached_property
    def library(self) -> str:
        """Path of the KIM-API library that its tools are linked with, or an empty string."""
        return linked_library(self.tool, "libkim-api", self.environment)


def find_kim_api(environment: Mapping[str, str]) -> KimApi | None:
    """Return the KIM-API whose manager is first on PATH, or None.

    Raises:
        FileNotFoundError: If the manager exists, but the tool that it calls does not.
    """
    manager = shutil.which(MANAGER, path=environment.get("PATH", ""))
    if manager is None:
        return None
    # The manager itself looks for its tool there.
    tool = Path(manager).resolve().parent.parent / "libexec" / "kim-api" / "kim-api-collections-info"
    if not os.access(tool, os.X_OK):
        raise FileNotFoundError(f"{manager} needs {tool}, which is not there")
    return KimApi(Path(manager), tool, environment)


def linked_library(program: str | Path, name: str, environment: Mapping[str, str]) -> str:
    """Return the path of a library that a program needs, directly or through others; empty if it needs none.

    Args:
        program: Path of a program or a library.
        name: Beginning of the file name of the library that is looked for.
        environment: Environment variables, because LD_LIBRARY_PATH changes the answer.
    Source:
        ldd(1).
    """
    for line in run_program(["ldd", program], environment).stdout.splitlines():
        match = re.match(rf"\s*({re.escape(name)}\S*) => (.+?)(?: \(0x[0-9a-f]+\))?$", line)
        if match is not None:
            return match.group(1) if match.group(2) == "not found" else match.group(2)
    return ""
