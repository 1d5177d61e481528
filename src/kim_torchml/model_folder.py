# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which of a model's files is which. KIM keeps them only while the model is created: what is needed is read now."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kim_torchml.errors import DriverError
from kim_torchml.parameter_file import ParameterFile, read_parameter_file

PARAMETER_SUFFIX = ".param"


@dataclass(frozen=True)
class ModelFolder:
    """A model's files, read.

    Attributes:
        parameters: The checked parameter file.
        script: Content of the TorchScript file.
    """

    parameters: ParameterFile
    script: bytes


def read_model_folder(folder: Path, names: Sequence[str]) -> ModelFolder:
    """Read the files that KIM lists for a model.

    Args:
        folder: Where KIM has put them.
        names: Their names, without a folder.
    Returns:
        The parameters and the TorchScript file's content.
    Raises:
        DriverError: If there is not one parameter file, or the file it names is not among `names`.
    """
    parameter_files = [name for name in names if name.endswith(PARAMETER_SUFFIX)]
    if len(parameter_files) != 1:
        found = ", ".join(parameter_files) if parameter_files else "none"
        raise DriverError(
            f"the model must have one {PARAMETER_SUFFIX} file, got {found} among its files "
            f"({_listed(names)}); list it in PARAMETER_FILES of the model's CMakeLists.txt"
        )
    parameters = read_parameter_file(_inside(folder, parameter_files[0]))
    if parameters.model_file not in names:
        raise DriverError(
            f"`model file name` must be one of the model's files ({_listed(names)}), got "
            f"'{parameters.model_file}' (file {parameter_files[0]}); correct the name, or list the file in "
            "PARAMETER_FILES of the model's CMakeLists.txt"
        )
    try:
        script = _inside(folder, parameters.model_file).read_bytes()
    except OSError as error:
        raise DriverError(f"cannot read the model file {parameters.model_file}: {error}; install it again") from error
    return ModelFolder(parameters, script)


def _inside(folder: Path, name: str) -> Path:
    path = folder / name
    if path.resolve().parent != folder.resolve():
        raise DriverError(
            f"the file {name} must lie in the model's own folder, got a link that leaves it; put the file itself there"
        )
    return path


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "no files at all"
