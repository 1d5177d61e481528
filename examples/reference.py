# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the examples share: the KIM model that they are compared with, and how they save their own."""

import io
import warnings
import zipfile
from pathlib import Path

import kimpy
import torch
from ase.calculators.calculator import Calculator
from ase.calculators.kim import KIM

REFERENCE_PREFIX = "SW_StillingerWeber_1985_Si__MO_"


def reference_model_id(prefix: str = REFERENCE_PREFIX) -> str:
    """Return the id of the newest installed portable model whose name has this prefix.

    Args:
        prefix: Start of the KIM id, up to and with the letters before the number.
    Returns:
        The full id, number and version included.
    Raises:
        LookupError: If no KIM collection holds such a model.
    Source:
        KIM-API documentation, "KIM::Collections", item names by type.
    """
    collections = kimpy.collections.create()
    count = collections.cache_list_of_item_names_by_type(kimpy.collection_item_type.portableModel)
    names = (collections.get_item_name_by_type(index) for index in range(count))
    found = sorted(name for name in names if name.startswith(prefix))
    if not found:
        raise LookupError(
            f"a KIM portable model named `{prefix}...` must be installed, found none among "
            f"{count}; install it, on Debian with `apt-get install openkim-models`"
        )
    return found[-1]


def reference_calculator() -> Calculator:
    """Return the ASE calculator of the reference model (Å, eV, eV/Å)."""
    return KIM(reference_model_id())


def reference_parameters() -> dict[str, float]:
    """Return the parameters of the reference model, in full precision.

    The names are those that the model registers with KIM: `A`, `B`, `p`, `q`, `sigma`, `gamma`,
    `cutoff`, `lambda`, `costheta0`. Each has one value, as there is one species.

    Returns:
        Values by name, in Å and eV.
    """
    calculator = reference_calculator()
    names = calculator.parameter_names()
    values = calculator.get_parameters(**dict.fromkeys(names, 0))
    return {name: float(values[name][1]) for name in names}


def save_script(module: torch.nn.Module, path: Path) -> None:
    """Script a module and save it, with the same bytes whatever folder the Python sources are in.

    TorchScript writes the integer constants of a class in the order of a Python set, so the bytes
    do depend on `PYTHONHASHSEED`; the saved model does not.

    Args:
        module: The module, with the weights to save.
        path: The `.pt` file.
    """
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # torch warns that TorchScript is deprecated, but it is what the driver reads.
        warnings.filterwarnings("ignore", message=r".*torch\.jit", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message=r".*torch\.jit", category=FutureWarning)
        torch.jit.save(torch.jit.script(module.eval()), buffer)
    with zipfile.ZipFile(buffer) as archive, zipfile.ZipFile(path, "w") as stripped:
        for record in archive.infolist():
            # Debug records hold the absolute paths of the Python sources on this machine, and the
            # serialization id is a hash over them; neither is needed to load the file.
            if not record.filename.endswith((".debug_pkl", "/.data/serialization_id")):
                stripped.writestr(zipfile.ZipInfo(record.filename), archive.read(record))
