# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a checkpoint of SevenNet says of its network."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kim_torchml.errors import DriverError
from kim_torchml.process.oldest_versions import is_older
from kim_torchml.tools.request_error import RequestError, did_you_mean

WHAT = "a checkpoint of SevenNet"
_MODEL_TYPE = "E3_equivariant_model"
_RELEASE = re.compile(r"\d{1,6}\.\d{1,6}")


def config_of(content: Any, path: Path, installed: Callable[[], str]) -> dict[str, Any]:
    """Return what a checkpoint says of its network.

    Args:
        content: What the file holds.
        path: The file.
        installed: Returns the version of sevenn that is installed.
    Raises:
        DriverError: If it is no checkpoint of SevenNet, or one of a newer version.
    """
    config = content.get("config") if isinstance(content, dict) else None
    if not isinstance(config, dict) or "model_state_dict" not in content or config.get("_model_type") != _MODEL_TYPE:
        raise DriverError(
            f"`source` must be {WHAT}, got {path}, which holds no network of SevenNet; name another file, or another "
            "family"
        )
    made_by = str(config.get("version"))[:20]
    release = _RELEASE.match(made_by)
    if release is None:
        raise DriverError(
            f"{path} must say by which version of sevenn it was made, got '{made_by}'; fetch it again, or save it with "
            "sevenn"
        )
    # Versions of one release read each other's checkpoints.
    here = installed()
    if is_older(here, release[0]):
        raise DriverError(
            f"{path} was made by sevenn {made_by}, and this is sevenn {here}; install sevenn {made_by} or newer"
        )
    return config


def elements_of(config: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the atomic numbers of a network's elements in the order of their codes.

    Raises:
        ValueError: If the codes are not 0, 1, and so on.
    """
    codes = config["_type_map"]
    numbers = {int(code): int(number) for number, code in codes.items()}
    if list(codes.values()) != [int(code) for code in codes.values()] or sorted(numbers) != list(range(len(codes))):
        raise ValueError("its elements must have the codes 0, 1, .., each once")
    return tuple(numbers[code] for code in range(len(numbers)))


def modal_of(config: Mapping[str, Any], modal: str | None) -> str | None:
    """Return the modality that is wanted.

    Args:
        config: What the checkpoint says of its network.
        modal: The one that was asked for; None if none was.
    Raises:
        RequestError: If the network does not have it, or none was named where there are several.
    """
    known = [str(each) for each in config.get("_modal_map") or ()] if config.get("use_modality") else []
    if modal is None and not known:
        return None
    if modal is None:
        raise RequestError(
            f"`--modal` must say which of the network's modalities is meant: {', '.join(known)}; got none"
        )
    if not known:
        raise RequestError(f"`--modal` must be left out for a network without modalities, got '{modal}'; leave it out")
    if modal in known:
        return modal
    for each in known:
        if each.lower() == modal.lower():
            return each
    raise RequestError(f"`--modal` must be one of {', '.join(known)}, got '{modal}'{did_you_mean(modal, known)}")
