# SPDX-License-Identifier: LGPL-2.1-or-later
"""What tests of written models share: what is said of the models of models.py, and what a folder holds."""

import torch
from models import PARAMETERS

import kim_torchml
from kim_torchml.driver import open_model as open_by_driver
from kim_torchml.process.oldest_versions import OLDEST_EXPORTING_TORCH, is_older
from kim_torchml.tools.model_check.listed_files import files_of

# Modules of the kind edges are exported, all others scripted.
EDGES_FILE = "model.pt" if is_older(str(torch.__version__), OLDEST_EXPORTING_TORCH) else "model.pt2"


def files_with(model_file):
    """Return the names of the files of a folder whose model file has a name."""
    return ["CMakeLists.txt", "README.md", "kimspec.edn", model_file, "model.toml"]


FILES = files_with(EDGES_FILE)


def stated_of(model, **changes):
    """Return what is said of a model of models.py, or of one like it."""
    known = PARAMETERS.get(model, {})
    stated = {"name": "My_Model", "kind": "none", "species": ["Si", "C"], "cutoff": 2.5}
    stated |= {name: known[name] for name in ("kind", "returns_forces") if name in known}
    stated |= {"layers": known["n_layers"]} if "n_layers" in known else {}
    return stated | changes


def save(model, folder, **changes):
    """Save a model of models.py, or one like it."""
    return kim_torchml.save_model(model(), folder, **stated_of(model, **changes))


def left_in(folder):
    """Return the names of all that is in a folder."""
    return sorted(path.name for path in folder.iterdir())


def contents_of(folder):
    """Return the content of each file in a folder by its name."""
    return {name: (folder / name).read_bytes() for name in left_in(folder)}


def opened(folder):
    """Open a folder as the driver does, with the files that CMakeLists.txt lists."""
    model = open_by_driver(str(folder), files_of(folder))
    model.prepare()
    return model
