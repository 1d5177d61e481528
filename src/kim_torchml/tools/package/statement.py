# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the author of a model says of it, and the description that comes of that."""

import numbers
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from kim_torchml import __version__
from kim_torchml.driver.parameters import ATTRIBUTE
from kim_torchml.engines import Program, open_program
from kim_torchml.errors import DriverError, shortened
from kim_torchml.inputs import FILE_FORMATS, make_inputs
from kim_torchml.model_files.description import KindFormat, Limits, ModelDescription, is_plain_name
from kim_torchml.model_files.model_folder import ModelFolder, TextFile
from kim_torchml.model_files.model_toml import (
    ABOUT_TEXTS,
    DTYPES,
    ENERGY,
    FORMAT,
    MODEL_TOML,
    SPECIES_AS,
    parse_model_toml,
)
from kim_torchml.model_files.model_toml_text import model_toml_text
from kim_torchml.model_files.store import digest_of
from kim_torchml.tools.package.kim_names import DRIVER, check_name

MODEL_FILE = "model.pt"

_ABOUT = (*ABOUT_TEXTS, "authors")
LIMITS = ("smallest_distance", "most_neighbours", "stop")


@dataclass(frozen=True)
class Statement:
    """What an author says of a model; nothing of it has been checked.

    Attributes:
        name: KIM id of the model.
        kind: none, descriptor, graph or edges.
        species: element symbols in the order of their codes.
        cutoff: cutoff, Å.
        layers: number of message-passing layers.
        species_as: "codes" or "atomic numbers".
        energy: "per particle" or "total".
        dtype: floating type of the inputs; None for that of the model's tensors.
        returns_forces: whether the model returns (energy, forces).
        descriptor: name of the descriptor.
        descriptor_file: path of its file.
        parameters: descriptions of the tensors that are to be KIM parameters, by dotted name; None for those that the
            module's attribute `kim_parameters` names.
        limits: smallest_distance (Å), most_neighbours, stop.
        about: title, authors, doi, licence, description, trained_on.
        made_with: versions of software beside torch, Python and kim-torchml.
        driver: KIM id of the driver.
    """

    name: str
    kind: str
    species: Sequence[str]
    cutoff: float
    layers: int = 1
    species_as: str = "codes"
    energy: str = "per particle"
    dtype: str | torch.dtype | None = None
    returns_forces: bool = False
    descriptor: str | None = None
    descriptor_file: Path | None = None
    parameters: Mapping[str, str] | None = None
    limits: Mapping[str, Any] | None = None
    about: Mapping[str, Any] | None = None
    made_with: Mapping[str, str] = field(default_factory=dict)
    driver: str = DRIVER

    def check(self) -> None:
        """Check all that can be checked without the model.

        Raises:
            DriverError: If something is wrong.
        """
        check_name(self.name, "name")
        check_name(self.driver, "driver")
        self._described(b"", DTYPES[0])
        self.read_descriptor()

    def description(self, program: bytes) -> ModelDescription:
        """Return what a model.toml is to say of a model.

        Args:
            program: Content of the model file.
        Raises:
            DriverError: If what was said is wrong, or the file is none that can be run.
        """
        description = self._described(program, DTYPES[0])
        opened = self._opened(program, description)
        if self.parameters is None:
            chosen = opened.attribute(ATTRIBUTE)
            description = replace(description, parameters=chosen if isinstance(chosen, dict) else {})
        return _checked(replace(description, dtype=_name(opened.dtype)))

    def read_descriptor(self) -> TextFile | None:
        """Return the descriptor's file; None for a model without one.

        Raises:
            DriverError: If it cannot be read, or has a name that cannot be kept.
        """
        if self.descriptor_file is None:
            return None
        path = Path(self.descriptor_file)
        if not is_plain_name(path.name) or path.name in (MODEL_TOML, MODEL_FILE):
            raise DriverError(f"`descriptor_file` must have a name of its own, got '{path}'; rename the file")
        try:
            return TextFile(path.name, path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise DriverError(f"cannot read the descriptor's file {path}: {error}; correct the path") from error

    def _opened(self, program: bytes, description: ModelDescription) -> Program:
        """Return the model file as a program; its type is that of its tensors unless one was stated."""
        dtype = None if self.dtype is None else description.dtype
        files = ModelFolder(replace(description, dtype=dtype), self.read_descriptor(), ())
        return open_program(program, MODEL_FILE, torch.device("cpu"), make_inputs(files).signature)

    def _described(self, program: bytes, default_dtype: str) -> ModelDescription:
        """Return the description, read back from its text, as every check is made there."""
        format_of_kind = _format_of(self.kind)
        stated = ModelDescription(
            file_name=MODEL_TOML,
            format=FORMAT,
            model_file=MODEL_FILE,
            kind=str(self.kind),
            species=_texts(self.species, "species", '["Si", "C"]'),
            atomic_numbers=_meaning(SPECIES_AS, self.species_as, "species_as"),
            cutoff=float(_number(self.cutoff, numbers.Real, "cutoff")),
            n_layers=int(_number(self.layers, numbers.Integral, "layers")),
            # A number that does not belong there is an error of the file.
            has_layers=self.layers != 1 if format_of_kind is None else format_of_kind.has_layers or self.layers != 1,
            returns_forces=_flag(self.returns_forces, "returns_forces"),
            inputs_stated="",
            returns_stated="",
            coding_advice="",
            dtype=default_dtype if self.dtype is None else _name(self.dtype),
            energy_per_particle=_meaning(ENERGY, self.energy, "energy"),
            descriptor=self.descriptor,
            descriptor_file=None if self.descriptor_file is None else Path(self.descriptor_file).name,
            parameters=_descriptions(self.parameters or {}, "parameters"),
            limits=_limits(self.limits),
            sha256=digest_of(program),
            about=_about(self.about),
            made_with=_versions() | _descriptions(self.made_with, "made_with"),
        )
        return _checked(stated)


def _checked(description: ModelDescription) -> ModelDescription:
    """Return what the text that is written of a description says, with all that reading it fills in and checks."""
    return parse_model_toml(model_toml_text(description).encode(), MODEL_TOML, FILE_FORMATS)


def _format_of(kind: object) -> KindFormat | None:
    return next((each for word, each in FILE_FORMATS.items() if word.lower() == str(kind).lower()), None)


def _name(dtype: str | torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _versions() -> dict[str, str]:
    torch_version = str(torch.__version__).partition("+")[0]
    return {"kim-torchml": __version__, "torch": torch_version, "Python": platform.python_version()}


def _meaning(words: Mapping[str, bool], word: object, what: str) -> bool:
    """Return what one of two words means."""
    if not isinstance(word, str) or word not in words:
        choices = " or ".join(f'"{each}"' for each in words)
        raise DriverError(f"`{what}` must be {choices}, got '{shortened(str(word), 60)}'; name one of them")
    return words[word]


def _number(value: Any, kind: type, what: str) -> Any:
    """Return a number, of Python or numpy; for Python true and false are numbers too."""
    if not isinstance(value, kind) or isinstance(value, bool):
        expected = "a whole number" if kind is numbers.Integral else "a number"
        raise DriverError(f"`{what}` must be {expected}, got {shortened(repr(value), 60)}; give one")
    return value


def _flag(value: object, what: str) -> bool:
    """Return true or false; a text such as "false" would count as true."""
    if not isinstance(value, bool):
        raise DriverError(f"`{what}` must be True or False, got {shortened(repr(value), 60)}; give one of them")
    return value


def _texts(values: object, what: str, example: str) -> tuple[str, ...]:
    """Return texts that were given one by one, or a single one."""
    found = (values,) if isinstance(values, str) else tuple(values) if isinstance(values, Sequence) else ()
    if not found or not all(isinstance(each, str) for each in found):
        raise DriverError(
            f"`{what}` must be a list of texts, got {shortened(repr(values), 60)}; give them as in {what}={example}"
        )
    return found


def _descriptions(values: Mapping[Any, Any], what: str) -> dict[str, str]:
    for key, value in values.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise DriverError(
                f"`{what}` must be texts by name, got {shortened(repr(value), 60)} for {key!r}; write a text for each"
            )
    return dict(values)


def _known(values: Mapping[str, Any], known: Sequence[str], what: str) -> Mapping[str, Any]:
    for key in values:
        if key not in known:
            raise DriverError(
                f"the keys of `{what}` must be among {', '.join(known)}, got '{key}'; correct or remove it"
            )
    return values


def _about(values: Mapping[str, Any] | None) -> dict[str, str | list[str]]:
    about: dict[str, str | list[str]] = {}
    for key, value in _known(values or {}, _ABOUT, "about").items():
        texts = _texts(value, f"about[{key!r}]", '["Marie Curie"]')
        if key != "authors" and not isinstance(value, str):
            raise DriverError(f"`about[{key!r}]` must be a text, got {shortened(repr(value), 60)}; write one text")
        about[key] = list(texts) if key == "authors" else value
    return about


def _limits(values: Mapping[str, Any] | None) -> Limits | None:
    if values is None:
        return None
    given = _known(values, LIMITS, "limits")
    distance, most, stop = given.get("smallest_distance", 0.0), given.get("most_neighbours"), given.get("stop", False)
    return Limits(
        float(_number(distance, numbers.Real, "limits['smallest_distance']")),
        None if most is None else int(_number(most, numbers.Integral, "limits['most_neighbours']")),
        _flag(stop, "limits['stop']"),
    )
