# SPDX-License-Identifier: LGPL-2.1-or-later
"""A model's files, read at once: KIM keeps them only while it creates the model."""

import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kim_torchml.errors import DriverError
from kim_torchml.model_files.parameter_file import KindFormat, ParameterFile, parse_parameter_file, read_parameter_bytes

PARAMETER_SUFFIX = ".param"
DESCRIPTOR_SUFFIX = ".dat"

# Bytes that are compared at a time.
_PIECE = 1 << 20


@dataclass(frozen=True)
class TextFile:
    """A file's name, without a folder, and its text."""

    name: str
    text: str


@dataclass(frozen=True)
class ModelFolder:
    """A model's files, read.

    Attributes:
        parameters: checked content of the parameter file.
        descriptor: the descriptor's file; None where the parameter file names no descriptor.
        contents: name and content of every file, in KIM's order.
    """

    parameters: ParameterFile
    descriptor: TextFile | None
    contents: tuple[tuple[str, bytes], ...]

    @property
    def program(self) -> bytes:
        """Content of the model file."""
        return dict(self.contents)[self.parameters.model_file]

    def are_in(self, folder: Path, names: Sequence[str]) -> bool:
        """Return whether a folder has files of these names and contents, in this order.

        Sizes are compared first, then bytes; a file that is missing or cannot be read is not the same.
        """
        if [name for name, _ in self.contents] != list(names):
            return False
        try:
            paths = [_inside(folder, name) for name in names]
            files = list(zip(paths, (content for _, content in self.contents), strict=True))
            return all(path.stat().st_size == len(content) for path, content in files) and all(
                _holds(path, content) for path, content in files
            )
        except (OSError, DriverError):
            return False


def read_model_folder(folder: Path, names: Sequence[str], kinds: Mapping[str, KindFormat]) -> ModelFolder:
    """Read the files that KIM lists for a model.

    Args:
        folder: Where KIM has put them.
        names: Their names, without a folder.
        kinds: What the parameter files of each kind of input hold, by the kind's word.
    Returns:
        The parameters, the TorchScript file's content and, for a Descriptor, its file.
    Raises:
        DriverError: If there is not one parameter file or descriptor file, or the file it names is not among `names`.
    """
    parameter_file = _only_file(names, PARAMETER_SUFFIX, "the model")
    # Read once: what is kept and compared with later files is what was parsed.
    content = read_parameter_bytes(_inside(folder, parameter_file))
    parameters = parse_parameter_file(content, parameter_file, kinds)
    if parameters.model_file not in names:
        raise DriverError(
            f"`model file name` must be one of the model's files ({_listed(names)}), got "
            f"'{parameters.model_file}' (file {parameter_file}); correct the name, or list the file in "
            "PARAMETER_FILES of the model's CMakeLists.txt"
        )
    contents = {name: content if name == parameter_file else _read(folder, name) for name in names}
    return ModelFolder(parameters, _descriptor_file(contents, parameters), tuple(contents.items()))


def _holds(path: Path, content: bytes) -> bool:
    """Return whether a file's bytes are these; it is read piece by piece, as model files may be large."""
    position = 0
    with path.open("rb", buffering=0) as file:
        while piece := file.read(_PIECE):
            if content[position : position + len(piece)] != piece:
                return False
            position += len(piece)
    return position == len(content)


def _read(folder: Path, name: str) -> bytes:
    try:
        return _inside(folder, name).read_bytes()
    except OSError as error:
        raise DriverError(
            f"cannot read the model's file {name}: {error}; install the model again with --force"
        ) from error


def _descriptor_file(contents: Mapping[str, bytes], parameters: ParameterFile) -> TextFile | None:
    if parameters.descriptor is None:
        return None
    name = _only_file(list(contents), DESCRIPTOR_SUFFIX, f"a model with the descriptor {parameters.descriptor}")
    try:
        return TextFile(name, contents[name].decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DriverError(f"cannot read the descriptor file {name}: {error}; it must be plain text") from error


def _only_file(names: Sequence[str], suffix: str, whose: str) -> str:
    """Return the one name with a suffix; `whose` file it is, for the error."""
    found = [name for name in names if name.endswith(suffix)]
    if len(found) != 1:
        raise DriverError(
            f"{whose} must have one {suffix} file, got {', '.join(found) or 'none'} among its files "
            f"({_listed(names)}); list it in PARAMETER_FILES of the model's CMakeLists.txt"
        )
    return found[0]


def _inside(folder: Path, name: str) -> Path:
    path = folder / name
    try:
        target = path.resolve()
        leaves = target.parent != folder.resolve()
        # Reading a pipe or a device might never end.
        is_special = not leaves and not _is_file_or_missing(target)
    except (OSError, RuntimeError, ValueError) as error:
        # The path has links in a circle (a RuntimeError up to Python 3.12), or is a name that no file can have.
        raise DriverError(f"the file {name} cannot be found: {error}; put the file itself there") from error
    if leaves:
        raise DriverError(
            f"the file {name} must lie in the model's own folder, got a link that leaves it; put the file itself there"
        )
    if is_special:
        raise DriverError(f"{name} must be a file, got a folder, a pipe or a device; put the file itself there")
    return path


def _is_file_or_missing(path: Path) -> bool:
    """Return whether a path is a file or leads nowhere; a missing file is reported when it is read.

    Raises:
        OSError: If the path cannot be followed, as it has links in a circle.
    """
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return True


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "no files at all"
