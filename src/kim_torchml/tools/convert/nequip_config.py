# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a checkpoint of NequIP or Allegro says of its network, checked before anything is made of it.

The package calls whatever function a configuration names under `_target_`, wherever it stands, and puts in what `${..}`
stands for, which may load other files. Here a configuration is plain, and names what is listed, where that belongs.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kim_torchml.errors import DriverError, shortened
from kim_torchml.process.oldest_versions import is_older
from kim_torchml.tools.convert.nequip_source import WHAT

# Functions that make a network out of numbers, names of elements and of activations, by the names in configurations.
BUILDERS = {
    **{name: name for name in (
        "nequip.model.NequIPGNNModel", "nequip.model.PresetNequIPGNNModel", "nequip.model.FullNequIPGNNModel",
        "nequip.model.ZBLPairPotential", "allegro.model.AllegroModel", "allegro.model.allegro_models.FullAllegroModel",
    )},
    **{f"nequip.model.nequip_models.{name}": f"nequip.model.{name}" for name in (
        "NequIPGNNModel", "PresetNequIPGNNModel", "FullNequIPGNNModel",
    )},
    "nequip.model.pair_potential.ZBLPairPotential": "nequip.model.ZBLPairPotential",
    "allegro.model.allegro_models.AllegroModel": "allegro.model.AllegroModel",
}  # fmt: skip
# Parts of networks that the package makes by their names, and the arguments of builders that they may stand in.
_PARTS = {
    "pair_potential": tuple(
        f"nequip.nn.pair_potential.{name}" for name in ("ZBL", "LennardJones", "SimpleLennardJones")
    ),
    "radial_chemical_embed": tuple(
        f"allegro.nn.{place}{name}"
        for name in ("TwoBodyBesselScalarEmbed", "TwoBodySplineScalarEmbed")
        for place in ("", "scalarembed.")
    ),
}
_MODIFY = ("nequip.model.modify", "nequip.model.modify_utils.modify")
MODIFIERS = ("modify_PerTypeScaleShift", "enable_ForceStressOutput", "disable_ForceStressOutput")
# Make the same network faster on some machines; the package leaves them out too, where it reads a checkpoint.
_ACCELERATIONS = (
    *("enable_OpenEquivariance", "enable_CuEquivariance", "enable_CuEquivarianceContracter"),
    "enable_TritonContracter",
)
_OTHER_FILES = ("ModelFromCheckpoint", "ModelFromPackage")
# Classes that train; the second ones keep an average of the weights beside them, which is what counts.
_TRAINING = ("NequIPLightningModule", "ConFIGLightningModule")
_AVERAGING = ("EMALightningModule", "EMAConFIGLightningModule")
_TARGET = "_target_"
_RELEASE = re.compile(r"\d{1,6}\.\d{1,6}")
_PREFIX = "model.sole_model."


@dataclass(frozen=True)
class NequIPNetwork:
    """A network as a checkpoint describes it.

    Attributes:
        builder: name of the function that makes it, one of BUILDERS.
        arguments: what it is made with, plain.
        modifiers: what is then changed, in this order; plain.
        weights: the tensors of its state, by name.
        averages: averaged weights in the order of its parameters, which take the place of these; None where there are
            none.
    """

    builder: str
    arguments: dict[str, Any]
    modifiers: tuple[dict[str, Any], ...]
    weights: dict[str, torch.Tensor]
    averages: tuple[torch.Tensor, ...] | None


def network_of(content: Any, path: Path, installed: Callable[[str], str]) -> NequIPNetwork:
    """Return the network that a checkpoint describes.

    Args:
        content: What the file holds.
        path: The file.
        installed: Returns the version of a package that is installed.
    Raises:
        DriverError: If it is no checkpoint of nequip-train, one of a newer version, or names what is not listed.
    """
    given = content.get("hyper_parameters") if isinstance(content, dict) else None
    model, info = (given.get("model"), given.get("info_dict")) if isinstance(given, dict) else (None, None)
    if not isinstance(model, dict) or not isinstance(info, dict) or not isinstance(content.get("state_dict"), dict):
        raise DriverError(
            f"`source` must be {WHAT}, got {path}, which nequip-train has not written, or a version before 0.7; name "
            "another file, or another family"
        )
    _check_versions(info.get("versions"), path, installed)
    averages = _averages(_training_class(info, path), content["state_dict"], path)
    model, modifiers = _without_modifiers(model, path)
    builder = _builder(model, path)
    arguments = {
        name: _plain(value, name, path, _PARTS.get(name, ())) for name, value in model.items() if name != _TARGET
    }
    return NequIPNetwork(builder, arguments, modifiers, _weights(content["state_dict"], path), averages)


def _check_versions(versions: Any, path: Path, installed: Callable[[str], str]) -> None:
    named = versions if isinstance(versions, dict) else {}
    for module, package in (("nequip", "nequip"), ("allegro", "nequip-allegro")):
        made_by = str(named.get(module))[:20]
        release = _RELEASE.match(made_by)
        if release is None and module == "nequip":
            raise DriverError(
                f"{path} must say by which version of nequip it was made, got '{made_by}'; fetch it again, or save it "
                "with nequip-train"
            )
        # Of allegro, a version stands there wherever it was installed.
        if release is not None and _is_here(installed, package) and is_older(installed(package), release[0]):
            raise DriverError(
                f"{path} was made by {package} {made_by}, and this is {package} {installed(package)}; install "
                f"{package} {made_by} or newer"
            )


def _is_here(installed: Callable[[str], str], package: str) -> bool:
    try:
        installed(package)
    except ModuleNotFoundError:
        return False
    return True


def _training_class(info: Mapping[str, Any], path: Path) -> str:
    """Return the name of the class that has trained a network.

    Raises:
        DriverError: If it is not known how that keeps its weights.
    """
    training = info.get("training_module")
    target = training.get(_TARGET) if isinstance(training, dict) else None
    known = (*_TRAINING, *_AVERAGING)
    place, _, name = target.rpartition(".") if isinstance(target, str) else ("", "", "")
    if name not in known or place.split(".")[:2] != ["nequip", "train"]:
        raise DriverError(
            f"{path} must be trained by one of {', '.join(known)}, got {_quoted(target)}, which may keep its weights "
            f"otherwise; {_as_package(path)}"
        )
    return name


def _averages(training: str, state: Mapping[str, Any], path: Path) -> tuple[torch.Tensor, ...] | None:
    if training not in _AVERAGING:
        return None
    names = [f"ema.ema_weight_{index}" for index in range(len(state))]
    found = tuple(state[name] for name in names if name in state)
    said = state.get("ema._extra_state")
    if not isinstance(said, dict) or said.get("is_holding_ema_weights") is not True:
        raise DriverError(
            f"{path} must hold averaged weights ({training}) that were not exchanged for the others, got it in the "
            "middle of a validation; take a checkpoint that nequip-train has written after one"
        )
    return found


def _without_modifiers(model: dict[str, Any], path: Path) -> tuple[dict[str, Any], tuple[dict[str, Any], ...]]:
    """Return the configuration of a network before it was modified, and what was modified."""
    if model.get(_TARGET) not in _MODIFY:
        return model, ()
    inner, given = model.get("model"), model.get("modifiers")
    if not isinstance(inner, dict) or not isinstance(given, list) or set(model) != {_TARGET, "model", "modifiers"}:
        raise DriverError(f"{path} must modify one network by a list, got another form; {_as_package(path)}")
    modifiers = []
    for each in given:
        plain = _plain(each, "modifiers", path)
        name = plain.get("modifier") if isinstance(plain, dict) else None
        if name in MODIFIERS:
            modifiers.append(plain)
        elif name not in _ACCELERATIONS:
            raise DriverError(
                f"{path} must modify its network by {', '.join(MODIFIERS)}, got {_quoted(name)}; {_as_package(path)}"
            )
    return inner, tuple(modifiers)


def _builder(model: Mapping[str, Any], path: Path) -> str:
    target = model.get(_TARGET)
    if isinstance(target, str) and target in BUILDERS:
        return BUILDERS[target]
    if isinstance(target, str) and target.rpartition(".")[2] in _OTHER_FILES:
        raise DriverError(
            f"{path} begins with the network of another file ({target.rpartition('.')[2]}), which is not read; "
            f"{_as_package(path)}"
        )
    raise DriverError(
        f"`{_TARGET}` of the network in {path} must be a builder of nequip or allegro "
        f"({', '.join(dict.fromkeys(name.rpartition('.')[2] for name in BUILDERS))}), got {_quoted(target)}; nothing "
        f"was called: {_as_package(path)}"
    )


def _plain(value: Any, where: str, path: Path, allowed: tuple[str, ...] = ()) -> Any:
    """Return a copy of what a configuration holds: numbers, texts, lists and dicts.

    Args:
        value: What it holds.
        where: Where it stands, for messages.
        path: The file.
        allowed: Names that `_target_` may have in it.
    Raises:
        DriverError: If it holds something else, names what is not allowed, or stands for something else.
    """
    if value is None or type(value) in (bool, int, float):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if type(value) is str:
        if "${" in value:
            raise DriverError(
                f"`{where}` of the network in {path} must be what was put in for it, got {_quoted(value)}, which may "
                f"stand for other files; {_as_package(path)}"
            )
        return value
    if isinstance(value, list | tuple):
        return [_plain(each, where, path) for each in value]
    if isinstance(value, dict):
        _check_words(value, where, path, allowed)
        return {name: _plain(each, f"{where}.{name}", path) for name, each in value.items()}
    raise DriverError(
        f"`{where}` of the network in {path} must be numbers and texts, got {type(value).__name__}; {_as_package(path)}"
    )


def _check_words(value: Mapping[Any, Any], where: str, path: Path, allowed: tuple[str, ...]) -> None:
    """Check the names in a dict that mean something to the package."""
    for name in value:
        if type(name) is not str or (name.startswith("_") and name != _TARGET):
            raise DriverError(
                f"`{where}` of the network in {path} must be arguments by name, got {_quoted(name)}; "
                f"{_as_package(path)}"
            )
    if _TARGET in value and (type(value[_TARGET]) is not str or value[_TARGET] not in allowed):
        known = ", ".join(dict.fromkeys(each.rpartition(".")[2] for each in allowed)) or "no part of a network at all"
        raise DriverError(
            f"`{where}.{_TARGET}` of the network in {path} must be {known}, got {_quoted(value[_TARGET])}; nothing was "
            f"called: {_as_package(path)}"
        )


def _weights(state: Mapping[Any, Any], path: Path) -> dict[str, torch.Tensor]:
    found = {
        name.removeprefix(_PREFIX): value
        for name, value in state.items()
        if isinstance(name, str) and name.startswith(_PREFIX)
    }
    others = [name for name in state if isinstance(name, str) and name.startswith("model.") and _PREFIX not in name]
    if not found or others or not all(isinstance(each, torch.Tensor) for each in found.values()):
        got = f"also {_quoted(others[0])}" if others else "other things"
        raise DriverError(f"{path} must hold the weights of one network, got {got}; {_as_package(path)}")
    return found


def _quoted(value: Any) -> str:
    return f"'{shortened(value, 80)}'" if isinstance(value, str) else type(value).__name__


def _as_package(path: Path) -> str:
    """Return what can be done for a network that is not rebuilt here: the package itself runs what a file names."""
    return (
        f"if you trust whoever made it, run `nequip-package build {path.name} {path.stem}.nequip.zip`, and convert "
        "that with --trust"
    )
