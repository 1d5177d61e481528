# SPDX-License-Identifier: LGPL-2.1-or-later
"""Portable models with one mistake each, and the driver's message about it."""

import io
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import tiny_models as tiny
import torch
from kim_collection import PortableModel
from torch import Tensor, nn


@dataclass(frozen=True)
class Bad:
    """A model that fails.

    Attributes:
        model: the portable model.
        stage: stage that fails: create, arguments (loading the model and the probe) or compute.
        message: regular expression that must match stderr.
    """

    model: PortableModel
    stage: str
    message: str


BAD_CUTOFF = "Bad_Cutoff"
RAISES_LATER = "Bad_RaisesLater"
RAISES_FAR_AWAY = "Bad_RaisesFarAway"
FARTHEST = 8.0  # Å

_IN_FILE = r" \(file file\.param{line}\)[;:] .+"
_SOUND = tiny.parameter_file("None")
_SOUND_GRAPH = tiny.parameter_file("Graph", 2)
_MODEL = tiny.scripted(tiny.RawModel())


def _text(name: str, old: str, new: str, message: str, line: str, graph: bool = False) -> Bad:
    """Return a model whose parameter file has `new` in place of `old`; `line` is the line that the message names."""
    sound = _SOUND_GRAPH if graph else _SOUND
    assert sound.count(old) == 1
    files = {"file.param": sound.replace(old, new).encode(), "model.pt": _MODEL}
    return Bad(PortableModel(name, files), "create", message + _IN_FILE.format(line=line and f", {line}"))


def _bytes(name: str, content: bytes, message: str) -> Bad:
    """Return a model whose TorchScript file has this content."""
    files = {"file.param": _SOUND.encode(), "model.pt": content}
    return Bad(PortableModel(name, files), "create", message)


def _module(name: str, module: nn.Module, stage: str, message: str) -> Bad:
    """Return a model of the kind None with this module."""
    return Bad(tiny.raw(name, module), stage, message)


class _Raw(nn.Module):
    """Base of these modules of the kind None. They recognise the driver's probe by its 5 particles."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(0.5, dtype=torch.float64))


class RaisesAlways(_Raw):
    def forward(self, species: Tensor, r: Tensor, counts: Tensor, neighbours: Tensor, contributing: Tensor) -> Tensor:
        if r.size(0) > 0:
            raise ValueError("never happy")
        return r.sum()


class RaisesLater(_Raw):
    def forward(self, species: Tensor, r: Tensor, counts: Tensor, neighbours: Tensor, contributing: Tensor) -> Tensor:
        if r.size(0) != 5:
            raise ValueError("too many particles")
        return (r * self.scale).sum()


class DetachedRaisesLater(_Raw):
    """A module that gives no forces, and raises an error for more than 10 particles."""

    def forward(self, species: Tensor, r: Tensor, counts: Tensor, neighbours: Tensor, contributing: Tensor) -> Tensor:
        if r.size(0) > 10:
            raise ValueError("too many particles")
        return (r.detach() * self.scale).sum()


class RaisesIfNegative(_Raw):
    """A module that works until its parameter is set to a negative value."""

    def forward(self, species: Tensor, r: Tensor, counts: Tensor, neighbours: Tensor, contributing: Tensor) -> Tensor:
        if float(self.scale) < 0.0:
            raise ValueError(f"the scale is {float(self.scale)}")
        return (r * self.scale).sum()


class RaisesFarAway(_Raw):
    """A module whose forces are 0, until an atom comes too far along x and it raises an error."""

    def forward(self, species: Tensor, r: Tensor, counts: Tensor, neighbours: Tensor, contributing: Tensor) -> Tensor:
        if bool((r[:, 0] > 8.0).any()):
            raise ValueError("an atom has left")
        return (0.0 * r).sum()


class WrongShape(_Raw):
    def forward(self, species: Tensor, r: Tensor, counts: Tensor, neighbours: Tensor, contributing: Tensor) -> Tensor:
        return r.repeat(2, 1)


class WrongShapeLater(_Raw):
    def forward(self, species: Tensor, r: Tensor, counts: Tensor, neighbours: Tensor, contributing: Tensor) -> Tensor:
        return r.sum(1) if r.size(0) == 5 else r.repeat(2, 1)


class ReturnsPair(_Raw):
    def forward(
        self, species: Tensor, r: Tensor, counts: Tensor, neighbours: Tensor, contributing: Tensor
    ) -> tuple[Tensor, Tensor]:
        return r.sum(), r


class NotANumber(_Raw):
    def forward(self, species: Tensor, r: Tensor, counts: Tensor, neighbours: Tensor, contributing: Tensor) -> Tensor:
        return (r - r).sum() / (r - r).sum()


class InfiniteForces(_Raw):
    def forward(self, species: Tensor, r: Tensor, counts: Tensor, neighbours: Tensor, contributing: Tensor) -> Tensor:
        return (r - r[0]).abs().sum(1).sqrt()[: counts.size(0)]


class TooFewInputs(_Raw):
    def forward(self, species: Tensor, r: Tensor, counts: Tensor, neighbours: Tensor) -> Tensor:
        return (r * self.scale).sum()


class MixedTypes(_Raw):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("single", torch.ones(1, dtype=torch.float32))

    def forward(self, species: Tensor, r: Tensor, counts: Tensor, neighbours: Tensor, contributing: Tensor) -> Tensor:
        return (r * self.scale).sum() + self.single.sum()


class WritesFile(_Raw):
    def forward(self, species: Tensor, r: Tensor, counts: Tensor, neighbours: Tensor, contributing: Tensor) -> Tensor:
        torch.save(r, "stolen")
        return (r * self.scale).sum()


class ReadsFile(_Raw):
    def forward(self, species: Tensor, r: Tensor, counts: Tensor, neighbours: Tensor, contributing: Tensor) -> Tensor:
        return torch.from_file("/etc/hostname", False, 1, dtype=torch.uint8).sum() + (r * self.scale).sum()


class _Runs:
    """An object that writes a file when it is unpickled."""

    def __reduce__(self) -> tuple[Callable, tuple[Path, bytes]]:
        return Path.write_bytes, (Path("unpickled"), b"!")


def _zip(**members: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, member in members.items():
            archive.writestr(f"archive/{name.replace('__', '.')}", member)
    return content.getvalue()


def _in_parameter_file() -> list[Bad]:
    name_of_one = r"`model file name` must be the name of a \.pt file in the model's own folder, got '{}'"
    return [
        _text(BAD_CUTOFF, "2.9", "three", r"`cutoff` must be a positive number \(Å\), got 'three'", "line 7"),
        _text("Bad_Count", "\n2\n", "\n3\n", r"`element symbols` must be symbols .+, got 'None'", "line 5"),
        _text("Bad_CountOne", "\n2\n", "\n1\n", r"`element symbols` must be 1 symbols.*, got 'Si Ge'", "line 3"),
        _text("Bad_CountWord", "\n2\n", "\ntwo\n", r"`number of elements` must be .+, got 'two'", "line 2"),
        _text("Bad_Element", "Ge", "Gee", r"`element symbols` must be symbols .+, got 'Gee'", "line 3"),
        _text("Bad_Kind", "None\n#", "Nothing\n#", r"`preprocessing` must be None, .+, got 'Nothing'", "line 5"),
        _text("Bad_Ends", "model.pt\nfalse\n5\nNone\n", "", r"`model file name` is missing", "after line 7"),
        _text("Bad_Inputs", "\n5\n", "\n6\n", r"`number of inputs` must be 5 .+, got '6'", "line 10"),
        _text("Bad_Layers", "\n2\nmodel", "\n3\nmodel", r"`number of inputs` must be 6 .+, got '5'", "line 11", True),
        _text("Bad_NoLayers", "\n2\nmodel", "\n0\nmodel", r"`number of layers` must .+, got '0'", "line 8", True),
        _text("Bad_Leaves", "model.pt", "../x.pt", name_of_one.format(r"\.\./x\.pt"), "line 8"),
        _text("Bad_Absolute", "model.pt", "/x.pt", name_of_one.format("/x.pt"), "line 8"),
        _text("Bad_Pt2", "model.pt", "m.pt2", r"`model file name` must be a TorchScript .+, got 'm\.pt2'", "line 8"),
        _text("Bad_Missing", "model.pt", "other.pt", r"`model file name` must be one of .+, got 'other.pt'", ""),
    ]


def _in_model_file() -> list[Bad]:
    old_pickle = io.BytesIO()
    torch.save({"weight": _Runs()}, old_pickle, _use_new_zipfile_serialization=False)
    new_pickle = io.BytesIO()
    torch.save({"weight": _Runs()}, new_pickle)
    not_torchscript = r"the model file model\.pt must be TorchScript, got {}; export .+"
    return [
        _bytes("Bad_Empty", b"\n", not_torchscript.format(".*")),
        _bytes("Bad_Text", b"weights: 1 2 3\n", not_torchscript.format("a file of another kind")),
        _bytes("Bad_Truncated", _MODEL[: len(_MODEL) // 2], r"the model file model\.pt is damaged: .+; copy it again"),
        _bytes("Bad_Pickle", pickle.dumps(_Runs()), not_torchscript.format("a pickle .+")),
        _bytes("Bad_OldPickle", old_pickle.getvalue(), not_torchscript.format("a pickle .+")),
        _bytes("Bad_NewPickle", new_pickle.getvalue(), not_torchscript.format("a pickle .+")),
        _bytes(
            "Bad_Export",
            _zip(archive_format=b"pt2", version=b"3"),
            r"the model file model\.pt must be TorchScript, got a program of torch\.export; name it \.pt2, .+",
        ),
    ]


def _in_model() -> list[Bad]:
    raised = r"the model in model\.pt raised an error: "
    energy, forces = (rf"the {what} of the model in model\.pt " for what in ("energy", "forces"))
    touches = r"the model .*uses the operator aten::{}, which touches files: .+"
    return [
        _module("Bad_Writes", WritesFile(), "create", touches.format("save")),
        _module("Bad_Reads", ReadsFile(), "create", touches.format("from_file")),
        _module("Bad_Raises", RaisesAlways(), "arguments", raised + r".*never happy.*"),
        _module("Bad_Shape", WrongShape(), "arguments", energy + r"must .+ got the shape \[10, 3\]; .+"),
        _module("Bad_Pair", ReturnsPair(), "arguments", r"the model in model\.pt must return one tensor, .+ got 2 .+"),
        _module("Bad_TooFew", TooFewInputs(), "create", r"the model in .+ must take 5 inputs, .+ takes 4; .+"),
        _module("Bad_Mixed", MixedTypes(), "create", r".+ must have one floating type, got .+; .+"),
        _module(RAISES_LATER, RaisesLater(), "compute", raised + r".*too many particles.*"),
        _module(RAISES_FAR_AWAY, RaisesFarAway(), "compute", raised + r".*an atom has left.*"),
        _module("Bad_LaterShape", WrongShapeLater(), "compute", energy + r".+ got the shape \[80, 3\].*"),
        _module("Bad_NaN", NotANumber(), "compute", energy + r"must be finite, got NaN.+"),
        _module("Bad_Infinite", InfiniteForces(), "compute", forces + r"must be finite, got .+"),
    ]


@cache
def all_bad_models() -> list[Bad]:
    """Return one bad model of every sort."""
    return _in_parameter_file() + _in_model_file() + _in_model()
