# SPDX-License-Identifier: LGPL-2.1-or-later
"""NequIP and Allegro: checkpoints of nequip-train, and what nequip-package makes of them."""

import importlib.metadata
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from kim_torchml.engines.facts import type_word
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
from kim_torchml.tools.convert.nequip_config import network_of
from kim_torchml.tools.convert.nequip_source import WHAT, NequIPFileKind, kind_of
from kim_torchml.tools.convert.network_checks import check_runs
from kim_torchml.tools.convert.pins import ASE, COMMAND, E3NN, TORCH, TORCH_ON_GPUS
from kim_torchml.tools.convert.plain_arrays import PLAIN_ARRAYS
from kim_torchml.tools.convert.source_file import damaged, plain_content
from kim_torchml.tools.request_error import RequestError

_SINGLE = Closeness(5e-6, 5e-5, 5e-6)
# What edge vectors are, whatever a network computes in.
_VECTORS = torch.float64
_SITE = "nequip.net:"
# What is imported with the package's calculator beside e3nn, ASE and torch.
_PINNED = (
    *("e3nn==0.6.0", "antlr4-python3-runtime==4.9.3", "certifi==2026.10.19.post1", "charset-normalizer==3.5.3"),
    *("hydra-core==1.3.8", "idna==3.20", "lightning-utilities==0.15.3", "lmdb==3.0.0", "omegaconf==2.3.1"),
    *("pyyaml==6.0.4", "requests==2.34.2", "torchmetrics==1.9.0", "tqdm==4.70.1", "urllib3==2.8.0"),
)
# Not one version that hydra-core takes is a wheel.
_FROM_SOURCE = ("antlr4-python3-runtime",)


class NequIP(Family):
    """Networks of the packages nequip and nequip-allegro."""

    word = "nequip"
    title = "NequIP and Allegro"
    sources = (
        "a checkpoint of nequip-train (.ckpt)",
        "a package of nequip-package (.nequip.zip), which runs its own code: --trust",
    )
    packages = (FamilyPackage("nequip", "nequip", "0.19.1"), FamilyPackage("nequip-allegro", "allegro", "0.8.3"))
    measured = (
        Measured("NequIP, float32", _SINGLE, (1.77, 1.44)),
        Measured("Allegro, float64", DOUBLE, (1.85, 1.71)),
    )
    isolation = Isolation(
        pinned=(*TORCH, *COMMAND, *E3NN, *_PINNED),
        # What they ask for besides is for pictures, and for clouds that trainings are watched in.
        alone=("nequip==0.19.1", "nequip-allegro==0.8.3", "lightning==2.6.6", "matscipy==1.3.1", ASE),
        if_needed=TORCH_ON_GPUS,
        from_source=_FROM_SOURCE,
    )

    def needs(self, asked: Asked) -> tuple[FamilyPackage, ...]:
        """Return the packages that every source needs; see Family. That a network is one of Allegro is seen later."""
        del asked
        return self.packages[:1]

    def look(self, asked: Asked) -> str:
        """Look at a source; see Family."""
        for option, given in (("head", asked.head), ("modal", asked.modal)):
            if given is not None:
                raise RequestError(
                    f"`--{option}` must be left out, got '{given}': networks of NequIP and Allegro have one alone; "
                    "leave it out"
                )
        if asked.source.startswith(_SITE):
            raise RequestError(
                f"{asked.source} is in no wheel: fetch its .nequip.zip from www.nequip.net, and run `kim-torchml "
                "convert nequip` for that file, with --trust"
            )
        return kind_of(asked.path)[1]

    def load(self, asked: Asked) -> Potential:
        """Return the network of a source; see Family."""
        path = asked.path
        kind, reason = kind_of(path)
        # Between looking and reading, the file may have changed.
        check_trusted(reason, asked)
        with damaged(path, WHAT):
            if kind is NequIPFileKind.PACKAGE:
                return _of_package(asked)
            content = _unpickled(path) if reason else plain_content(path, WHAT, PLAIN_ARRAYS)
            return _of_checkpoint(content, asked)


def _unpickled(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=False)


def _of_checkpoint(content: Any, asked: Asked) -> Potential:
    # The package's own way reads the file once more, and calls whatever that names.
    from kim_torchml.tools.convert.nequip_network import built, numbers_of_types

    described = network_of(content, asked.path, _version)
    if isinstance(names := described.arguments.get("type_names"), list):
        # Parts of a network fail at other types in words of their own.
        numbers_of_types([str(each) for each in names], asked.path)
    dtype = getattr(torch, asked.dtype) if asked.dtype else None
    return _potential(partial(built, described, dtype), asked.path)


def _of_package(asked: Asked) -> Potential:
    from kim_torchml.tools.convert.nequip_network import facts_of, packaged_network

    network = partial(packaged_network, asked.path)
    found = facts_of(network(), asked.path).dtype
    if asked.dtype is not None and getattr(torch, asked.dtype) != found:
        raise RequestError(
            f"`--dtype` must be left out for {asked.path}, which was packaged in {type_word(found)}, got "
            f"'{asked.dtype}'; convert the checkpoint that it was made from"
        )
    return _potential(network, asked.path)


def _potential(network: Callable[[], Any], path: Path) -> Potential:
    from kim_torchml.tools.convert.nequip_network import (
        calculator_of,
        check_pair_cutoffs,
        energies_alone,
        facts_of,
        scripted,
    )

    edges = network()
    facts = facts_of(edges, path)
    module = energies_alone(edges)
    check_runs(module, _VECTORS, "nequip")
    check_pair_cutoffs(module, facts)
    packages = ("nequip", "nequip-allegro", "e3nn") if facts.is_allegro else ("nequip", "e3nn")
    return Potential(
        module=module,
        atomic_numbers=facts.atomic_numbers,
        cutoff=facts.cutoff,
        layers=facts.layers,
        dtype=_VECTORS,
        # The module has lost what computes forces.
        calculator=lambda: calculator_of(network(), facts),
        closeness=DOUBLE if facts.dtype == torch.float64 else _SINGLE,
        script=scripted,
        about={"title": f"{'Allegro' if facts.is_allegro else 'NequIP'} of {path.name}"},
        made_with={each: _version(each) for each in packages if _is_here(each)},
        notes=(
            f"the network computes in {type_word(facts.dtype)}; the vectors that it takes are float64 in any case",
            note_on_authors(None),
        ),
        computes_in=facts.dtype,
    )


def _version(package: str) -> str:
    return importlib.metadata.version(package)


def _is_here(package: str) -> bool:
    try:
        _version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
