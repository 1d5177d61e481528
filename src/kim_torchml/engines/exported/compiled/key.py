# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a compiled program is made of and for: it may run where all of this is the same, and nowhere else."""

import hashlib
import json
import platform
import sys
from dataclasses import asdict, dataclass

import torch

from kim_torchml.process.processor import processor

# To be raised whenever what is compiled, or how, changes.
RECIPE = 1


@dataclass(frozen=True)
class Key:
    """What decides whether a compiled program fits.

    Attributes:
        model: SHA-256 of the model file.
        dtype: type of the program's floating inputs.
        leaf: place of the input that energies are differentiated by.
        device: type of the device.
        capability: of a GPU, name and compute capability; of a CPU, the vector instructions that torch uses, its name
            and all of its instructions.
        torch: torch's exact version.
        machine: operating system and processor.
        recipe: number of our recipe.
    """

    model: str
    dtype: str
    leaf: int
    device: str
    capability: str
    torch: str
    machine: str
    recipe: int = RECIPE

    @property
    def digest(self) -> str:
        """SHA-256 of all of it, which names the cache's entry."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def is_same_program(self, other: "Key") -> bool:
        """Return whether another key is that of the same program for the same type of device."""
        return (self.model, self.dtype, self.leaf, self.device) == (other.model, other.dtype, other.leaf, other.device)


def key_of(content: bytes, dtype: torch.dtype, leaf: int, device: torch.device) -> Key:
    """Return the key of a program on this machine.

    Args:
        content: The model file's bytes.
        dtype: Type of the program's floating inputs.
        leaf: Place of the input that energies are differentiated by.
        device: Device that it is to run on.
    """
    return Key(
        hashlib.sha256(content).hexdigest(),
        str(dtype).removeprefix("torch."),
        leaf,
        device.type,
        _capability(device),
        _torch(),
        _machine(),
    )


def why_not_here(key: Key) -> str:
    """Return why what has a key is not run on this machine with this torch, or an empty string."""
    if key.recipe != RECIPE:
        return "made by another version of kim-torchml"
    if key.torch != _torch():
        return f"made with torch {key.torch.partition(' ')[0]}"
    if key.machine != _machine():
        return f"made for {key.machine}"
    if key.device == "cpu":
        return "" if key.capability == _capability(torch.device("cpu")) else f"made for {key.capability}"
    gpus = [_capability(torch.device("cuda", index)) for index in range(torch.cuda.device_count())]
    return "" if key.capability in gpus else f"made for {key.capability}"


def _torch() -> str:
    return f"{torch.__version__} {torch.version.git_version}"


def _machine() -> str:
    return f"{sys.platform} {platform.machine()}"


def _capability(device: torch.device) -> str:
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        return f"{torch.cuda.get_device_name(device)} {major}.{minor}"
    return f"{torch.backends.cpu.get_cpu_capability()}, {processor()}"
