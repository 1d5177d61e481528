# SPDX-License-Identifier: LGPL-2.1-or-later
"""Write a model folder, open it as the shim does, and compute with it."""

import hashlib
import io
import json

import numpy as np
import torch
from models import CUTOFF, PARAMETERS, TOTALS

from kim_torchml.driver import open_model as open_by_driver
from kim_torchml.inputs import FILE_FORMATS
from kim_torchml.model_files.model_folder import ModelFolder
from kim_torchml.model_files.parameter_file import ElementsMap, parse_parameter_file

INPUTS = {"None": 5, "Graph": 3, "Descriptor": 1}
SHAPES = {
    "partialEnergy": lambda n: (1,),
    "partialForces": lambda n: (n, 3),
    "partialParticleEnergy": lambda n: (n,),
    "partialVirial": lambda n: (6,),
    "partialParticleVirial": lambda n: (n, 6),
}

# Every model that gives energies by particle supports these outputs; descriptors and edges give particle virials too.
ALL = [name for name in SHAPES if name != "partialParticleVirial"]


def outputs_of(kind):
    """Return KIM's names of the outputs that a model of models.py can give."""
    if PARAMETERS[kind].get("kind") == "Edges":
        return list(SHAPES)
    return [name for name in ALL if name != "partialParticleEnergy" or kind not in TOTALS]


def parameter_text(
    kind="None",
    elements=("Si",),
    cutoff=CUTOFF,
    n_layers=1,
    model_file="model.pt",
    returns_forces=False,
    n_inputs=None,
    descriptor="None",
):
    """Return the text of a parameter file."""
    layers = [n_layers] if kind == "Graph" else []
    inputs = INPUTS[kind] + sum(layers) if n_inputs is None else n_inputs
    values = [len(elements), " ".join(elements), kind, cutoff, *layers, model_file, returns_forces, inputs, descriptor]
    return "\n".join(map(str, values)) + "\n"


def toml_text(script, kind="Edges", model_file="model.pt", **changes):
    """Return the text of a model.toml.

    Args:
        script: Content of the model file.
        kind: Kind of input, in capitals or not.
        model_file: Name of the model file.
        changes: Keys of [model] by name; None leaves a key out. "tables" is text that follows.
    """
    tables = changes.pop("tables", "")
    keys = {
        "file": model_file,
        "sha256": hashlib.sha256(script).hexdigest(),
        "kind": kind.lower(),
        "dtype": "float64",
        "species": ["Si"],
        "species_as": "codes",
        "cutoff": CUTOFF,
        "layers": 1 if kind.lower() in ("graph", "edges") else None,
        "energy": "per particle",
        "returns_forces": False,
    } | changes
    lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items() if value is not None]
    return "\n".join(["format = 2", "[model]", *lines, tables]) + "\n"


def dtype_of(script):
    """Return the floating type of a TorchScript file's tensors, as model.toml has it; float64 where it has none."""
    module = torch.jit.load(io.BytesIO(script))
    types = [each.dtype for each in (*module.parameters(), *module.buffers()) if each.is_floating_point()]
    return str(types[0]).removeprefix("torch.") if types else "float64"


def read_parameter_file(path, atomic_numbers=False):
    """Return what a parameter file says."""
    return parse_parameter_file(path.read_bytes(), path.name, FILE_FORMATS, ElementsMap(atomic_numbers))


def folder_of(path, atomic_numbers=False):
    """Return a model folder that has a parameter file alone."""
    return ModelFolder(read_parameter_file(path, atomic_numbers), None, ())


def write_files(folder, script, model_file="model.pt", **parameters):
    """Write a model from a TorchScript file's content, and return its files' names; see open_model for the rest."""
    if parameters.get("kind") == "Edges":
        keys = {"n_layers": "layers", "elements": "species"}
        changes = {keys.get(name, name): value for name, value in parameters.items()}
        return write_described(folder, script, model_file, **changes)
    text = parameter_text(model_file=model_file, **parameters)
    return _write(folder, {"kim.param": text.encode(), model_file: script})


def write_described(folder, script, model_file="model.pt", **changes):
    """Write a model with a model.toml; see toml_text. A descriptor's file is in the key "descriptor"."""
    contents = {model_file: script}
    if descriptor := changes.pop("descriptor", None):
        contents["descriptor.dat"] = descriptor.encode()
    if "dtype" not in changes:
        changes["dtype"] = dtype_of(script)
    text = toml_text(script, model_file=model_file, **changes)
    return _write(folder, {"model.toml": text.encode(), **contents})


def _write(folder, contents):
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return list(contents)


def open_model(folder, script, model_file="model.pt", prepare=True, **parameters):
    """Open a model from a TorchScript file's content; see parameter_text, or toml_text for Edges, for the rest."""
    return _open(folder, write_files(folder, script, model_file, **parameters), prepare)


def open_described(folder, script, model_file="model.pt", prepare=True, **changes):
    """Open a model with a model.toml; see write_described."""
    return _open(folder, write_described(folder, script, model_file, **changes), prepare)


def _open(folder, names, prepare):
    model = open_by_driver(str(folder), names)
    if prepare:
        model.prepare()
    return model


def compute(model, configuration, outputs=ALL):
    """Compute into arrays that hold arbitrary numbers, as a simulator's may."""
    arrays = {name: np.full(SHAPES[name](len(configuration)), -7e77) for name in outputs}
    arguments = [configuration.coordinates, configuration.species_codes, configuration.contributing]
    before = [array.copy() for array in arguments]
    for array in arguments:
        array.setflags(write=False)
    model.compute(*arguments, configuration.neighbours(), arrays)
    for array, copy in zip(arguments, before, strict=True):
        np.testing.assert_array_equal(array, copy)
    return arrays


def assert_close(found, expected, tolerance=1e-12):
    """Compare two results of `compute`. Sums on a GPU come in any order, so they are never quite the same."""
    assert list(found) == list(expected)
    for name, array in found.items():
        np.testing.assert_allclose(array, expected[name], rtol=tolerance, atol=tolerance, err_msg=name)


def energy(model, configuration):
    """Return the partial energy, computed alone."""
    return compute(model, configuration, ["partialEnergy"])["partialEnergy"][0]


def slope(function, coordinates, step=1e-4):
    """Return -d function/d coordinates by central differences of fourth order."""
    result = np.zeros_like(coordinates)
    for place in np.ndindex(coordinates.shape):

        def at(multiple, place=place):
            moved = coordinates.copy()
            moved[place] += multiple * step
            return function(moved)

        result[place] = -(8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * step)
    return result
