# SPDX-License-Identifier: LGPL-2.1-or-later
"""A module as the bytes of a TorchScript file."""

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from kim_torchml.engines.torchscript.errors import reason_in_code
from kim_torchml.engines.torchscript.loading import check_switched_on, expected_deprecations
from kim_torchml.errors import DriverError
from kim_torchml.tools.package.wording import MODEL_FILE

# Modules of torch around another one, by the name of the class, and their attribute that is the other one.
_WRAPPERS = {"OptimizedModule": "_orig_mod", "DataParallel": "module", "DistributedDataParallel": "module"}


def script_of(module: torch.nn.Module) -> bytes:
    """Return the TorchScript file of a module, which is scripted unless it has been.

    The file holds no paths of this machine.

    Raises:
        DriverError: If the module cannot be scripted or saved.
    """
    buffer = io.BytesIO()
    name = type(module).__name__
    check_switched_on(MODEL_FILE)
    _check_wrapper(module, name)
    with evaluated(module), expected_deprecations():
        try:
            scripted = module if isinstance(module, torch.jit.ScriptModule) else torch.jit.script(module)
        # The compiler raises errors of many types for what it does not support.
        except Exception as error:
            raise DriverError(
                f"the module {name} must be one that TorchScript can compile, got: {reason_in_code(error)}; write it "
                "in what TorchScript supports, or give what torch.jit.script or torch.jit.trace has made of it"
            ) from error
        try:
            torch.jit.save(scripted, buffer)
        except RuntimeError as error:
            raise DriverError(f"the module {name} cannot be saved: {reason_in_code(error)}") from error
    return _without_paths(buffer)


def _check_wrapper(module: torch.nn.Module, name: str) -> None:
    """Check that a module is none of those that hold the author's own, and that TorchScript cannot compile."""
    attribute = _WRAPPERS.get(name, "")
    if hasattr(module, attribute):
        raise DriverError(
            f"`module` must be the network itself, got the {name} around it; give its attribute `{attribute}`"
        )


@contextmanager
def evaluated(module: torch.nn.Module) -> Iterator[None]:
    """Let a module evaluate, as the driver does, rather than train; afterwards it is as it was."""
    # A frozen module evaluates for ever, and has no such attribute.
    training = [(each, each.training) for each in module.modules() if hasattr(each, "training")]
    if training:
        module.eval()
    try:
        yield
    finally:
        for each, was_training in training:
            each.training = was_training


def _without_paths(buffer: io.BytesIO) -> bytes:
    """Return a TorchScript file without the records for debuggers, which name the sources on the author's machine."""
    stripped = io.BytesIO()
    with zipfile.ZipFile(buffer) as archive, zipfile.ZipFile(stripped, "w") as result:
        for record in archive.infolist():
            # The serialization id is a hash over those records too; neither is needed to load the file.
            if not record.filename.endswith((".debug_pkl", "/.data/serialization_id")):
                # A record of its own has a fixed date.
                result.writestr(zipfile.ZipInfo(record.filename), archive.read(record))
    return stripped.getvalue()
