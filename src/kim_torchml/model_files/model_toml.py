# SPDX-License-Identifier: LGPL-2.1-or-later
"""Read and check model.toml: format 2, in which a model says what it is."""

import re
from collections.abc import Mapping, Sequence

from kim_torchml.model_files.description import (
    LARGEST_CUTOFF,
    SMALLEST_CUTOFF,
    KindFormat,
    Limits,
    ModelDescription,
    is_plain_name,
)
from kim_torchml.model_files.elements import ATOMIC_NUMBERS, spelling_hint
from kim_torchml.model_files.toml_parser import parse_toml
from kim_torchml.model_files.toml_table import TomlTable

MODEL_TOML = "model.toml"
FORMAT = 2

# Of TorchScript files, and of programs of torch.export.
_TORCHSCRIPT, _EXPORTED = ".pt", ".pt2"
MODEL_SUFFIXES = (_TORCHSCRIPT, _EXPORTED)

DTYPES = ("float64", "float32", "float16", "bfloat16")
# Words of `species_as`, `energy` and `where`, and whether each means that the description's flag is set.
SPECIES_AS = {"codes": False, "atomic numbers": True}
ENERGY = {"per particle": True, "total": False}
WHERE = {"folder": False, "store": True}

_TABLES = ("format", "model", "descriptor", "parameters", "limits", "about", "made_with")
_MODEL_KEYS = (
    *("file", "sha256", "kind", "dtype", "species", "species_as", "cutoff", "layers", "energy", "returns_forces"),
    "where",
)
ABOUT_TEXTS = ("title", "doi", "licence", "description", "trained_on")
_MOST_LAYERS = 1000
_MOST_NEIGHBOURS = 10**6


def parse_model_toml(content: bytes, name: str, kinds: Mapping[str, KindFormat]) -> ModelDescription:
    """Return what the content of a model.toml says.

    Args:
        content: The file's bytes.
        name: Its name, for messages.
        kinds: What the files of each kind of input say, by the kind's word.
    Raises:
        DriverError: Naming file, key, what was expected, what was found and what to do.
    """
    top = TomlTable(parse_toml(content, name), "", name)
    # A newer format may have other tables.
    top.integer(
        "format", FORMAT, FORMAT, str(FORMAT), f"write format = {FORMAT}, or update kim-torchml for a newer one"
    )
    top.check_keys(_TABLES)
    model = top.table("model")
    model.check_keys(_MODEL_KEYS)
    kind_word = model.choice("kind", [word.lower() for word in kinds], "name the kind that the model was made for")
    word, kind = next((word, kind) for word, kind in kinds.items() if word.lower() == kind_word)
    cutoff = _read_cutoff(model)
    n_layers = _read_layers(model, kind_word, kind)
    returns_forces = _read_returns_forces(model, kind_word, kind)
    descriptor, descriptor_file = _read_descriptor(top, kind_word, kind)
    layers = f", layers = {n_layers}" if kind.edges_by_layer else ""
    return ModelDescription(
        file_name=name,
        format=FORMAT,
        model_file=_read_model_file(model, kind_word, kinds),
        sha256=_read_digest(model),
        kind=word,
        dtype=model.choice("dtype", DTYPES, "name the floating type of the model's inputs"),
        species=_read_species(model),
        atomic_numbers=_read_species_as(model, kind_word, kind),
        cutoff=cutoff,
        n_layers=n_layers,
        has_layers=kind.has_layers,
        energy_per_particle=_read_energy(model, kind_word, kind),
        returns_forces=returns_forces,
        in_store=model.has("where") and WHERE[model.choice("where", list(WHERE), "say where the model file is")],
        inputs_stated=f'{name} says (kind = "{kind_word}"{layers})',
        returns_stated=f"{name} says (returns_forces = {str(returns_forces).lower()})",
        coding_advice="" if kind.names_descriptor else f'write species_as = "atomic numbers" in {name}',
        descriptor=descriptor,
        descriptor_file=descriptor_file,
        parameters=_read_parameters(top),
        limits=_read_limits(top, cutoff),
        about=_read_about(top),
        made_with=_read_made_with(top),
    )


def _read_model_file(model: TomlTable, kind_word: str, kinds: Mapping[str, KindFormat]) -> str:
    expected = f"the name of a {' or '.join(MODEL_SUFFIXES)} file in the model's own folder"
    advice = "give the name alone, without a folder"
    name = model.text("file", expected, advice)
    if not is_plain_name(name) or not name.endswith(MODEL_SUFFIXES) or name in MODEL_SUFFIXES:
        raise model.error("file", expected, advice)
    exported = [word.lower() for word, kind in kinds.items() if kind.may_be_exported]
    if name.endswith(_EXPORTED) and kind_word not in exported:
        raise model.error(
            "file",
            f"a TorchScript file ({_TORCHSCRIPT}) for the kind {kind_word}",
            f"export the model as one of the kind {' or '.join(exported)}, or save it with "
            "torch.jit.script(...).save(...)",
        )
    return name


def _read_digest(model: TomlTable) -> str:
    expected, advice = "64 hexadecimal digits", "give what `sha256sum` prints for the model file"
    digest = model.text("sha256", expected, advice)
    if not re.fullmatch(r"[0-9a-fA-F]{64}", digest):
        raise model.error("sha256", expected, advice)
    return digest.lower()


def _read_species(model: TomlTable) -> tuple[str, ...]:
    expected = "symbols of chemical elements, in the order of their codes"
    symbols = model.texts("species", expected, 'such as species = ["H", "O"]')
    for symbol in symbols:
        if symbol not in ATOMIC_NUMBERS:
            raise model.error("species", expected, f"correct the symbol{spelling_hint(symbol)}", found=symbol)
        if symbols.count(symbol) > 1:
            raise model.error("species", "different from each other", "name each element once", found=symbol)
    return tuple(symbols)


def _read_species_as(model: TomlTable, kind_word: str, kind: KindFormat) -> bool:
    word = model.choice("species_as", list(SPECIES_AS), "say what the model gets as species")
    if SPECIES_AS[word] and kind.names_descriptor:
        raise model.error("species_as", f'"codes" for the kind {kind_word}', "descriptors tell elements by their codes")
    return SPECIES_AS[word]


def _read_cutoff(model: TomlTable) -> float:
    expected = f"a number from {SMALLEST_CUTOFF} to {LARGEST_CUTOFF:.0f} (Å)"
    return model.number("cutoff", SMALLEST_CUTOFF, LARGEST_CUTOFF, expected, "give the model's cutoff")


def _read_layers(model: TomlTable, kind_word: str, kind: KindFormat) -> int:
    if kind.has_layers:
        advice = "give the number of message-passing layers; 1 is strictly local"
        return model.integer("layers", 1, _MOST_LAYERS, f"a whole number from 1 to {_MOST_LAYERS}", advice)
    if model.has("layers"):
        raise model.error("layers", f"left out for the kind {kind_word}", "remove it")
    return 1


def _read_energy(model: TomlTable, kind_word: str, kind: KindFormat) -> bool:
    word = model.choice("energy", list(ENERGY), "say what the model returns")
    if kind.one_energy_per_row and not ENERGY[word]:
        raise model.error(
            "energy", f'"per particle" for the kind {kind_word}', "let the model return one energy for each row"
        )
    return ENERGY[word]


def _read_returns_forces(model: TomlTable, kind_word: str, kind: KindFormat) -> bool:
    returns_forces = model.boolean("returns_forces", "say whether the model itself returns forces")
    if returns_forces and kind.one_energy_per_row:
        raise model.error(
            "returns_forces", f"false for the kind {kind_word}", "let the model return energies: forces come from them"
        )
    return returns_forces


def _read_descriptor(top: TomlTable, kind_word: str, kind: KindFormat) -> tuple[str | None, str | None]:
    if not kind.names_descriptor:
        if top.has("descriptor"):
            raise top.error("descriptor", f"left out for the kind {kind_word}", "remove the table")
        return None, None
    table = top.table("descriptor")
    table.check_keys(("name", "file"))
    name = table.text("name", "the name of a descriptor", 'such as name = "SymmetryFunctions"')
    expected, advice = "the name of a file in the model's own folder", "give the name alone, without a folder"
    file_name = table.text("file", expected, advice)
    if not is_plain_name(file_name):
        raise table.error("file", expected, advice)
    return name, file_name


def _read_parameters(top: TomlTable) -> dict[str, str]:
    if not top.has("parameters"):
        return {}
    table = top.table("parameters")
    advice = 'write "layer.weight" = "what it is": a name with dots stands in quotes'
    return {key: table.text_or_nothing(key, "a description of the parameter", advice) for key in table.all_keys()}


def _read_limits(top: TomlTable, cutoff: float) -> Limits | None:
    if not top.has("limits"):
        return None
    table = top.table("limits")
    table.check_keys(("smallest_distance", "most_neighbours", "stop"))
    distance, most = 0.0, None
    if table.has("smallest_distance"):
        # Nobody looks at pairs beyond the cutoff.
        expected = f"a number from {SMALLEST_CUTOFF} to the cutoff, {cutoff:g} (Å)"
        distance = table.number(
            "smallest_distance", SMALLEST_CUTOFF, cutoff, expected, "give a distance of two particles"
        )
    if table.has("most_neighbours"):
        expected = f"a whole number from 1 to {_MOST_NEIGHBOURS}"
        advice = "give a number of neighbours within the cutoff"
        most = table.integer("most_neighbours", 1, _MOST_NEIGHBOURS, expected, advice)
    stop = table.has("stop") and table.boolean("stop", "say whether a configuration beyond a limit is an error")
    if not distance and most is None:
        raise top.error("limits", "a table with smallest_distance or most_neighbours", "give one of them, or remove it")
    return Limits(distance, most, stop)


def _read_about(top: TomlTable) -> dict[str, str | Sequence[str]]:
    if not top.has("about"):
        return {}
    table = top.table("about")
    table.check_keys((*ABOUT_TEXTS, "authors"))
    return {
        key: table.texts(key, "an array of names", 'such as authors = ["Marie Curie"]')
        if key == "authors"
        else table.text(key, "a text", "correct or remove it")
        for key in table.all_keys()
    }


def _read_made_with(top: TomlTable) -> dict[str, str]:
    if not top.has("made_with"):
        return {}
    table = top.table("made_with")
    return {key: table.text(key, "a version, as text", 'such as torch = "2.13.0"') for key in table.all_keys()}
