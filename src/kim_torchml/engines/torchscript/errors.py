# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the errors of TorchScript's compiler and interpreter mean."""

import re

import torch

from kim_torchml.errors import shortened

_DEVICES = "CPU|CUDA|HIP|MPS|XPU|HPU|XLA|MTIA|MAIA|IPU|VE|Vulkan|Meta|PrivateUse1"
_BACKEND = re.compile(rf"^(Could not run '[^']+' with arguments from the '[A-Za-z]*?({_DEVICES})' backend)")
# What torch says where a model asks for a device that is not there, or mixes devices.
_DEVICE_ERRORS = re.compile(
    r"Cannot initialize \w+ without|not linked with support for|not compiled with (?:CUDA|ROCm|MPS|XPU)"
    r"|Found no NVIDIA driver|No \w+ GPUs are available|invalid device ordinal|Cannot access accelerator device"
    r"|at start of device string|Invalid device string|tensors to be on the same device|not at the same device"
    r"|should be either on cpu or on the same device|but expected (?:it|them) to be on|must be on the same device"
)


def reason_in_code(error: BaseException) -> str:
    """Return an error's reason on one line and, where it is known, the place in the model's code where it arose."""
    reason, places = _reason(str(error)), re.findall(r'^ *(File "code/.*)', str(error), re.MULTILINE)
    reason = shortened(reason) or type(error).__name__
    return f"{reason} ({places[-1].rstrip()})" if places else reason


def names_a_device(error: BaseException, device: torch.device) -> bool:
    """Return whether an error comes from a model that names a device other than its own, or mixes devices."""
    reason = _reason(str(error))
    backend = _BACKEND.search(_without_type(reason))
    if backend:
        return backend.group(2).lower() != device.type
    return _DEVICE_ERRORS.search(reason) is not None


def unknown_operator(error: BaseException) -> str | None:
    """Return the operator, such as "aten::add", that the compiler does not know; None if that is not the error."""
    found = re.match(r"Unknown builtin op: ([\w.]+::\w+)", _reason(str(error)))
    return found.group(1) if found else None


def _reason(text: str) -> str:
    """Return the reason out of an error's text.

    The interpreter ends its text with the reason: the lines after its last list of calls, which are indented. The
    compiler begins its text with the reason; the code follows.
    """
    _, header, calls = text.rpartition("Traceback of TorchScript")
    if header:
        lines = calls.splitlines()[1:]
        first = next((number for number, line in enumerate(lines) if line[:1].strip()), len(lines))
        reason = "\n".join(lines[first:])
    else:
        reason = re.split(r'^ *File "', text, maxsplit=1, flags=re.MULTILINE)[0].strip().removesuffix(":")
    # The rest of this text is a list of all backends.
    backend = _BACKEND.search(_without_type(reason))
    if backend:
        return backend.group(1)
    # Suggestions follow: operators of like names.
    return reason.splitlines()[0] if reason.startswith("Unknown builtin op") else reason


def _without_type(reason: str) -> str:
    return re.sub(r"^\w+Error: ", "", reason)
