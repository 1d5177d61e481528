# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the author of a model says of it, and the description that comes of that."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from kim_torchml import __version__
from kim_torchml.driver.parameters import ATTRIBUTE
from kim_torchml.engines import Program, open_program
from kim_torchml.engines.facts import type_word
from kim_torchml.errors import DriverError
from kim_torchml.inputs import FILE_FORMATS, InputKind, make_inputs
from kim_torchml.model_files.description import ModelDescription, is_plain_name
from kim_torchml.model_files.model_folder import ModelFolder, TextFile
from kim_torchml.model_files.model_toml import DTYPES, ENERGY, FORMAT, MODEL_TOML, SPECIES_AS, parse_model_toml
from kim_torchml.model_files.model_toml_text import model_toml_text
from kim_torchml.model_files.store import digest_of
from kim_torchml.tools.kim_collections.installed_drivers import DEFAULT_DRIVER_NAME
from kim_torchml.tools.package.arguments import (
    about_of,
    check_descriptor,
    descriptions_of,
    flag_of,
    integer_of,
    limits_of,
    number_of,
    path_of,
    texts_of,
    versions_of,
    word_of,
)
from kim_torchml.tools.package.kim_names import check_name
from kim_torchml.tools.package.program_file import ProgramFile
from kim_torchml.tools.package.wording import EXPORTED_FILE, SCRIPT_FILE, in_arguments, reworded_errors

# What is checked before there is a model file.
_NO_FILE = ProgramFile(SCRIPT_FILE, b"")
# How many letters of a text are shown before and after one that is no text.
_AROUND = 10


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
    descriptor_file: str | os.PathLike[str] | None = None
    parameters: Mapping[str, str] | None = None
    limits: Mapping[str, Any] | None = None
    about: Mapping[str, Any] | None = None
    made_with: Mapping[str, str] = field(default_factory=dict)
    driver: str = DEFAULT_DRIVER_NAME

    def check(self) -> None:
        """Check all that can be checked without the model.

        Raises:
            DriverError: If something is wrong.
        """
        check_name(self.name, "name")
        check_name(self.driver, "driver")
        self._described(_NO_FILE, DTYPES[0])
        self.read_descriptor()

    def inputs(self) -> InputKind:
        """Return a builder of the model's inputs; their type is None unless one was stated.

        Raises:
            DriverError: If something that was said is wrong.
        """
        with reworded_errors(in_arguments):
            return self._inputs(self._described(_NO_FILE, DTYPES[0]))

    def description(self, program: ProgramFile) -> ModelDescription:
        """Return what a model.toml is to say of a model.

        Args:
            program: The model file.
        Raises:
            DriverError: If what was said is wrong, or the file is none that can be run.
        """
        description = self._described(program, DTYPES[0])
        opened = self._opened(program, self._inputs(description))
        if self.parameters is None:
            chosen = opened.attribute(ATTRIBUTE)
            description = replace(description, parameters=chosen if isinstance(chosen, dict) else {})
        return _checked(replace(description, dtype=_name(opened.dtype)))

    def read_descriptor(self) -> TextFile | None:
        """Return the descriptor's file; None for a model without one.

        Raises:
            DriverError: If it cannot be read, or has a name that cannot be kept.
        """
        path = self._descriptor_path()
        if path is None:
            return None
        if not is_plain_name(path.name) or path.name in (MODEL_TOML, SCRIPT_FILE, EXPORTED_FILE):
            raise DriverError(f"`descriptor_file` must have a name of its own, got '{path}'; rename the file")
        if path.exists() and not path.is_file():
            raise DriverError(f"`descriptor_file` must be a file, got {path}, a folder, pipe or device; name a file")
        try:
            return TextFile(path.name, path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise DriverError(f"cannot read the descriptor's file {path}: {error}; correct the path") from error

    def _descriptor_path(self) -> Path | None:
        return None if self.descriptor_file is None else path_of(self.descriptor_file, "descriptor_file")

    def _inputs(self, description: ModelDescription) -> InputKind:
        dtype = None if self.dtype is None else description.dtype
        return make_inputs(ModelFolder(replace(description, dtype=dtype), self.read_descriptor(), ()))

    def _opened(self, program: ProgramFile, inputs: InputKind) -> Program:
        """Return the model file as a program; its type is that of its tensors unless one was stated."""
        return open_program(program.content, program.name, torch.device("cpu"), inputs.signature)

    def _described(self, program: ProgramFile, default_dtype: str) -> ModelDescription:
        """Return the description, read back from its text, as every check is made there."""
        kinds = {word.lower(): each for word, each in FILE_FORMATS.items()}
        kind = word_of(self.kind.lower() if isinstance(self.kind, str) else self.kind, "kind", list(kinds))
        layers, descriptor_path = integer_of(self.layers, "layers"), self._descriptor_path()
        check_descriptor(self.descriptor, descriptor_path, kind, kinds[kind])
        stated = ModelDescription(
            file_name=MODEL_TOML,
            format=FORMAT,
            model_file=program.name,
            kind=kind,
            species=texts_of(self.species, "species", '["Si", "C"]'),
            atomic_numbers=SPECIES_AS[word_of(self.species_as, "species_as", list(SPECIES_AS))],
            cutoff=number_of(self.cutoff, "cutoff"),
            n_layers=layers,
            # A number that does not belong there is found when the text is read.
            has_layers=kinds[kind].has_layers or layers != 1,
            returns_forces=flag_of(self.returns_forces, "returns_forces"),
            inputs_stated="",
            returns_stated="",
            coding_advice="",
            dtype=default_dtype if self.dtype is None else word_of(_name(self.dtype), "dtype", DTYPES),
            energy_per_particle=ENERGY[word_of(self.energy, "energy", list(ENERGY))],
            descriptor=self.descriptor,
            descriptor_file=None if descriptor_path is None else descriptor_path.name,
            parameters=descriptions_of(self.parameters or {}, "parameters", '{"weight": "strength of a pair"}'),
            limits=limits_of(self.limits),
            sha256=digest_of(program.content),
            about=about_of(self.about),
            made_with=_versions() | versions_of(self.made_with),
        )
        return _checked(stated)


def _checked(description: ModelDescription) -> ModelDescription:
    """Return what the text that is written of a description says, with all that reading it fills in and checks."""
    try:
        content = model_toml_text(description).encode()
    except UnicodeEncodeError as error:
        found = error.object[max(0, error.start - _AROUND) : error.end + _AROUND]
        raise DriverError(f"what is said of a model must be text in Unicode, got {found!r}; correct it") from error
    with reworded_errors(in_arguments):
        return parse_model_toml(content, MODEL_TOML, FILE_FORMATS)


def _name(dtype: str | torch.dtype) -> str:
    return type_word(dtype) if isinstance(dtype, torch.dtype) else dtype


def _versions() -> dict[str, str]:
    torch_version = str(torch.__version__).partition("+")[0]
    return {"kim-torchml": __version__, "torch": torch_version, "Python": platform.python_version()}
