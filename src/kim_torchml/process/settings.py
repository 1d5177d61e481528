# SPDX-License-Identifier: LGPL-2.1-or-later
"""The environment variables that users set."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from kim_torchml.errors import DriverError, shortened

DEVICE = "KIM_MODEL_EXECUTION_DEVICE"
ELEMENTS_MAP = "KIM_MODEL_ELEMENTS_MAP"
THREADS = "KIM_TORCHML_THREADS"
QUIET = "KIM_TORCHML_QUIET"
DETERMINISTIC = "KIM_TORCHML_DETERMINISTIC"
PROFILE = "KIM_TORCHML_PROFILE"
PYTHON = "KIM_TORCHML_PYTHON"
MODEL_PATH = "KIM_TORCHML_MODEL_PATH"
CACHE = "KIM_TORCHML_CACHE"
COMPILE = "KIM_TORCHML_COMPILE"
# Whether compiled programs are used: not at all, where the cache has them, or made where it has none.
NEVER, CACHED, NOW = COMPILE_WORDS = ("never", "cached", "now")
EDGES = "KIM_TORCHML_EDGES"
# What becomes of images and of other ranks' particles: what suits the run; rows of their own; folded onto their owners;
# copies whose features are exchanged.
AUTO, STAGED, FOLDED, EXCHANGE = EDGES_WORDS = ("auto", "staged", "folded", "exchange")
COMMUNICATOR = "KIM_TORCHML_COMMUNICATOR"
# Which ranks compute one system, and so wait for each other: as the simulator is known, all of MPI's world, or none.
KNOWN, WORLD, NO_COMMUNICATOR = COMMUNICATOR_WORDS = ("auto", "world", "none")
# Each of these variables is unset or one of these words, in upper or lower case; else no model opens.
WORDS = {COMPILE: COMPILE_WORDS, EDGES: EDGES_WORDS, COMMUNICATOR: COMMUNICATOR_WORDS}
DUMP = "KIM_TORCHML_DUMP"
# What a failure does to this process; the shim reads it (kim_driver_cpp/report.cpp).
ON_ERROR = "KIM_TORCHML_ON_ERROR"
ON_ERROR_WORDS = ("exit", "return")

# Variables that are on or off.
SWITCHES = (ELEMENTS_MAP, QUIET, DETERMINISTIC, PROFILE)

# The words, in any case. kim_driver_cpp/switches.cmake has them too, for the variables that a build reads.
ON_WORDS = ("1", "true", "yes", "on")
OFF_WORDS = ("", "0", "false", "no", "off")


def variables_that_change_results() -> str:
    """Return the variables that change results, as "NAME=value ...", without those that are not set."""
    return " ".join(f"{name}={os.environ[name]}" for name in (DEVICE, ELEMENTS_MAP, EDGES) if name in os.environ)


def dump_folder() -> str:
    """Return the folder in which failures are saved; empty where they are not."""
    return os.environ.get(DUMP, "")


def execution_device() -> str:
    """Return the requested device; cpu where none is."""
    return os.environ.get(DEVICE, "").strip() or "cpu"


def is_on(name: str) -> bool:
    """Return whether a switch is on; a word that is neither on nor off counts as on, as in the published driver."""
    return os.environ.get(name, "").strip().lower() not in OFF_WORDS


def why_no_switch(name: str, text: str) -> str:
    """Return what is wrong with the value of a switch, or an empty string."""
    if text.strip().lower() in (*ON_WORDS, *OFF_WORDS):
        return ""
    words = f"{', '.join(ON_WORDS)}, or {', '.join(filter(None, OFF_WORDS))}"
    return f"the environment variable {name} must be one of {words}, got '{shortened(text, 60)}', which counts as on"


def doubtful_switches() -> dict[str, str]:
    """Return what is wrong with the switches whose values are neither on nor off, a sentence by the name of each."""
    return {name: reason for name in SWITCHES if (reason := why_no_switch(name, os.environ.get(name, "")))}


def wants_atomic_numbers() -> bool:
    """Return whether models of the kinds None and Graph get atomic numbers instead of species codes."""
    return is_on(ELEMENTS_MAP)


def is_quiet() -> bool:
    """Return whether the line about the first use and warnings are to be left out."""
    return is_on(QUIET)


def wants_determinism() -> bool:
    """Return whether a GPU is to give the same bits for the same input, which torch's fastest algorithms do not."""
    return is_on(DETERMINISTIC)


def wants_profile() -> bool:
    """Return whether to measure where the time of each compute goes."""
    return is_on(PROFILE)


def model_path(environment: Mapping[str, str] = os.environ) -> list[Path]:
    """Return the folders of model files that the user has named, in the order in which they are searched."""
    # Unlike that of pathlib, this leaves the name of an unknown user as it is.
    named = environment.get(MODEL_PATH, "").split(os.pathsep)
    return [Path(os.path.expanduser(each)) for each in named if each]  # noqa: PTH111


def user_data_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder for this user's data of kim-torchml, which need not be there.

    Raises:
        DriverError: If this user has no home folder, as in a container that runs under any number.
    Source:
        XDG Base Directory Specification: a relative path counts as none.
    """
    for folder in (environment.get("XDG_DATA_HOME", ""), os.path.expanduser("~/.local/share")):  # noqa: PTH111
        if Path(folder).is_absolute():
            return Path(folder) / "kim-torchml"
    raise DriverError(
        "this user must have a home folder, got none from HOME and the system's list of users; set XDG_DATA_HOME to a "
        "folder for data"
    )


def why_no_word(name: str, text: str) -> str:
    """Return what is wrong with the value of a variable that is one of some words, or an empty string."""
    words = WORDS[name]
    if text.strip().lower() in ("", *words):
        return ""
    return (
        f"the environment variable {name} must be {', '.join(words[:-1])} or {words[-1]}, got '{shortened(text, 60)}'"
    )


def compile_word(environment: Mapping[str, str] = os.environ) -> str:
    """Return what KIM_TORCHML_COMPILE asks for, by default "cached".

    Raises:
        DriverError: If it is another word.
    """
    return _word(COMPILE, environment) or CACHED


def edges_word(environment: Mapping[str, str] = os.environ) -> str:
    """Return what KIM_TORCHML_EDGES asks for, by default "auto".

    Raises:
        DriverError: If it is another word.
    """
    return _word(EDGES, environment) or AUTO


def communicator_word(environment: Mapping[str, str] = os.environ) -> str:
    """Return what KIM_TORCHML_COMMUNICATOR asks for, by default "auto".

    Raises:
        DriverError: If it is another word.
    """
    return _word(COMMUNICATOR, environment) or KNOWN


def _word(name: str, environment: Mapping[str, str]) -> str:
    text = environment.get(name, "")
    if reason := why_no_word(name, text):
        raise DriverError(f"{reason}; correct or unset it")
    return text.strip().lower()


def compile_settings() -> tuple[str, str]:
    """Return all that users say of compiling: a word, and the folder of compiled programs as they have named it.

    Raises:
        DriverError: See compile_word.
    """
    return compile_word(), os.environ.get(CACHE, "")


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder for programs that this machine has compiled, which need not be there.

    Raises:
        DriverError: If this user has no home folder, or the variable names no absolute path.
    Source:
        XDG Base Directory Specification: a relative path counts as none.
    """
    named = environment.get(CACHE, "")
    if named:
        path = Path(os.path.expanduser(named))  # noqa: PTH111
        if not path.is_absolute():
            raise DriverError(f"the environment variable {CACHE} must be an absolute path, got '{named}'; correct it")
        return path
    for folder in (environment.get("XDG_CACHE_HOME", ""), os.path.expanduser("~/.cache")):  # noqa: PTH111
        if Path(folder).is_absolute():
            return Path(folder) / "kim-torchml" / "compiled"
    raise DriverError(
        f"this user must have a home folder, got none from HOME and the system's list of users; set {CACHE} to a "
        "folder for compiled programs"
    )


def count_of(text: str) -> int | None:
    """Return the whole number, 1 or more, that a variable's text is; None if it is none."""
    count = int(text) if re.fullmatch(r"\d{1,5}", text.strip()) else 0
    return count if count > 0 else None
