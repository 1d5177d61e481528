# SPDX-License-Identifier: LGPL-2.1-or-later
"""A model's files, read at once: KIM keeps them only while it creates the model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kim_torchml.errors import DriverError
from kim_torchml.model_files.description import KindFormat, ModelDescription
from kim_torchml.model_files.file_inside import path_inside
from kim_torchml.model_files.model_toml import MODEL_TOML, parse_model_toml
from kim_torchml.model_files.model_toml_text import model_toml_text
from kim_torchml.model_files.parameter_file import ElementsMap, parse_parameter_file
from kim_torchml.model_files.plain_text import quoted
from kim_torchml.model_files.store import Store, digest_of, read_from_stores

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
        description: what they say of the model.
        descriptor: the descriptor's file; None for a model without a descriptor.
        contents: name and content of every file, in KIM's order.
        stored: content of a model file that is in a store; None where it is among `contents`.
        stored_path: where that file is.
    """

    description: ModelDescription
    descriptor: TextFile | None
    contents: tuple[tuple[str, bytes], ...]
    stored: bytes | None = None
    stored_path: Path | None = None

    @property
    def program(self) -> bytes:
        """Content of the model file."""
        return dict(self.contents)[self.description.model_file] if self.stored is None else self.stored

    def written(self, program: bytes) -> dict[str, bytes]:
        """Return contents by name of a complete folder with another model file, in KIM's order.

        Where the description gives the model file's digest, or says that the file is in a store, it is written anew.
        """
        model = self.description
        contents = dict(self.contents)
        if model.sha256 is not None and (program != self.program or model.in_store):
            written = replace(model, sha256=digest_of(program), in_store=False)
            contents[model.file_name] = model_toml_text(written).encode()
        return {**contents, model.model_file: program}

    def are_in(self, folder: Path, names: Sequence[str]) -> bool:
        """Return whether a folder has files of these names and contents, in this order.

        Sizes are compared first, then bytes; a file that is missing or cannot be read is not the same.
        """
        if [name for name, _ in self.contents] != list(names):
            return False
        try:
            paths = [path_inside(folder, name) for name in names]
            files = list(zip(paths, (content for _, content in self.contents), strict=True))
            return all(path.stat().st_size == len(content) for path, content in files) and all(
                _holds(path, content) for path, content in files
            )
        except (OSError, DriverError):
            return False


def read_model_folder(
    folder: Path,
    names: Sequence[str],
    kinds: Mapping[str, KindFormat],
    elements_map: ElementsMap | None = None,
    stores: Sequence[Store] = (),
) -> ModelFolder:
    """Read the files that KIM lists for a model.

    Args:
        folder: Where KIM has put them.
        names: Their names, without a folder.
        kinds: What the files of each kind of input say, by the kind's word.
        elements_map: What parameter files leave to the environment; by default models get species codes.
        stores: Where to look for a model file that is in a store.
    Returns:
        What the files say of the model, and their contents.
    Raises:
        DriverError: If the description or the descriptor's file is missing or wrong, or the model file is not there or
            another than the description says.
    """
    description_file = _description_file(names)
    # Read once: what is kept and compared with later files is what was parsed.
    content = _read(folder, description_file)
    if description_file == MODEL_TOML:
        description = parse_model_toml(content, description_file, kinds)
    else:
        description = parse_parameter_file(content, description_file, kinds, elements_map or ElementsMap())
    if not description.in_store:
        _check_listed(
            description.model_file, "file" if description.format > 1 else "model file name", description, names
        )
    contents = {name: content if name == description_file else _read(folder, name) for name in names}
    stored, path = read_stored(description, stores) if description.in_store else (None, None)
    files = ModelFolder(description, _descriptor_file(contents, description), tuple(contents.items()), stored, path)
    _check_digest(files)
    return files


def read_stored(description: ModelDescription, stores: Sequence[Store]) -> tuple[bytes, Path]:
    """Return the content of a model file that is in a store, and its path.

    Raises:
        DriverError: If it is in none of them.
    """
    return read_from_stores(stores, description.sha256 or "", description.model_file, description.file_name)


def _description_file(names: Sequence[str]) -> str:
    """Return the name of the file that says what the model is."""
    found = [name for name in names if name == MODEL_TOML or name.endswith(PARAMETER_SUFFIX)]
    if len(found) != 1:
        advice = "leave the others out of" if MODEL_TOML in found else "list it in"
        raise DriverError(
            f"the model must have {MODEL_TOML} or one {PARAMETER_SUFFIX} file, got {', '.join(found) or 'none'} among "
            f"its files ({_listed(names)}); {advice} PARAMETER_FILES of the model's CMakeLists.txt"
        )
    return found[0]


def _check_listed(name: str, what: str, description: ModelDescription, names: Sequence[str]) -> None:
    if name not in names:
        raise DriverError(
            f"`{what}` must be one of the model's files ({_listed(names)}), got {quoted(name)} (file "
            f"{description.file_name}); correct the name, or list the file in PARAMETER_FILES of the model's "
            "CMakeLists.txt"
        )


def _check_digest(files: ModelFolder) -> None:
    """Check that the model file is the one that the description was written for."""
    description = files.description
    if description.sha256 is None or files.stored is not None:
        return
    found = digest_of(files.program)
    if found != description.sha256:
        raise DriverError(
            f"the SHA-256 of {description.model_file} must be {description.sha256}, as {description.file_name} says, "
            f"got {found}: it is another file, or was changed or damaged; get the model again, or package the file "
            "that you have"
        )


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
        return path_inside(folder, name).read_bytes()
    except OSError as error:
        raise DriverError(
            f"cannot read the model's file {name}: {error}; install the model again with --force"
        ) from error


def _descriptor_file(contents: Mapping[str, bytes], description: ModelDescription) -> TextFile | None:
    if description.descriptor is None:
        return None
    name = description.descriptor_file
    if name is None:
        name = _only_file(list(contents), DESCRIPTOR_SUFFIX, f"a model with the descriptor {description.descriptor}")
    else:
        _check_listed(name, "file", description, list(contents))
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


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "no files at all"
