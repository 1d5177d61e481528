# SPDX-License-Identifier: LGPL-2.1-or-later
"""The text of a model.toml, written from a description."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from kim_torchml.model_files.description import ModelDescription
from kim_torchml.model_files.model_toml import ENERGY, FORMAT, SPECIES_AS, WHERE


def model_toml_text(description: ModelDescription) -> str:
    """Return the text of a model.toml that says what a description says.

    Args:
        description: The description, with a digest, a floating type, and what the energy is.
    """
    return "\n".join(_lines(description)) + "\n"


def _lines(description: ModelDescription) -> Iterator[str]:
    yield f"format = {FORMAT}"
    yield ""
    yield "[model]"
    yield f"file = {_text(description.model_file)}"
    yield f"sha256 = {_text(description.sha256 or '')}"
    yield f"kind = {_text(description.kind.lower())}"
    yield f"dtype = {_text(description.dtype or '')}"
    yield f"species = {_texts(description.species)}"
    yield f"species_as = {_word(SPECIES_AS, description.atomic_numbers)}"
    yield f"cutoff = {_number(description.cutoff)}"
    if description.has_layers:
        yield f"layers = {description.n_layers}"
    yield f"energy = {_word(ENERGY, bool(description.energy_per_particle))}"
    yield f"returns_forces = {_boolean(description.returns_forces)}"
    if description.in_store:
        yield f"where = {_word(WHERE, True)}"
    if description.descriptor is not None:
        yield from ("", "[descriptor]", f"name = {_text(description.descriptor)}")
        yield f"file = {_text(description.descriptor_file or '')}"
    yield from _table("parameters", description.parameters or {})
    yield from _limits(description)
    yield from _about(description)
    yield from _table("made_with", description.made_with)


def _limits(description: ModelDescription) -> Iterator[str]:
    limits = description.limits
    if limits is None:
        return
    yield from ("", "[limits]")
    if limits.smallest_distance:
        yield f"smallest_distance = {_number(limits.smallest_distance)}"
    if limits.most_neighbours is not None:
        yield f"most_neighbours = {limits.most_neighbours}"
    yield f"stop = {_boolean(limits.stop)}"


def _about(description: ModelDescription) -> Iterator[str]:
    if not description.about:
        return
    yield from ("", "[about]")
    for key, value in description.about.items():
        yield f"{_key(key)} = {_text(value) if isinstance(value, str) else _texts(value)}"


def _table(name: str, values: Mapping[str, str]) -> Iterator[str]:
    if values:
        yield from ("", f"[{name}]")
        yield from (f"{_key(key)} = {_text(value)}" for key, value in values.items())


def _key(key: str) -> str:
    # A dot in a bare key would begin a table.
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _text(key)


def _word(words: Mapping[str, bool], flag: bool) -> str:
    return _text(next(word for word, meaning in words.items() if meaning == flag))


def _texts(values: Sequence[str]) -> str:
    return f"[{', '.join(map(_text, values))}]"


def _number(value: float) -> str:
    # numpy's numbers, which are floats too, show their type.
    return repr(float(value))


def _boolean(value: bool) -> str:
    return str(value).lower()


def _text(value: str) -> str:
    # JSON escapes what TOML wants escaped, but for DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
