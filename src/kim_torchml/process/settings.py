# SPDX-License-Identifier: LGPL-2.1-or-later
"""The environment variables that users set."""

import os
import re

DEVICE = "KIM_MODEL_EXECUTION_DEVICE"
ELEMENTS_MAP = "KIM_MODEL_ELEMENTS_MAP"
THREADS = "KIM_TORCHML_THREADS"
QUIET = "KIM_TORCHML_QUIET"
DETERMINISTIC = "KIM_TORCHML_DETERMINISTIC"
PYTHON = "KIM_TORCHML_PYTHON"
DUMP = "KIM_TORCHML_DUMP"


def variables_that_change_results() -> str:
    """Return the variables that change results, as "NAME=value ...", without those that are not set."""
    return " ".join(f"{name}={os.environ[name]}" for name in (DEVICE, ELEMENTS_MAP) if name in os.environ)


def dump_folder() -> str:
    """Return the folder in which failures are saved; empty where they are not."""
    return os.environ.get(DUMP, "")


def execution_device() -> str:
    """Return the requested device; cpu where none is."""
    return os.environ.get(DEVICE, "").strip() or "cpu"


def wants_atomic_numbers() -> bool:
    """Return whether models of the kinds None and Graph get atomic numbers instead of species codes."""
    return ELEMENTS_MAP in os.environ


def is_quiet() -> bool:
    """Return whether the line about the first use is to be left out."""
    return os.environ.get(QUIET, "") == "1"


def wants_determinism() -> bool:
    """Return whether a GPU is to give the same bits for the same input, which torch's fastest algorithms do not."""
    return os.environ.get(DETERMINISTIC, "") == "1"


def count_of(text: str) -> int | None:
    """Return the whole number, 1 or more, that a variable's text is; None if it is none."""
    count = int(text) if re.fullmatch(r"\d{1,5}", text.strip()) else 0
    return count if count > 0 else None
