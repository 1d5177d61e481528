# SPDX-License-Identifier: LGPL-2.1-or-later
"""KLIFF: the folders that its trainers export, and all others of the published format 1, as folders of format 2.

KLIFF's DNNTrainer writes model.pt, descriptor.dat and kim_model.param, its GNNLightningTrainer model.pt and
kliff_graph.param; both write CMakeLists.txt and training_env.edn, which lists the packages that were there.

Source:
    KLIFF 1.0.1, `save_kim_model` in kliff/trainer/torch_trainer.py and kliff/trainer/lightning_trainer.py.
"""

import os
import re
from functools import partial
from pathlib import Path

from kim_torchml.engines.facts import type_word
from kim_torchml.errors import DriverError
from kim_torchml.inputs import FILE_FORMATS
from kim_torchml.model_files.model_folder import read_model_folder
from kim_torchml.model_files.model_toml import MODEL_TOML
from kim_torchml.tools.convert.family import (
    ASE_PACKAGE,
    DOUBLE,
    Asked,
    ExportedFolder,
    Family,
    Isolation,
    Measured,
    note_on_authors,
)
from kim_torchml.tools.convert.kliff_pins import REFERENCE
from kim_torchml.tools.convert.kliff_species import opened_with_its_species
from kim_torchml.tools.convert.pins import ASE, COMMAND, TORCH, TORCH_ON_GPUS
from kim_torchml.tools.kim_collections.cmake_lists import CMAKE_LISTS, read_model_item
from kim_torchml.tools.kim_collections.installed_drivers import DEFAULT_DRIVER_NAME
from kim_torchml.tools.model_check.listed_files import files_of
from kim_torchml.tools.package.documents import read_document
from kim_torchml.tools.request_error import RequestError

_WHAT = "a folder that KLIFF has exported"
# This driver's names: the published one, and those that KLIFF's folders name.
_DRIVERS = re.compile(rf"{DEFAULT_DRIVER_NAME}|TorchML__MD_\d{{12}}_\d{{3}}")
_ENVIRONMENT = "training_env.edn"
_VERSIONS = {"kliff": re.compile(r'"kliff-version" "([^"\s]+)"'), "torch": re.compile(r'"torch==([^"+\s]+)')}
# What people put beside a model, and KLIFF does not.
_DOCUMENTS = ("kimspec.edn", "README*", "LICENSE*", "LICENCE*", "COPYING*")


class Kliff(Family):
    """Folders of the package kliff."""

    word = "kliff"
    title = "KLIFF"
    sources = (
        "a folder that a trainer has exported (save_kim_model), or any other with a parameter file (format 1); "
        "without kliff, as TorchScript; --species-as where nothing tells what a graph network gets",
    )
    packages = (ASE_PACKAGE,)
    measured = (Measured("descriptors and a graph for SiC, float64", DOUBLE),)
    isolation = Isolation(
        pinned=(*TORCH, *COMMAND, "scipy==1.17.1"),
        # Its plots alone need matplotlib.
        alone=(ASE,),
        if_needed=TORCH_ON_GPUS,
    )
    reference = REFERENCE
    takes_species_as = True

    def look(self, asked: Asked) -> str:
        """Look at a source; see Family."""
        for option, value in (("--head", asked.head), ("--modal", asked.modal)):
            if value is not None:
                raise RequestError(
                    f"`{option}` must be left out for {self.title}, whose folders hold one network, got '{value}'; "
                    "leave it out"
                )
        if asked.file_format == "pt2":
            raise RequestError(
                f"`--format` must be pt for {_WHAT}, whose model file is TorchScript and stays as it is, got 'pt2'; "
                "leave it out"
            )
        _check_folder(asked.path)
        _check_driver(asked.path)
        files = read_model_folder(asked.path, files_of(asked.path), FILE_FORMATS)
        if files.description.format != 1:
            raise RequestError(
                f"`source` must be {_WHAT} (format 1), got {asked.path}, which has a {MODEL_TOML}: it is converted "
                "already; install it as it is"
            )
        if files.descriptor is not None and asked.species_as not in (None, "codes"):
            raise RequestError(
                f"`--species-as` must be codes for the kind descriptor, got '{asked.species_as}': descriptors tell "
                "elements by their codes; leave it out"
            )
        return ""

    def load(self, asked: Asked) -> ExportedFolder:
        """Return the folder of a source; see Family."""
        from kim_torchml.tools.convert.folder_calculator import FolderCalculator

        path = asked.path
        model, notes = opened_with_its_species(path, files_of(path), asked.species_as)
        found = type_word(model.dtype)
        if asked.dtype is not None and asked.dtype != found:
            raise RequestError(
                f"`--dtype` must be {found}, the type of the network in {model.description.model_file}, which stays as "
                f"it is, got '{asked.dtype}'; leave it out"
            )
        return ExportedFolder(
            path,
            model,
            partial(FolderCalculator, model),
            made_with=_made_with(path),
            notes=(*notes, note_on_authors(None), *_left_behind(path)),
        )


def _check_folder(path: Path) -> None:
    """Check that a source is a folder.

    Raises:
        RequestError: If it is not.
    """
    if not path.exists():
        raise RequestError(f"`source` must be {_WHAT}, got '{path}', which is not there; correct the path")
    if not path.is_dir():
        unpack = f"unpack it (tar -xf {path}) and name the folder in it" if ".tar" in path.name else "name its folder"
        raise RequestError(f"`source` must be {_WHAT}, got '{path}', a file; {unpack}")


def _check_driver(path: Path) -> None:
    """Check that a folder's model is one of this driver, where that is said, and that its files are there.

    Raises:
        DriverError: If it is another driver's, or a file is missing.
    """
    if not os.path.lexists(path / CMAKE_LISTS):
        return
    item = read_model_item(path)
    if not _DRIVERS.fullmatch(item.driver):
        raise DriverError(
            f"DRIVER_NAME must be {DEFAULT_DRIVER_NAME} or TorchML__MD_..., as KLIFF writes it, got {item.driver} "
            f"(file {path / CMAKE_LISTS}), another driver's, whose files mean something else; name another folder"
        )


def _made_with(folder: Path) -> dict[str, str]:
    """Return versions of what a folder's network was trained with, as far as KLIFF has written them."""
    if not os.path.lexists(folder / _ENVIRONMENT):
        return {}
    text = read_document(folder, _ENVIRONMENT).decode(errors="replace")
    found = {name: pattern.search(text) for name, pattern in _VERSIONS.items()}
    return {name: match[1] for name, match in found.items() if match is not None}


def _left_behind(folder: Path) -> tuple[str, ...]:
    """Return a sentence on documents of a folder that do not come along, as new ones are written."""
    names = sorted(path.name for pattern in _DOCUMENTS for path in folder.glob(pattern))
    return (f"not copied: {', '.join(names)}; carry over what holds for this folder too",) if names else ()
