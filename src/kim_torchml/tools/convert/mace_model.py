# SPDX-License-Identifier: LGPL-2.1-or-later
"""A `.model` file of MACE: the pickle of a network of the package mace-torch."""

import copy
import importlib.metadata
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from kim_torchml.engines.errors import reason_of
from kim_torchml.engines.facts import type_word
from kim_torchml.engines.torchscript.errors import reason_in_code
from kim_torchml.errors import DriverError
from kim_torchml.tools.convert.family import DOUBLE, Asked, Potential, note_on_authors
from kim_torchml.tools.convert.mace_edges import SINGLE, MaceEdges
from kim_torchml.tools.convert.mace_rows import share_rows
from kim_torchml.tools.convert.mace_weights import published_as
from kim_torchml.tools.convert.network_checks import check_runs, floating_type_of
from kim_torchml.tools.convert.source_file import damaged
from kim_torchml.tools.convert.unscripted import unscripted_parts
from kim_torchml.tools.request_error import RequestError, did_you_mean

# Classes whose energies depend on species and edges alone; those that are derived from them may need more.
_CLASSES = ("MACE", "ScaleShiftMACE")


def potential_of_model(asked: Asked, what: str) -> Potential:
    """Return the network of a file, which is unpickled.

    Args:
        asked: What is to be converted.
        what: What the file must be, for messages.
    Raises:
        DriverError: If it is damaged, or a network that cannot be converted.
    """
    path = asked.path
    _import_package()
    with damaged(path, what):
        network = _loaded(path, what)
        dtype = getattr(torch, asked.dtype) if asked.dtype else floating_type_of(network.parameters())
        network.to(dtype).eval().requires_grad_(False)
        heads = [str(each) for each in getattr(network, "heads", None) or []]
        numbers = tuple(int(each) for each in network.atomic_numbers)
        cutoff, layers = float(network.r_max), int(network.num_interactions)
        share_rows(network)
    index = index_of_head(heads, asked.head)
    module = MaceEdges(network, len(numbers), index).eval()
    check_runs(module, dtype, "mace-torch")
    published = published_as(path)
    about = dict(published.about) if published else {"title": f"MACE of {path.name}"}
    if len(heads) > 1:
        about["title"] = f"{about['title']}, head {heads[index]}"
    return Potential(
        module=module,
        atomic_numbers=numbers,
        cutoff=cutoff,
        layers=layers,
        dtype=dtype,
        calculator=partial(_calculator, network, heads[index] if heads else None, dtype),
        closeness=DOUBLE if dtype == torch.float64 else SINGLE,
        script=_scripted,
        exporting=partial(unscripted_parts, module),
        about=about,
        made_with={each: importlib.metadata.version(each) for each in ("mace-torch", "e3nn")},
        notes=(note_on_authors(published.about["title"] if published else None),),
    )


def index_of_head(heads: Sequence[str], head: str | None) -> int:
    """Return which of a network's heads is wanted.

    Args:
        heads: Their names; none for a network of the time before there were heads.
        head: The one that was asked for; None if none was.
    Raises:
        RequestError: If there is none of that name, or there are several and none was named.
    """
    if head is None and len(heads) < 2:
        return 0
    known = ", ".join(heads)
    if head is None:
        raise RequestError(f"`--head` must say which of the network's heads is meant: {known}; got none")
    if not heads:
        raise RequestError(f"`--head` must be left out for a network without named heads, got '{head}'; leave it out")
    if head not in heads:
        raise RequestError(f"`--head` must be one of {known}, got '{head}'{did_you_mean(head, heads)}; correct it")
    return heads.index(head)


def _import_package() -> None:
    """Import the package, which lets parts of e3nn load their own constants when a file is unpickled.

    Raises:
        DriverError: If it lacks another one that it needs.
    """
    try:
        import mace.calculators  # noqa: F401
    except ImportError as error:
        raise DriverError(
            f"mace-torch {importlib.metadata.version('mace-torch')} must be installed with all that it needs, but "
            f"cannot be imported: {reason_of(error)}; install that, or say --isolated for a temporary environment"
        ) from error


def _loaded(path: Path, what: str) -> Any:
    network = torch.load(path, map_location="cpu", weights_only=False)
    kind = type(network)
    if not isinstance(network, torch.nn.Module) or kind.__name__ not in _CLASSES:
        raise DriverError(
            f"`source` must be {what} of the class {' or '.join(_CLASSES)}, got {path}, which holds "
            f"{kind.__module__}.{kind.__qualname__}; it cannot be converted"
        )
    return network


def _scripted(module: torch.nn.Module) -> torch.jit.ScriptModule:
    import e3nn.util.jit

    from kim_torchml.tools.convert.mace_zbl import pair_repulsion_in_own_type

    # Scripting changes a network's parts, and this one is compared with what comes of it.
    copied = copy.deepcopy(module)
    pair_repulsion_in_own_type(copied)
    try:
        found: torch.jit.ScriptModule = e3nn.util.jit.script(copied)
    # The compiler raises errors of many types for what it does not support.
    except Exception as error:
        raise DriverError(
            f"TorchScript must be able to compile the network, as mace-torch has it, got: {reason_in_code(error)}; "
            "leave --format pt out"
        ) from error
    return found


def _calculator(network: Any, head: str | None, dtype: torch.dtype) -> Any:
    from mace.calculators import MACECalculator

    return MACECalculator(models=[network], device="cpu", default_dtype=type_word(dtype), head=head)
