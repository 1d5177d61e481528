# SPDX-License-Identifier: LGPL-2.1-or-later
"""What errors call things where a folder is written: its author knows arguments or options, and no model.toml yet."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kim_torchml.errors import DriverError
from kim_torchml.model_files.model_toml import ABOUT_TEXTS, MODEL_TOML
from kim_torchml.tools.package.arguments import LIMITS

# Names of model files, by their formats: TorchScript, and programs of torch.export.
SCRIPT_FILE, EXPORTED_FILE = "model.pt", "model.pt2"

_FILE = re.escape(MODEL_TOML)
# What errors say of a model.toml, and what they say in its place.
_OF_FILE = (
    (rf" \(file {_FILE}\)", ""),
    (r"`(\w+)` in \[model\]", r"`\1`"),
    (r"`(\w+)` in \[(about|limits)\]", r"`\2['\1']`"),
    (rf"\[parameters\] in {_FILE}", "`parameters`"),
    (rf"(`\w+`) in {_FILE}", r"\1"),
    (rf"as {_FILE} says", "as was said"),
    (rf"{_FILE} says (dtype = )", r"what was said is \1"),
    (rf"^a line of {_FILE} must have (.*) at line \d+;", r"each text about a model must have \1;"),
    (rf"\b{_FILE}'s\b", "the model's"),
    (rf"the name in {_FILE}", "the name"),
    ("correct that of the two files that is wrong", "correct that or the file"),
    (rf"^{_FILE} must", "what is said of a model must"),
    ("correct what that file says, or", "correct what was said, or"),
    ("correct that line or", "correct that or"),
    ("correct (`energy`) there, or", r"correct \1, or"),
)
_ARGUMENTS = (
    *("name", "kind", "species", "cutoff", "layers", "species_as", "energy", "dtype", "returns_forces"),
    *("descriptor", "descriptor_file", "driver"),
)
_OPTIONS = {
    **{each: f"--{each.replace('_', '-')}" for each in _ARGUMENTS},
    **{f"limits['{each}']": f"--{each.replace('_', '-')}" for each in LIMITS},
    **{f"about['{each}']": f"--{each.replace('_', '-')}" for each in ABOUT_TEXTS},
    "about['authors']": "--author",
    "parameters": "--parameter",
}


def in_arguments(message: str) -> str:
    """Return a message about a model.toml as one about the arguments of `save_model`."""
    for pattern, text in _OF_FILE:
        message = re.sub(pattern, text, message)
    return message


def in_options(message: str, file: str) -> str:
    """Return a message about arguments as one about the options of `kim-torchml package` and its FILE."""
    # What a file of its own says has no option.
    if " (file " not in message:
        message = re.sub(r"`([^`]+)`", lambda match: _OPTIONS.get(match[1], match[0]), message)
    return re.sub(rf"(?<![\w./-]){re.escape(SCRIPT_FILE)}2?\b", lambda match: file, message)


@contextmanager
def reworded_errors(reword: Callable[[str], str]) -> Iterator[None]:
    """Let errors say something in other words."""
    try:
        yield
    except DriverError as error:
        message = reword(str(error))
        if message == str(error):
            raise
        raise DriverError(message) from error
