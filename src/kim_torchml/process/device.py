# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which device a model runs on."""

import os
from contextlib import AbstractContextManager, nullcontext

import torch

from kim_torchml.errors import DriverError
from kim_torchml.process import settings
from kim_torchml.process.device_request import parse_device_request
from kim_torchml.process.rank import Rank
from kim_torchml.process.shared_setting import SharedSetting


def choose_device(request: str, rank: Rank, asked_in: str = settings.DEVICE) -> torch.device:
    """Return the device for a request.

    Plain `cuda` deals the visible GPUs out to the ranks of a node in turn.

    Args:
        request: cpu, cuda or cuda:N.
        rank: This process's rank.
        asked_in: Variable or option that the request comes from, for messages.
    Returns:
        The device, with its index for CUDA.
    Raises:
        DriverError: If the device is unknown or absent; the message lists those that are there.
    """
    wanted = parse_device_request(request)
    if wanted is None:
        raise DriverError(f"`{asked_in}` must be cpu, cuda or cuda:N, got '{request}'; available here: {_available()}")
    if wanted.kind == "cpu":
        return torch.device("cpu")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    index = wanted.index if wanted.index is not None else rank.local_rank % max(count, 1)
    if index >= count:
        raise DriverError(
            f"`{asked_in}` asks for '{request}', but that device is not there; available here: "
            f"{_available()}{_why_no_gpu(count)}"
        )
    return torch.device("cuda", index)


def _available() -> str:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    gpus = [f"cuda:{index} ({torch.cuda.get_device_name(index)})" for index in range(count)]
    return ", ".join(["cpu", *gpus])


def _why_no_gpu(count: int) -> str:
    if count > 0:
        return ""
    if torch.version.cuda is None:
        return f"; this torch ({torch.__version__}) is built without CUDA: install a CUDA build of it"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    hidden = "" if visible is None else f" (CUDA_VISIBLE_DEVICES is '{visible}')"
    return f"; torch sees no GPU{hidden}: check nvidia-smi and the GPU's driver"


def describe_device(device: torch.device) -> str:
    """Return the device's name for people, such as "cuda:0 (NVIDIA H100)"."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def determinism(device: torch.device) -> AbstractContextManager[None]:
    """Return a context in which a GPU gives the same bits for the same input, if KIM_TORCHML_DETERMINISTIC asks for it.

    CPUs always do. Torch's setting is the whole process's. It is put back when the last call ends, unless someone else
    has changed it meanwhile.
    """
    return _deterministic if device.type == "cuda" and settings.wants_determinism() else nullcontext()


class _Deterministic(SharedSetting):
    """Torch's deterministic mode, with the variable that cuBLAS needs for it."""

    def _remember(self) -> None:
        self._mode_before = torch.get_deterministic_debug_mode()
        # cuBLAS reads this when it is first used; without it torch refuses matrix products.
        self._sets_workspace = _WORKSPACE not in os.environ
        if self._sets_workspace:
            os.environ[_WORKSPACE] = _FIXED_WORKSPACE

    def _switch_on(self) -> None:
        torch.use_deterministic_algorithms(True)

    def _put_back(self) -> None:
        if torch.get_deterministic_debug_mode() == _ERROR_MODE:
            torch.set_deterministic_debug_mode(self._mode_before)
        if self._sets_workspace and os.environ.get(_WORKSPACE) == _FIXED_WORKSPACE:
            del os.environ[_WORKSPACE]


_WORKSPACE, _FIXED_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
# What torch calls use_deterministic_algorithms(True); 0 is off, 1 is a warning.
_ERROR_MODE = 2
_deterministic = _Deterministic()


def synchronise(device: torch.device) -> None:
    """Wait until a device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
