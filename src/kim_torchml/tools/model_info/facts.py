# SPDX-License-Identifier: LGPL-2.1-or-later
"""Facts about models, as they are found out and then shown."""

from dataclasses import dataclass

from kim_torchml.engines.facts import ProgramFacts
from kim_torchml.model_files.description import ModelDescription


@dataclass(frozen=True)
class FileFacts:
    """A file of a model.

    Attributes:
        name: its name.
        size: its size in bytes.
        sha256: its digest.
        where: "folder", "library" (of an installed model), or "store".
        path: where it is; empty for a file inside a library.
    """

    name: str
    size: int
    sha256: str
    where: str
    path: str = ""


@dataclass(frozen=True)
class ParameterFacts:
    """One KIM parameter.

    Attributes:
        name: its name.
        extent: number of its values.
        dtype: type of its values, float64 or int32.
        description: what it is.
    """

    name: str
    extent: int
    dtype: str
    description: str


@dataclass(frozen=True)
class DriverFacts:
    """The driver that a model names.

    Attributes:
        name: its KIM id.
        installed: whether it is installed; None where there is no KIM-API to ask.
        is_kim_torchml: whether what is installed belongs to this project.
        version: its version; empty where that is not known.
        collection: collection that it is in, or an empty string.
        state: the same in words.
    """

    name: str
    installed: bool | None
    is_kim_torchml: bool
    version: str
    collection: str
    state: str


@dataclass(frozen=True)
class OpenedFacts:
    """What opening a model as the driver does shows.

    Attributes:
        dtype: floating type of its inputs.
        influence_distance: distance beyond which nothing acts on a particle's energy, Å.
        needs_noncontributing_neighbours: whether it asks for neighbours of non-contributing particles.
        outputs: KIM's names of the outputs that it supports.
        parameters: its KIM parameters.
        arguments: names of the arguments of its forward.
        compiled: whether a compiled program for this machine and device is in the cache, and runs; empty where its file
            has a format that is never compiled.
    """

    dtype: str
    influence_distance: float
    needs_noncontributing_neighbours: bool
    outputs: tuple[str, ...]
    parameters: tuple[ParameterFacts, ...]
    arguments: tuple[str, ...]
    compiled: str = ""


@dataclass(frozen=True)
class ModelFacts:
    """All that is known of a model.

    Attributes:
        target: what the user asked for.
        what: "folder", "installed model" or "model file".
        name: KIM id of the model; empty for a model file.
        folder: folder that it is in, or that it is installed in.
        collection: collection that it is installed in, or an empty string.
        driver: its driver; None for a model file.
        description: what its files say; None for a model file.
        model_file: its model file.
        files: all its files.
        opened: what opening it shows; None if it cannot be opened.
        program: what a model file that stands alone shows.
        problem: why it cannot be opened, or an empty string.
        bibtex: how to cite it; empty where its files do not say.
    """

    target: str
    what: str
    model_file: FileFacts
    name: str = ""
    folder: str = ""
    collection: str = ""
    driver: DriverFacts | None = None
    description: ModelDescription | None = None
    files: tuple[FileFacts, ...] = ()
    opened: OpenedFacts | None = None
    program: ProgramFacts | None = None
    problem: str = ""
    bibtex: str = ""
