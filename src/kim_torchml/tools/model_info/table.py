# SPDX-License-Identifier: LGPL-2.1-or-later
"""Facts about a model as a table in the terminal."""

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kim_torchml.driver.output_shapes import FORCES
from kim_torchml.engines.facts import ProgramFacts, TensorFacts
from kim_torchml.errors import printable
from kim_torchml.model_files.description import Limits, ModelDescription
from kim_torchml.model_files.elements import ATOMIC_NUMBERS
from kim_torchml.model_files.model_toml import ABOUT_TEXTS
from kim_torchml.tools.file_size import file_size
from kim_torchml.tools.model_info.facts import FileFacts, ModelFacts, OpenedFacts, ParameterFacts

Row = tuple[str, str]

# A network may have hundreds of parameters; JSON has them all.
_MOST_SHOWN = 12
_ABOUT = ("title", "authors", *ABOUT_TEXTS[1:])


def print_facts(console: Console, facts: ModelFacts) -> None:
    """Print all that is known of a model, and how to cite it."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for what, text in rows(facts):
        # What strangers write is neither markup nor control characters.
        table.add_row(Text(what, style="bold red" if what == "problem" else "bold"), Text(printable(text)))
    console.print(table)
    if facts.bibtex:
        console.print()
        console.print(Text(facts.bibtex), soft_wrap=True)


def rows(facts: ModelFacts) -> Iterator[Row]:
    """Yield what is known of a model, line by line: the name of a fact, and its text."""
    if facts.name:
        yield "model", facts.name
    yield facts.what, _place(facts)
    if facts.driver is not None:
        yield "driver", f"{facts.driver.name}, {facts.driver.state}"
    if facts.description is not None:
        yield from _of_description(facts.description, facts.opened)
    if facts.program is not None:
        yield from _of_program(facts.program)
    yield from _of_files(facts)
    if facts.description is not None:
        yield from _of_author(facts.description)
    if facts.problem:
        yield "problem", facts.problem


def _place(facts: ModelFacts) -> str:
    if facts.what == "installed model":
        return f"in the {facts.collection} collection, {facts.folder}" if facts.collection else facts.folder
    return facts.folder if facts.what == "folder" else facts.model_file.path


def _of_description(model: ModelDescription, opened: OpenedFacts | None) -> Iterator[Row]:
    yield "format", f"{model.format} ({model.file_name})"
    yield "kind", model.kind.lower() + (f", {model.descriptor}" if model.descriptor else "")
    yield from _of_species(model)
    yield "cutoff", f"{model.cutoff:.10g} Å"
    if model.has_layers:
        yield "layers", str(model.n_layers)
    if opened is not None:
        asks = "; needs neighbours of non-contributing particles" if opened.needs_noncontributing_neighbours else ""
        yield "influence distance", f"{opened.influence_distance:.10g} Å{asks}"
    yield "energy", {True: "per particle", False: "total", None: "not stated"}[model.energy_per_particle]
    if dtype := opened.dtype if opened else model.dtype:
        yield "floating type", dtype
    yield "forces", _forces(model, opened)
    if opened is not None:
        yield "arguments", ", ".join(opened.arguments)
        yield "supported", ", ".join(opened.outputs)
        if opened.compiled:
            yield "compiled", opened.compiled
        yield from _of_parameters(opened.parameters)
    if model.limits is not None:
        yield "limits", _limits(model.limits)


def _of_species(model: ModelDescription) -> Iterator[Row]:
    numbers = [ATOMIC_NUMBERS[each] if model.atomic_numbers else code for code, each in enumerate(model.species)]
    coding = "atomic numbers" if model.atomic_numbers else "codes"
    yield "species", f"{', '.join(f'{s} {k}' for s, k in zip(model.species, numbers, strict=True))} ({coding})"


def _of_program(program: ProgramFacts) -> Iterator[Row]:
    yield "format", ", ".join([program.format, *(f"{name} {version}" for name, version in program.versions.items())])
    names = program.arguments if program.inputs is None else map(_tensor, program.inputs)
    given = [name if index < program.n_required else f"{name} (may be left out)" for index, name in enumerate(names)]
    yield "arguments", ", ".join(given) or "none"
    if program.outputs is not None:
        yield "outputs", _some([_tensor(each) for each in program.outputs])
    yield "floating type", program.dtype
    if program.operators is not None:
        yield "operators", f"{program.n_nodes} calls of {_some(program.operators)}"
    if program.refused_operators:
        yield "not allowed", _some(program.refused_operators)
    yield "tensors", _some([_tensor(each) for each in program.tensors])
    if program.constants:
        yield "constants", _some([_tensor(each) for each in program.constants])
    if program.extra_files:
        yield "files inside", ", ".join(program.extra_files)
    if program.has_sample_inputs:
        yield "sample inputs", "in the file; they are never opened"


def _of_files(facts: ModelFacts) -> Iterator[Row]:
    file = facts.model_file
    yield "model file", f"{file.name}, {file_size(file.size)}{_where(file)}"
    yield "SHA-256", file.sha256
    others = [each for each in facts.files if each.name != file.name]
    if others:
        yield "other files", ", ".join(f"{each.name} ({file_size(each.size)})" for each in others)


def _where(file: FileFacts) -> str:
    return f", in the store, {file.path}" if file.where == "store" else ""


def _of_author(model: ModelDescription) -> Iterator[Row]:
    for key in _ABOUT:
        value = model.about.get(key)
        if value:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            yield key.replace("_", " "), text
    if model.made_with:
        yield "made with", ", ".join(f"{name} {version}" for name, version in model.made_with.items())


def _forces(model: ModelDescription, opened: OpenedFacts | None) -> str:
    if model.returns_forces:
        return "returned by the model"
    has_none = opened is not None and FORCES not in opened.outputs
    return (
        "none: the energy does not depend on positions through autograd"
        if has_none
        else "from the derivative of the energy"
    )


def _limits(limits: Limits) -> str:
    parts = []
    if limits.smallest_distance:
        parts.append(f"distances of at least {limits.smallest_distance:.10g} Å")
    if limits.most_neighbours is not None:
        parts.append(f"at most {limits.most_neighbours} neighbours")
    return f"{', '.join(parts)}; beyond them {'an error' if limits.stop else 'one warning'}"


def _of_parameters(parameters: Sequence[ParameterFacts]) -> Iterator[Row]:
    """Yield a line for each of the first parameters, with what it is, and one that says how many there are."""
    shown = parameters[:_MOST_SHOWN]
    for index, each in enumerate(shown):
        yield "" if index else "parameters", f"{each.name} [{each.extent}]: {each.description}"
    if len(parameters) > len(shown):
        yield "", f"... ({len(parameters)} in all)"


def _tensor(tensor: TensorFacts) -> str:
    return f"{tensor.name} {tensor.dtype} [{', '.join(map(str, tensor.shape))}]"


def _some(texts: Sequence[str]) -> str:
    """Return the first of many texts, and how many there are."""
    if len(texts) <= _MOST_SHOWN:
        return ", ".join(texts) or "none"
    return f"{', '.join(texts[:_MOST_SHOWN])}, ... ({len(texts)} in all)"
