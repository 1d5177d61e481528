# SPDX-License-Identifier: LGPL-2.1-or-later
"""Read and check a model's parameter file: format 1, in which values stand in a fixed order."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from kim_torchml.errors import DriverError
from kim_torchml.model_files.description import LARGEST_CUTOFF, SMALLEST_CUTOFF, KindFormat, ModelDescription
from kim_torchml.model_files.elements import ATOMIC_NUMBERS, spelling_hint
from kim_torchml.model_files.plain_text import lines_of, quoted, to_number

MODEL_SUFFIX = ".pt"


@dataclass(frozen=True)
class ElementsMap:
    """Whether models of parameter files get atomic numbers instead of species codes, which their files do not say.

    Attributes:
        is_on: whether they do.
        variable: environment variable that says so, for messages.
    """

    is_on: bool = False
    variable: str = "KIM_MODEL_ELEMENTS_MAP"


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


def parse_parameter_file(
    content: bytes, name: str, kinds: Mapping[str, KindFormat], elements_map: ElementsMap
) -> ModelDescription:
    """Return what the content of a parameter file says.

    Args:
        content: The file's bytes.
        name: Its name, for messages.
        kinds: What the files of each kind of input say, by the kind's word.
        elements_map: What parameter files leave to the environment.
    Raises:
        DriverError: Naming file, line, what was expected, what was found and what to do.
    """
    try:
        values = _Values(content.decode("utf-8-sig"), name)
    except UnicodeDecodeError as error:
        raise DriverError(f"cannot read the parameter file {name}: {error}; it must be plain text") from error
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
    return ModelDescription(
        file_name=name,
        format=1,
        model_file=model_file,
        kind=preprocessing,
        species=elements,
        atomic_numbers=elements_map.is_on,
        cutoff=cutoff,
        n_layers=n_layers,
        has_layers=kind.has_layers,
        returns_forces=returns_forces,
        inputs_stated=f"the parameter file says (preprocessing {preprocessing}, number of inputs {n_inputs})",
        counts_inputs=True,
        returns_stated=f"the parameter file says (returns forces: {str(returns_forces).lower()})",
        coding_advice=f"set {elements_map.variable}=1",
        descriptor=descriptor,
    )


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
    words = [word for word, kind in kinds.items() if kind.in_parameter_files]
    for word in words:
        if found.lower() == word.lower():
            return word
    *others, last = words
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
            "export the model with torch.jit.script(...).save(...), or describe the .pt2 file in a model.toml",
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
    expected = kind.count_inputs(n_layers)
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
