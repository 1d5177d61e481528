# SPDX-License-Identifier: LGPL-2.1-or-later
"""Models that this process has opened, shared by all that KIM creates from the same files.

A simulator creates and destroys a model several times before its first step, and twice on every rank of LAMMPS.
"""

import os
import threading
import weakref
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import torch

from kim_torchml.driver.compile_notice import CompileNotice
from kim_torchml.driver.memory_errors import enough_memory
from kim_torchml.driver.parameters import Parameter, ParameterTemplate, publish_parameters
from kim_torchml.engines import CompiledProgram, open_program, prepared
from kim_torchml.engines.contract import Program
from kim_torchml.errors import DriverError, shortened
from kim_torchml.evaluation.exchange_probe import fault_of_exchange
from kim_torchml.evaluation.first_call import Capability, find_capability
from kim_torchml.evaluation.species_coding import sign_of_atomic_numbers
from kim_torchml.inputs import FILE_FORMATS, EdgeInputs, make_inputs
from kim_torchml.model_files.description import ModelDescription
from kim_torchml.model_files.model_folder import ModelFolder, read_model_folder, read_stored
from kim_torchml.model_files.parameter_file import ElementsMap
from kim_torchml.model_files.store import Store
from kim_torchml.process import settings

# How many models outlive the last that was created from their files.
_KEPT_MODELS = 8


class OpenedModel:
    """A model's files, read and loaded; nothing in it changes.

    Attributes:
        files: the model's files.
        device: device of the program.
        elements_map: what the environment said when the files were read.
        inputs: builder of the model's inputs.
        program: the model file as a program, compiled where that is there and faster.
        how: "compiled" or "not compiled", for people; empty where there is no choice.
        advice: what a user should know of that, in one sentence; empty where there is nothing.
        sign_of_atomic_numbers: what speaks for a model that gets species codes and expects atomic numbers, or nothing.
    """

    def __init__(self, files: ModelFolder, device: torch.device, elements_map: ElementsMap) -> None:
        """Load a model.

        Args:
            files: Its files.
            device: Where its tensors are to be.
            elements_map: What the environment said when the files were read.
        Raises:
            DriverError: If a file is wrong.
        """
        self.files = files
        self.device = device
        self.elements_map = elements_map
        self.inputs = make_inputs(files)
        model = files.description
        with enough_memory(device, model.model_file, "its tensors"), _made_with(model):
            program = open_program(files.program, model.model_file, device, self.inputs.signature)
        # Parameters, probes and what simulators ask for go to the program that is run.
        chosen = prepared(
            program, files.program, self.inputs.signature, model.model_file, settings.compile_word(),
            CompileNotice(model.model_file),
        )  # fmt: skip
        self.program, self.how, self.advice = chosen.program, chosen.how, chosen.advice
        self._compiling, self._awaited = settings.compile_settings(), chosen.awaited
        # Looking through a model's graphs takes milliseconds, and not all of the memory is given back.
        self.sign_of_atomic_numbers = (
            sign_of_atomic_numbers(self.program, model.species) if self.inputs.gives_species_codes else ""
        )
        self._parameters = ParameterTemplate(publish_parameters(self.program, model))
        self._capability: Capability | None = None
        self._fault_of_exchange: str | None = None
        self._capability_lock = threading.RLock()

    def is_as_wanted(self, device: torch.device, elements_map: ElementsMap) -> bool:
        """Return whether the environment asks for what it asked for when the model was opened.

        A model that waits for its compiled program is not as wanted any more once that is there.
        """
        # Unlike that of pathlib, this is no error where the folder cannot be looked into.
        is_awaited = self._awaited is not None and os.path.exists(self._awaited)  # noqa: PTH110
        asked = (self.device, self.elements_map, self._compiling)
        return asked == (device, elements_map, settings.compile_settings()) and not is_awaited

    @cached_property
    def digest(self) -> int:
        """A number that tells different model files apart."""
        return zlib.crc32(self.files.program)

    @property
    def is_compiled(self) -> bool:
        """Whether compiled code is run."""
        return isinstance(self.program, CompiledProgram)

    def parameters(self) -> list[Parameter]:
        """Return the model's KIM parameters with the values of its file, in memory of the caller's own."""
        return self._parameters.copy()

    def capability(self, program: Program) -> Capability:
        """Return what the model can give; its own program is called for that once.

        Args:
            program: The program that is run: the model's own, or one with parameters of a simulator.
        Raises:
            DriverError: If the model fails, or returns what its files do not say.
        """
        if program is not self.program:
            return find_capability(program, self.inputs)
        with self._capability_lock:
            if self._capability is None:
                self._capability = find_capability(program, self.inputs)
            return self._capability

    def fault_of_exchange(self, program: Program) -> str:
        """Return what is wrong with the features that ranks exchange; the model's own program is called for that once.

        Args:
            program: As for `capability`.
        Raises:
            DriverError: If the model fails.
        """
        assert isinstance(self.inputs, EdgeInputs)
        if program is not self.program:
            return fault_of_exchange(program, self.inputs)
        with self._capability_lock:
            if self._fault_of_exchange is None:
                self._fault_of_exchange = fault_of_exchange(program, self.inputs)
            return self._fault_of_exchange


_lock = threading.RLock()
_living: "weakref.WeakSet[OpenedModel]" = weakref.WeakSet()
_recent: "deque[OpenedModel]" = deque(maxlen=_KEPT_MODELS)


def open_files(
    folder: Path, names: Sequence[str], device: torch.device, elements_map: ElementsMap, stores: Sequence[Store]
) -> OpenedModel:
    """Return the model for files of these names and contents; they are loaded once per process, device and coding.

    Args:
        folder: Where the files are, for as long as this call lasts.
        names: Their names, in KIM's order.
        device: Where the model's tensors are to be.
        elements_map: What parameter files leave to the environment.
        stores: Where to look for a model file that is in a store.
    Raises:
        DriverError: If a file is missing or wrong.
    """
    with _lock:
        found = _find(folder, names, device, elements_map)
        if found is None:
            files = _share_contents(read_model_folder(folder, names, FILE_FORMATS, elements_map, stores))
            found = OpenedModel(files, device, elements_map)
            _living.add(found)
        elif found.files.stored is not None:
            # Whoever opens a model learns that its file has gone or was damaged, though this process still has it.
            read_stored(found.files.description, stores)
        if found in _recent:
            _recent.remove(found)
        _recent.append(found)
        return found


@contextmanager
def _made_with(model: ModelDescription) -> Iterator[None]:
    """Add what a model was made with to an error: versions are a likely reason where a file cannot be loaded."""
    try:
        yield
    except DriverError as error:
        if not model.made_with:
            raise
        versions = ", ".join(f"{name} {version}" for name, version in model.made_with.items())
        raise DriverError(f"{error}; the model was made with {shortened(versions)}") from error


def _find(folder: Path, names: Sequence[str], device: torch.device, elements_map: ElementsMap) -> OpenedModel | None:
    """Return the opened model of the same files; a digest of a file would take ten times as long as comparing it."""
    return next(
        (model for model in _living if model.is_as_wanted(device, elements_map) and model.files.are_in(folder, names)),
        None,
    )


def _share_contents(files: ModelFolder) -> ModelFolder:
    """Return the files with contents that opened models hold already in place of equal ones: each is held once."""
    held = [content for model in _living for _, content in model.files.contents]
    held += [model.files.stored for model in _living if model.files.stored is not None]

    def shared(content: bytes) -> bytes:
        return next((each for each in held if each == content), content)

    contents = tuple((name, shared(content)) for name, content in files.contents)
    return replace(files, contents=contents, stored=None if files.stored is None else shared(files.stored))
