# SPDX-License-Identifier: LGPL-2.1-or-later
"""Models that this process has opened, shared by all that KIM creates from the same files.

A simulator creates and destroys a model several times before its first step, and twice on every rank of LAMMPS.
"""

import threading
import weakref
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from kim_torchml.driver.memory_errors import enough_memory
from kim_torchml.driver.parameters import Parameter, ParameterTemplate, publish_parameters
from kim_torchml.engines import open_program
from kim_torchml.evaluation.first_call import Capability, find_capability
from kim_torchml.evaluation.species_coding import sign_of_atomic_numbers
from kim_torchml.inputs import FILE_FORMATS, make_inputs
from kim_torchml.model_files.model_folder import ModelFolder, read_model_folder

# How many models outlive the last that was created from their files.
_KEPT_MODELS = 8


class OpenedModel:
    """A model's files, read and loaded; nothing in it changes.

    Attributes:
        files: the model's files.
        device: device of the program.
        atomic_numbers: whether the model gets atomic numbers instead of species codes, where its kind allows.
        inputs: builder of the model's inputs.
        program: the model file as a program.
        sign_of_atomic_numbers: what speaks for a model that gets species codes and expects atomic numbers, or nothing.
    """

    def __init__(self, files: ModelFolder, device: torch.device, atomic_numbers: bool) -> None:
        """Load a model.

        Args:
            files: Its files.
            device: Where its tensors are to be.
            atomic_numbers: Whether it gets atomic numbers instead of species codes.
        Raises:
            DriverError: If a file is wrong.
        """
        self.files = files
        self.device = device
        self.atomic_numbers = atomic_numbers
        self.inputs = make_inputs(files, atomic_numbers)
        file_name = files.parameters.model_file
        with enough_memory(device, file_name, "its tensors"):
            self.program = open_program(files.program, file_name, device, self.inputs.signature)
        # Looking through a model's graphs takes milliseconds, and not all of the memory is given back.
        self.sign_of_atomic_numbers = (
            sign_of_atomic_numbers(self.program, files.parameters.elements) if self.inputs.gives_species_codes else ""
        )
        self._parameters = ParameterTemplate(publish_parameters(self.program, len(files.parameters.elements)))
        self._capability: Capability | None = None
        self._capability_lock = threading.RLock()

    def parameters(self) -> list[Parameter]:
        """Return the model's KIM parameters with the values of its file, in memory of the caller's own."""
        return self._parameters.copy()

    def capability(self) -> Capability:
        """Return what the model can give; it is called for that once.

        Raises:
            DriverError: If the model fails, or returns what its parameter file does not say.
        """
        with self._capability_lock:
            if self._capability is None:
                self._capability = find_capability(self.program, self.inputs)
            return self._capability


_lock = threading.RLock()
_living: "weakref.WeakSet[OpenedModel]" = weakref.WeakSet()
_recent: "deque[OpenedModel]" = deque(maxlen=_KEPT_MODELS)


def open_files(folder: Path, names: Sequence[str], device: torch.device, atomic_numbers: bool) -> OpenedModel:
    """Return the model for files of these names and contents; they are loaded once per process, device and coding.

    Args:
        folder: Where the files are, for as long as this call lasts.
        names: Their names, in KIM's order.
        device: Where the model's tensors are to be.
        atomic_numbers: Whether the model gets atomic numbers instead of species codes.
    Raises:
        DriverError: If a file is missing or wrong.
    """
    with _lock:
        found = _find(folder, names, device, atomic_numbers)
        if found is None:
            files = _share_contents(read_model_folder(folder, names, FILE_FORMATS))
            found = OpenedModel(files, device, atomic_numbers)
            _living.add(found)
        if found in _recent:
            _recent.remove(found)
        _recent.append(found)
        return found


def _find(folder: Path, names: Sequence[str], device: torch.device, atomic_numbers: bool) -> OpenedModel | None:
    """Return the opened model of the same files; a digest of a file would take ten times as long as comparing it."""
    return next(
        (
            model
            for model in _living
            if (model.device, model.atomic_numbers) == (device, atomic_numbers) and model.files.are_in(folder, names)
        ),
        None,
    )


def _share_contents(files: ModelFolder) -> ModelFolder:
    """Return the files with contents that opened models hold already in place of equal ones: each is held once."""
    held = [content for model in _living for _, content in model.files.contents]
    shared = [(name, next((each for each in held if each == content), content)) for name, content in files.contents]
    return replace(files, contents=tuple(shared))
