# SPDX-License-Identifier: LGPL-2.1-or-later
"""Weights and constants of an exported program: plain bytes, and what is said of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from kim_torchml.engines.exported.archive import CONSTANTS, WEIGHTS, ProgramArchive
from kim_torchml.engines.exported.document import JsonObject
from kim_torchml.errors import DriverError

# Torch's numbers of types: those that programs may compute with.
DTYPES = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}
STRIDED = 7
_MOST_DIMENSIONS = 64
_MOST_ENTRIES = 1 << 40


@dataclass(frozen=True)
class StoredTensors:
    """Tensors of a file, by their dotted names, and the bytes that they are views of, by names of entries."""

    tensors: Mapping[str, torch.Tensor]
    stored: Mapping[str, torch.Tensor]


def read_weights(archive: ProgramArchive, device: torch.device) -> StoredTensors:
    """Return the weights of a program, on a device. Those that share bytes in the file share memory."""
    return _read(archive, WEIGHTS, f"{WEIGHTS}{archive.model}_weights_config.json", "weight_", device)


def read_constants(archive: ProgramArchive, device: torch.device) -> StoredTensors:
    """Return the constants of a program and the buffers that are not among its weights, on a device."""
    return _read(archive, CONSTANTS, f"{CONSTANTS}{archive.model}_constants_config.json", "tensor_", device)


def dtype_of(values: JsonObject, key: str) -> torch.dtype:
    """Return the type that a key holds the number of."""
    number = values.integer(key)
    if number not in DTYPES:
        raise values.error(f"must be the number of a type of {sorted(DTYPES)}, got {number}", key)
    return DTYPES[number]


def _read(archive: ProgramArchive, folder: str, configuration: str, prefix: str, device: torch.device) -> StoredTensors:
    stored: dict[str, torch.Tensor] = {}
    tensors: dict[str, torch.Tensor] = {}
    for name, said in archive.json(configuration).named("config"):
        if said.flag("use_pickle"):
            raise DriverError(
                f"the model file {archive.file_name} holds {name} as a pickle, which is never unpickled; export a "
                "model whose parameters, buffers and constants are plain tensors"
            )
        path = said.text("path_name")
        if not (path.startswith(prefix) and f"{folder}{path}" in archive.entries):
            raise said.error(f"must be the name of an entry in {folder}, got {path[:40]!r}", "path_name")
        entry = folder + path
        if entry not in stored:
            # A view of the archive's bytes would begin anywhere; torch's own memory is aligned.
            stored[entry] = _bytes_of(archive.read(entry)).to(device)
        tensors[name] = _view(stored[entry], said.object("tensor_meta"))
    return StoredTensors(tensors, stored)


def _bytes_of(content: bytes) -> torch.Tensor:
    """Return bytes in torch's own memory."""
    stored = torch.empty(len(content), dtype=torch.uint8, device="cpu")
    stored.numpy()[:] = np.frombuffer(content, np.uint8)
    return stored


def _view(stored: torch.Tensor, said: JsonObject) -> torch.Tensor:
    """Return the tensor that bytes are said to be, after checking that all of it lies within them."""
    if said.integer("layout") != STRIDED:
        raise said.error(f"must be {STRIDED}, a dense tensor, got {said.integer('layout')}", "layout")
    dtype = dtype_of(said, "dtype")
    sizes, strides = _integers(said, "sizes"), _integers(said, "strides")
    offset = _integer(said.value("storage_offset"), said, "storage_offset")
    if len(sizes) != len(strides) or len(sizes) > _MOST_DIMENSIONS:
        raise said.error(f"must have one stride for each of at most {_MOST_DIMENSIONS} sizes, got {sizes}, {strides}")
    n_entries = 1
    for size in sizes:
        n_entries *= size
    if n_entries > _MOST_ENTRIES:
        raise said.error(f"must have at most {_MOST_ENTRIES} entries, got {n_entries}", "sizes")
    # Python's integers do not overflow.
    last = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
    available = stored.numel() // dtype.itemsize
    if n_entries and last >= available:
        raise said.error(
            f"must lie within the {stored.numel()} bytes that are there, got sizes {sizes} with strides {strides} from "
            f"{offset} on, of {dtype}"
        )
    whole = stored[: available * dtype.itemsize].view(dtype)
    return whole.as_strided(sizes, strides, offset if n_entries else 0)


def _integers(said: JsonObject, key: str) -> list[int]:
    return [_integer(each, said, key) for each in said.items(key)]


def _integer(found: Any, said: JsonObject, key: str) -> int:
    """Return a number that is not negative, out of {"as_int": number}."""
    number = found.get("as_int") if isinstance(found, dict) else None
    if said.as_integer(number, key) < 0:
        raise said.error(f"must not be negative, got {number}", key)
    return said.as_integer(number, key)
