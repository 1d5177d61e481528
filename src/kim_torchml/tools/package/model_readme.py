# SPDX-License-Identifier: LGPL-2.1-or-later
"""A model's README.md: what it is, how it is installed and run, and how to cite it."""

from collections.abc import Iterator, Sequence

from kim_torchml.model_files.description import ModelDescription
from kim_torchml.tools.plain_doi import plain_doi

README = "README.md"

# With more species than these, the lines for LAMMPS name some of them.
_MOST_NAMED = 8

_USE = """\
## Install

The driver must be installed: kim-torchml, with the KIM id `{driver}`. Then, in this folder:

```bash
kim-torchml install .
```

## Run

In LAMMPS:

```
units metal
atom_style atomic
pair_style kim {name}
pair_coeff * * {species}
```

(atom types 1, 2, ... are the species that `pair_coeff` names), and in ASE:

```python
from ase.calculators.kim import KIM

atoms.calc = KIM("{name}")
```

`kim-torchml check .` checks the model in this folder, and `kim-torchml verify {name}` the installed one.
"""


def readme_text(name: str, driver: str, model: ModelDescription) -> str:
    """Return the text for a model.

    Args:
        name: KIM id of the model.
        driver: KIM id of its driver.
        model: What its files say.
    """
    return "\n".join(
        [
            f"# {_line(model.about.get('title') or name)}",
            "",
            *_description(name, model),
            "",
            *_facts(model),
            "",
            _USE.format(driver=driver, name=name, species=" ".join(_named(model.species))),
            "## Cite",
            "",
            *_citation(name, model),
            "",
        ]
    )


def _named(species: Sequence[str]) -> Sequence[str]:
    """Return the species to name in an example: all, or water's or the first two of very many."""
    if len(species) <= _MOST_NAMED:
        return species
    return ("H", "O") if {"H", "O"} <= set(species) else species[:2]


def _description(name: str, model: ModelDescription) -> Iterator[str]:
    species = ", ".join(model.species)
    yield f"`{name}` is an interatomic potential for {species}, which LAMMPS, ASE and other simulators run through KIM."
    for key in ("description", "trained_on"):
        if key in model.about:
            yield ""
            yield f"{'Trained on: ' if key == 'trained_on' else ''}{model.about[key]}"


def _facts(model: ModelDescription) -> Iterator[str]:
    yield "| | |"
    yield "|---|---|"
    for name, fact in _rows(model):
        cell = _line(fact).replace("|", "\\|")
        yield f"| {name} | {cell} |"


def _rows(model: ModelDescription) -> Iterator[tuple[str, str]]:
    yield "species", ", ".join(model.species)
    layers = "1 layer" if model.n_layers == 1 else f"{model.n_layers} layers"
    reach = f", {layers}: an energy depends on particles up to {model.n_layers * model.cutoff:g} Å away"
    yield "cutoff", f"{model.cutoff:g} Å{reach if model.has_layers else ''}"
    yield "energies", "one per particle" if model.energy_per_particle else "the total alone"
    yield "floating type", str(model.dtype)
    if model.parameters:
        yield "KIM parameters", ", ".join(f"`{each}`" for each in model.parameters)
    if model.limits is not None and model.limits.smallest_distance:
        yield "smallest distance", f"{model.limits.smallest_distance:g} Å"
    if model.limits is not None and model.limits.most_neighbours is not None:
        yield "most neighbours", str(model.limits.most_neighbours)
    if "licence" in model.about:
        yield "licence", str(model.about["licence"])
    yield "made with", ", ".join(f"{key} {version}" for key, version in model.made_with.items())


def _line(text: object) -> str:
    """Return a text on one line: a line feed would end a heading or a row of a table."""
    return " ".join(str(text).split())


def _citation(name: str, model: ModelDescription) -> Iterator[str]:
    authors = model.about.get("authors")
    title = _line(model.about.get("title") or name)
    who = f"{_line(', '.join(authors))}: " if isinstance(authors, list) else ""
    where = f", https://doi.org/{plain_doi(str(model.about['doi']))}" if "doi" in model.about else ""
    yield f"{who}*{title}*{where}."
    yield ""
    yield "Cite KIM too (https://doi.org/10.1007/s11837-011-0102-6), and kim-torchml (its CITATION.cff says how)."
