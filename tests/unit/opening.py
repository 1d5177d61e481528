# SPDX-License-Identifier: LGPL-2.1-or-later
"""Write a model folder, open it as the shim does, and compute with it."""

import numpy as np
from models import CUTOFF, TOTALS

from kim_torchml.driver import open_model as open_by_driver

INPUTS = {"None": 5, "Graph": 3, "Descriptor": 1}
SHAPES = {
    "partialEnergy": lambda n: (1,),
    "partialForces": lambda n: (n, 3),
    "partialParticleEnergy": lambda n: (n,),
    "partialVirial": lambda n: (6,),
    "partialParticleVirial": lambda n: (n, 6),
}

# Every model that gives energies by particle supports these outputs; only descriptors give virials by particle too.
ALL = [name for name in SHAPES if name != "partialParticleVirial"]


def outputs_of(kind):
    """Return KIM's names of the outputs that a model of models.py can give."""
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


def open_model(folder, script, model_file="model.pt", prepare=True, **parameters):
    """Open a model from a TorchScript file's content; see parameter_text for the rest."""
    folder.mkdir(exist_ok=True)
    (folder / model_file).write_bytes(script)
    (folder / "kim.param").write_text(parameter_text(model_file=model_file, **parameters))
    model = open_by_driver(str(folder), ["kim.param", model_file])
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
