# SPDX-License-Identifier: LGPL-2.1-or-later
"""A module as the bytes of a TorchScript file."""

import io
import zipfile

import torch

from kim_torchml.engines.torchscript.errors import reason_in_code
from kim_torchml.engines.torchscript.loading import check_switched_on, expected_deprecations
from kim_torchml.errors import DriverError
from kim_torchml.tools.package.given_module import evaluated
from kim_torchml.tools.package.wording import SCRIPT_FILE


def script_of(module: torch.nn.Module) -> bytes:
    """Return the TorchScript file of a module, which is scripted unless it has been.

    The file holds no paths of this machine.

    Raises:
        DriverError: If the module cannot be scripted or saved.
    """
    buffer = io.BytesIO()
    name = type(module).__name__
    check_switched_on(SCRIPT_FILE)
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
