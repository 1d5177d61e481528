# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a model's files say of the model: the one description that both formats are read into."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

# Å. No potential has a cutoff beyond these, and the square or a multiple of one could overflow.
SMALLEST_CUTOFF, LARGEST_CUTOFF = 1e-3, 1e6

# Bytes that a file system allows.
_LONGEST_NAME = 255


@dataclass(frozen=True)
class KindFormat:
    """What the files of a kind of input say.

    Attributes:
        n_inputs: number of tensors that the model is called with, not counting one for each layer.
        has_layers: whether the number of layers is given.
        edges_by_layer: whether the model is called with one set of edges for each layer.
        names_descriptor: whether a descriptor is named.
        in_parameter_files: whether parameter files of the published format may name the kind.
        one_energy_per_row: whether models must return one energy for each row.
        may_be_exported: whether models may be programs of torch.export (.pt2), rather than TorchScript alone.
    """

    n_inputs: int
    has_layers: bool = False
    edges_by_layer: bool = False
    names_descriptor: bool = False
    in_parameter_files: bool = True
    one_energy_per_row: bool = False
    may_be_exported: bool = False

    def count_inputs(self, n_layers: int) -> int:
        """Return the number of tensors that a model of so many layers is called with."""
        return self.n_inputs + (n_layers if self.edges_by_layer else 0)


@dataclass(frozen=True)
class Limits:
    """Beyond which configurations a model is not to be trusted.

    Attributes:
        smallest_distance: distance of two particles, Å; 0 where there is no limit.
        most_neighbours: number of neighbours of a particle within the cutoff; None where there is no limit.
        stop: whether a configuration beyond a limit is an error rather than worth a warning.
    """

    smallest_distance: float = 0.0
    most_neighbours: int | None = None
    stop: bool = False


@dataclass(frozen=True)
class ModelDescription:
    """What a model's files say of it.

    Attributes:
        file_name: name of the file that says all this.
        format: number of that file's format.
        model_file: name of the model file, without a folder.
        kind: word that the kind of input is registered under.
        species: element symbols; the index is KIM's species code.
        atomic_numbers: whether the model gets atomic numbers instead of species codes, where its kind has species.
        cutoff: cutoff of the model's neighbour lists, Å.
        n_layers: number of message-passing layers; 1 for a kind without layers.
        has_layers: whether models of this kind have layers.
        returns_forces: whether the model returns (energy, forces) rather than energy.
        inputs_stated: what says which inputs the model is called with, for messages.
        counts_inputs: whether that gives their number, rather than leave it to the kind of input.
        returns_stated: what says whether the model returns forces, for messages.
        coding_advice: how a user lets the model have atomic numbers instead of species codes, for messages;
            empty where nothing does.
        dtype: floating type of the model's inputs, such as float32; None for that of its parameters.
        energy_per_particle: whether the model returns an energy for each particle; None where the files do not say.
        descriptor: name of the descriptor; None for a kind without one.
        descriptor_file: name of its file; None where it is the only one with the suffix of such files.
        parameters: descriptions of the tensors that are KIM parameters, by dotted name; None where the model file says.
        limits: beyond which configurations the model is not to be trusted; None where the files do not say.
        sha256: digest of the model file, lower-case hexadecimal; None where the files do not say.
        in_store: whether the model file is in a store of model files rather than in the model's folder.
        about: title, authors and the like.
        made_with: versions of the software that the model was made with.
    """

    file_name: str
    format: int
    model_file: str
    kind: str
    species: tuple[str, ...]
    atomic_numbers: bool
    cutoff: float
    n_layers: int
    has_layers: bool
    returns_forces: bool
    inputs_stated: str
    returns_stated: str
    coding_advice: str
    counts_inputs: bool = False
    dtype: str | None = None
    energy_per_particle: bool | None = None
    descriptor: str | None = None
    descriptor_file: str | None = None
    parameters: Mapping[str, str] | None = None
    limits: Limits | None = None
    sha256: str | None = None
    in_store: bool = False
    about: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    made_with: Mapping[str, str] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """What messages call the file that says all this."""
        return "the parameter file" if self.format == 1 else self.file_name


def is_plain_name(name: str) -> bool:
    """Return whether a text can be the name of a file, without a folder."""
    if not name.isprintable() or name in ("", ".", "..") or "/" in name or "\\" in name:
        return False
    return len(name.encode()) <= _LONGEST_NAME
