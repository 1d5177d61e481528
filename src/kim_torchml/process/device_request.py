# SPDX-License-Identifier: LGPL-2.1-or-later
"""What users may ask for in KIM_MODEL_EXECUTION_DEVICE; known without torch."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class DeviceRequest:
    """A device as asked for.

    Attributes:
        kind: kind of device, cpu or cuda.
        index: number of the GPU; None where any GPU will do.
    """

    kind: str
    index: int | None


def parse_device_request(text: str) -> DeviceRequest | None:
    """Return what is asked for, or None where that is neither cpu nor cuda nor cuda:N."""
    match = re.fullmatch(r"(cpu|cuda)(?::(\d+))?", text.strip().lower())
    if match is None or (match.group(1) == "cpu" and match.group(2) is not None):
        return None
    return DeviceRequest(match.group(1), None if match.group(2) is None else int(match.group(2)))
