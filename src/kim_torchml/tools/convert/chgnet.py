# SPDX-License-Identifier: LGPL-2.1-or-later
"""CHGNet: weights of the package chgnet that its wheel holds, and files of its Trainer."""

import importlib.metadata
import importlib.util
from functools import partial
from pathlib import Path

import torch

from kim_torchml.engines.errors import reason_of
from kim_torchml.errors import DriverError
from kim_torchml.tools.convert.chgnet_edges import ChgnetEdges
from kim_torchml.tools.convert.chgnet_package import calculator_of, import_package, network_of
from kim_torchml.tools.convert.chgnet_weights import PUBLISHED_CHGNET, PublishedWeights, published_as
from kim_torchml.tools.convert.family import (
    DOUBLE,
    Asked,
    Closeness,
    Family,
    FamilyPackage,
    Isolation,
    Measured,
    Potential,
    check_trusted,
    note_on_authors,
)
from kim_torchml.tools.convert.network_checks import check_runs, floating_type_of
from kim_torchml.tools.convert.pins import ASE, COMMAND, TORCH, TORCH_ON_GPUS
from kim_torchml.tools.convert.plain_arrays import PLAIN_ARRAYS
from kim_torchml.tools.convert.source_file import FileKind, SourceFile, damaged, look_at, plain_content
from kim_torchml.tools.request_error import RequestError, did_you_mean

_WHAT = "a file of CHGNet's weights"
# Angles of nearly parallel bonds lose half of all digits, in the package's own calculator too.
_SINGLE = Closeness(5e-6, 2e-4, 1e-5)
# What is imported with the package's calculator beside ASE and torch.
_PINNED = (
    *("contourpy==1.3.3", "cycler==0.12.1", "fonttools==4.68.0", "kiwisolver==1.5.1", "lxml==6.1.3"),
    *("matplotlib==3.11.2", "orjson==3.13.0", "packaging==26.4", "palettable==3.3.3", "pillow==13.0.0"),
    *("pyparsing==3.3.3", "python-dateutil==4.0.0", "ruamel.yaml==0.19.1", "scipy==1.17.1", "spglib==2.8.0"),
    *("tabulate==0.10.0", "tqdm==4.70.1", "tzdata==2026.6", ASE),
)
_OTHER_FAMILIES = ("mace", "sevenn", "nequip")
_SUFFIXES = (".tar", ".pth", ".pt")


class Chgnet(Family):
    """Networks of the package chgnet."""

    word = "chgnet"
    title = "CHGNet"
    sources = (
        f"a name of the wheel: {', '.join(PUBLISHED_CHGNET)}",
        "a file that the package's Trainer has saved (.pth.tar)",
    )
    packages = (FamilyPackage("chgnet", "chgnet", "0.4.2"),)
    measured = (Measured("CHGNet 0.3.0, float32", _SINGLE, (4.94, 4.97)),)
    isolation = Isolation(
        pinned=(*TORCH, *COMMAND, *_PINNED),
        # What they ask for besides is for other parts of them.
        alone=("chgnet==0.4.2", "pymatgen==2026.10.24", "pymatgen-core==2026.10.16", "monty==2026.10.21"),
        if_needed=TORCH_ON_GPUS,
    )

    def look(self, asked: Asked) -> str:
        """Look at a source; see Family."""
        for option, given in (("--head", asked.head), ("--modal", asked.modal)):
            if given is not None:
                raise RequestError(f"`{option}` must be left out for CHGNet, got '{given}'; leave it out")
        if not asked.path.exists():
            if asked.source in PUBLISHED_CHGNET:
                # Where the package is not here, the environment that has it looks once more.
                if path := _place_of(PUBLISHED_CHGNET[asked.source]):
                    _check_named(asked.source, path)
                return ""
            if not asked.source.endswith(_SUFFIXES):
                raise RequestError(
                    f"`source` must be {_WHAT} or one of {', '.join(PUBLISHED_CHGNET)}, got '{asked.source}'"
                    f"{did_you_mean(asked.source, PUBLISHED_CHGNET)}; correct it"
                )
        return _reason_to_trust(look_at(asked.path, _WHAT))

    def load(self, asked: Asked) -> Potential:
        """Return the network of a source; see Family."""
        path, named = _file_of(asked)
        if named is not None:
            _check_named(asked.source, path)
        reason = _reason_to_trust(look_at(path, _WHAT))
        # Between looking and reading, the file may have changed.
        check_trusted(reason, asked)
        _check_package()
        with damaged(path, _WHAT):
            content = _unpickled(path) if reason else plain_content(path, _WHAT, PLAIN_ARRAYS)
            network = network_of(content, path, _WHAT)
            dtype = getattr(torch, asked.dtype) if asked.dtype else floating_type_of(network.parameters())
            network.to(dtype)
            module = ChgnetEdges(network).eval()
        check_runs(module, dtype, "chgnet")
        known = named or published_as(path)
        notes = () if named else (note_on_authors(known.about["title"] if known else None),)
        return Potential(
            module=module,
            atomic_numbers=tuple(range(1, len(module.references) + 1)),
            cutoff=float(network.graph_converter.atom_graph_cutoff),
            layers=int(network.n_conv),
            dtype=dtype,
            calculator=partial(calculator_of, network, dtype),
            closeness=DOUBLE if dtype == torch.float64 else _SINGLE,
            script=_traced,
            about=dict(known.about) if known else {"title": f"CHGNet of {path.name}"},
            made_with={"chgnet": importlib.metadata.version("chgnet")},
            notes=(*notes, *module.notes),
        )


def _reason_to_trust(source: SourceFile) -> str:
    path = source.path
    if source.kind is not FileKind.PICKLE:
        what = "TorchScript" if source.kind is FileKind.TORCHSCRIPT else "a program of torch.export"
        raise DriverError(f"`source` must be {_WHAT}, got {path}, {what}; see `kim-torchml package`")
    foreign = [each for each in source.calls if each not in PLAIN_ARRAYS]
    if others := [each for each in foreign if each.split(".")[0] in _OTHER_FAMILIES]:
        raise DriverError(f"`source` must be {_WHAT}, got {path}, which holds {others[0]}: a network of another family")
    return f"{path} holds {foreign[0]}, which unpickling alone can make" if foreign else ""


def _check_named(name: str, path: Path) -> None:
    """Check that weights that were named need not be unpickled: the name says nothing of the file that is here.

    Raises:
        RequestError: If they must be.
    """
    if reason := _reason_to_trust(look_at(path, _WHAT)):
        raise RequestError(
            f"{name} is {path} here, and {reason}; if you trust whoever made that file, give it as `source`, with "
            "--trust"
        )


def _traced(module: torch.nn.Module) -> torch.jit.ScriptModule:
    """Return TorchScript: parts of the package have what its compiler does not know, and nothing has branches."""
    dtype = next(module.parameters()).dtype
    places = torch.tensor([[0, 0, 0], [2, 0, 0], [0, 2, 0], [4, 4, 4]], dtype=dtype, device="cpu")
    edge_index = torch.combinations(torch.arange(len(places), device="cpu")).T
    edge_index = torch.cat([edge_index, edge_index.flip(0)], dim=1)
    vectors = places[edge_index[1]] - places[edge_index[0]]
    given = (torch.zeros(len(places), dtype=torch.int64, device="cpu"), edge_index, vectors)
    found: torch.jit.ScriptModule = torch.jit.trace(module, given, check_trace=False)
    return found


def _unpickled(path: Path) -> object:
    import_package()
    return torch.load(path, map_location="cpu", weights_only=False)


def _file_of(asked: Asked) -> tuple[Path, PublishedWeights | None]:
    """Return the file, and what is known of it where it was named.

    Raises:
        RequestError: If it is not here.
    """
    if asked.path.exists():
        return asked.path, None
    published = PUBLISHED_CHGNET[asked.source]
    if path := _place_of(published):
        return path, published
    raise RequestError(
        f"chgnet {importlib.metadata.version('chgnet')} does not hold {asked.source}; install chgnet==0.4.2"
    )


def _place_of(published: PublishedWeights) -> Path | None:
    """Return where weights are; None where the package is not here, or does not hold them."""
    spec = importlib.util.find_spec("chgnet")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / published.file
    return path if path.is_file() else None


def _check_package() -> None:
    """Import the package.

    Raises:
        DriverError: If it lacks another one that it needs.
    """
    try:
        import_package()
    except ImportError as error:
        raise DriverError(
            f"chgnet {importlib.metadata.version('chgnet')} must be installed with all that it needs, but cannot be "
            f"imported: {reason_of(error)}; install that, or say --isolated for a temporary environment"
        ) from error
