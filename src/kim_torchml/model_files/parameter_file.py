# SPDX-License-Identifier: LGPL-2.1-or-later
"""Read and check a model's parameter file (version 1 of the published format)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kim_torchml.errors import DriverError
from kim_torchml.model_files.elements import ATOMIC_NUMBERS, spelling_hint
from kim_torchml.model_files.plain_text import lines_of, quoted, to_number

MODEL_SUFFIX = ".pt"

# Å. No potential has a cutoff beyond these, and the square or a multiple of one could overflow.
SMALLEST_CUTOFF, LARGEST_CUTOFF = 1e-3, 1e6


@dataclass(frozen=True)
class KindFormat:
    """What the parameter files of a kind of input hold.

    Attributes:
        n_inputs: number of tensors that the model is called with, not counting one for each layer.
        has_layers: whether the number of layers follows the cutoff.
        names_descriptor: whether the last line names a descriptor.
    """

    n_inputs: int
    has_layers: bool = False
    names_descriptor: bool = False


@dataclass(frozen=True)
class ParameterFile:
    """What a parameter file says.

    Attributes:
        elements: element symbols; the index is KIM's species code.
        preprocessing: word that the kind of input is registered under.
        cutoff: cutoff of the model's neighbour lists, Å.
        n_layers: number of message-passing layers; 1 for a kind without layers.
        model_file: name of the model file, without a folder.
        returns_forces: whether the model returns (energy, forces) rather than energy.
        n_inputs: number of tensors that the model is called with.
        descriptor: name of the descriptor; None for a kind without one.
    """

    elements: tuple[str, ...]
    preprocessing: str
    cutoff: float
    n_layers: int
    model_file: str
    returns_forces: bool
    n_inputs: int
    descriptor: str | None


class _Values:
    """Values of the file one after the other, with their line numbers; comments and blank lines are left out."""

    def __init__(self, text: str, file_name: str) -> None:
        self.file_name = file_name
        self._lines = []
        lines = lines_of(text)
        for number, line in enumerate(lines, start=1):
            # A '#' inside a word is part of it, as in a file name.
            value = re.sub(r"(^|\s)#.*", "", line).strip()
            if value:
                self._lines.append((number, value))
        self._position = 0
        self._last_line = len(lines)

    def next(self, what: str) -> str:
        """Return the next value; `what` names it in the error where the file has ended."""
        if self._position == len(self._lines):
            raise DriverError(
                f"`{what}` is missing (file {self.file_name}, after line {self._last_line}): the file ends "
                "early; add the missing line"
            )
        self._position += 1
        return self._lines[self._position - 1][1]

    def at_end(self) -> bool:
        return self._position == len(self._lines)

    def error(self, what: str, expected: str, found: str, advice: str) -> DriverError:
        """Return the error for the value that was read last."""
        line = self._lines[self._position - 1][0]
        return DriverError(
            f"`{what}` must be {expected}, got {quoted(found)} (file {self.file_name}, line {line}); {advice}"
        )


def read_parameter_file(path: Path, kinds: Mapping[str, KindFormat]) -> ParameterFile:
    """Read a parameter file.

    Args:
        path: The file.
        kinds: What the files of each kind of input hold, by the kind's word.
    Returns:
        Its checked content.
    Raises:
        DriverError: Naming file, line, what was expected, what was found and what to do.
    """
    return parse_parameter_file(read_parameter_bytes(path), path.name, kinds)


def read_parameter_bytes(path: Path) -> bytes:
    """Return the content of a parameter file.

    Raises:
        DriverError: If it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise _not_readable(path.name, error) from error


def _not_readable(name: str, error: Exception) -> DriverError:
    return DriverError(f"cannot read the parameter file {name}: {error}; it must be plain text")


def parse_parameter_file(content: bytes, name: str, kinds: Mapping[str, KindFormat]) -> ParameterFile:
    """Return what the content of a parameter file says; see read_parameter_file.

    Args:
        content: The file's bytes.
        name: Its name, for messages.
        kinds: What the files of each kind of input hold, by the kind's word.
    """
    try:
        values = _Values(content.decode("utf-8-sig"), name)
    except UnicodeDecodeError as error:
        raise _not_readable(name, error) from error
    elements = _read_elements(values)
    preprocessing = _read_preprocessing(values, kinds)
    kind = kinds[preprocessing]
    cutoff = _read_cutoff(values)
    n_layers = _read_count(values, "number of layers") if kind.has_layers else 1
    model_file = _read_file_name(values)
    returns_forces = _read_boolean(values, "returns forces")
    n_inputs = _read_n_inputs(values, preprocessing, kind, n_layers)
    descriptor = _read_descriptor(values, preprocessing, kind)
    if not values.at_end():
        extra = values.next("end of file")
        raise values.error("end of file", "reached after the descriptor's name", extra, "remove the extra lines")
    return ParameterFile(elements, preprocessing, cutoff, n_layers, model_file, returns_forces, n_inputs, descriptor)


def _read_elements(values: _Values) -> tuple[str, ...]:
    count = _read_count(values, "number of elements")
    elements: list[str] = []
    while len(elements) < count:
        for symbol in values.next("element symbols").split():
            if symbol not in ATOMIC_NUMBERS:
                raise values.error(
                    "element symbols",
                    "symbols of chemical elements",
                    symbol,
                    f"correct the symbol{spelling_hint(symbol)}",
                )
            if symbol in elements:
                raise values.error("element symbols", "different from each other", symbol, "name each element once")
            elements.append(symbol)
    if len(elements) > count:
        raise values.error(
            "element symbols",
            f"{count} symbols, as the number of elements says",
            " ".join(elements),
            "correct the number or the symbols",
        )
    return tuple(elements)


def _read_preprocessing(values: _Values, kinds: Mapping[str, KindFormat]) -> str:
    found = values.next("preprocessing")
    for word in kinds:
        if found.lower() == word.lower():
            return word
    *others, last = kinds
    raise values.error(
        "preprocessing",
        f"{', '.join(others)} or {last}",
        found,
        "choose the kind that the model was made for",
    )


def _read_cutoff(values: _Values) -> float:
    found = values.next("cutoff")
    cutoff = to_number(found)
    if not SMALLEST_CUTOFF <= cutoff <= LARGEST_CUTOFF:
        raise values.error("cutoff", "a positive number (Å)", found, "give the model's cutoff")
    return cutoff


def _read_count(values: _Values, what: str) -> int:
    found = values.next(what)
    if not re.fullmatch(r"[0-9]{1,6}", found) or int(found) < 1:
        raise values.error(what, "a whole number, 1 or more", found, f"give the {what}")
    return int(found)


def _read_file_name(values: _Values) -> str:
    found = values.next("model file name")
    if found.endswith(".pt2"):
        raise values.error(
            "model file name",
            "a TorchScript file (.pt)",
            found,
            "export the model with torch.jit.script(...).save(...): .pt2 files cannot be run yet",
        )
    if "/" in found or "\\" in found or "\0" in found or not found.endswith(MODEL_SUFFIX) or found == MODEL_SUFFIX:
        raise values.error(
            "model file name",
            "the name of a .pt file in the model's own folder",
            found,
            "give the name alone, without a folder",
        )
    return found


def _read_boolean(values: _Values, what: str) -> bool:
    found = values.next(what)
    if found.lower() not in ("true", "false"):
        raise values.error(what, "true or false", found, "say whether the model itself returns forces")
    return found.lower() == "true"


def _read_n_inputs(values: _Values, preprocessing: str, kind: KindFormat, n_layers: int) -> int:
    expected = kind.n_inputs + (n_layers if kind.has_layers else 0)
    found = _read_count(values, "number of inputs")
    if found != expected:
        layers = f" with {n_layers} layers" if kind.has_layers else ""
        raise values.error(
            "number of inputs",
            f"{expected} for the preprocessing {preprocessing}{layers}",
            str(found),
            "correct the number of inputs or of layers",
        )
    return found


def _read_descriptor(values: _Values, preprocessing: str, kind: KindFormat) -> str | None:
    found = "None" if values.at_end() else values.next("descriptor")
    if kind.names_descriptor:
        if found.lower() == "none":
            raise values.error(
                "descriptor",
                f"the name of one for the preprocessing {preprocessing}",
                found,
                "name it on the last line",
            )
        return found
    if found.lower() != "none":
        raise values.error("descriptor", f"None for the preprocessing {preprocessing}", found, "write None")
    return None
