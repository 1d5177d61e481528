# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which device a model runs on."""

import os

import torch

from kim_torchml.errors import DriverError
from kim_torchml.process import settings
from kim_torchml.process.device_request import parse_device_request
from kim_torchml.process.rank import Rank


def choose_device(request: str, rank: Rank) -> torch.device:
    """Return the device for a request.

    Plain `cuda` deals the visible GPUs out to the ranks of a node in turn.

    Args:
        request: cpu, cuda or cuda:N.
        rank: This process's rank.
    Returns:
        The device, with its index for CUDA.
    Raises:
        DriverError: If the device is unknown or absent; the message lists those that are there.
    """
    wanted = parse_device_request(request)
    if wanted is None:
        raise DriverError(
            f"`{settings.DEVICE}` must be cpu, cuda or cuda:N, got '{request}'; available here: {_available()}"
        )
    if wanted.kind == "cpu":
        return torch.device("cpu")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    index = wanted.index if wanted.index is not None else rank.local_rank % max(count, 1)
    if index >= count:
        raise DriverError(
            f"`{settings.DEVICE}` asks for '{request}', but that device is not there; available here: "
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


def set_determinism(device: torch.device) -> None:
    """Make a GPU give the same bits for the same input where KIM_TORCHML_DETERMINISTIC asks for it; CPUs always do."""
    if device.type == "cuda" and settings.wants_determinism():
        # cuBLAS reads this when it is first used; without it torch refuses matrix products.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
