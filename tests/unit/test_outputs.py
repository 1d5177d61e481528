# SPDX-License-Identifier: LGPL-2.1-or-later
"""What models return: every shape that has a meaning is taken, and every other is an error that names it."""

import re

import numpy as np
import pytest
from misbehaving import (
    Detached,
    DetachedSometimes,
    EchoSpecies,
    Failing,
    FailingBackward,
    FourInputs,
    InverseDistance,
    NearestEight,
    OfSecondSpecies,
    Raising,
    RaisingManyLines,
    RelativeSpecies,
    Returning,
    ReturningAFloat,
    ReturningComplex,
    ReturningForces,
    ReturningForcesOfOneValue,
    ReturningThree,
    ShortRanged,
    ShortRangedOfAll,
    TotalSometimes,
)
from models import GRAPHS, PAIRS, GraphWithForces, PairTotal, PairTotalInBrackets, PairWithFlatForces, script_bytes
from opening import compute, energy
from particles import Configuration, cluster

from kim_torchml.errors import DriverError

ALWAYS = {"partialEnergy", "partialForces", "partialVirial"}
WITH_PARTICLE_ENERGIES = ALWAYS | {"partialParticleEnergy"}
PROBE = r" \(found by a probe with 5 particles, 3 of them contributing\)$"
APART = Configuration([[0, 0, 0], [9, 9, 9]], [0, 0], [1, 1])


@pytest.mark.parametrize("kind", PAIRS)
def test_what_a_pair_potential_supports(kind, opened):
    forces = kind.__name__.endswith("Forces")
    only_total = kind in (PairTotal, PairTotalInBrackets, PairWithFlatForces)
    model = opened(script_bytes(kind), returns_forces=forces, prepare=False)
    assert model.prepare() == (ALWAYS if only_total else WITH_PARTICLE_ENERGIES)


@pytest.mark.parametrize("n_layers", [1, 2, 3, 4])
def test_what_a_graph_model_supports(n_layers, opened):
    model = opened(script_bytes(GRAPHS[n_layers]), kind="Graph", n_layers=n_layers, prepare=False)
    assert model.prepare() == (ALWAYS if n_layers == 4 else WITH_PARTICLE_ENERGIES)


def test_a_graph_model_with_forces_and_a_total(opened):
    model = opened(script_bytes(GraphWithForces), kind="Graph", n_layers=2, returns_forces=True, prepare=False)
    assert model.prepare() == ALWAYS


@pytest.mark.parametrize("shape", [(1,), (), (1, 1), (1, 1, 1)])
def test_a_total_in_any_shape(shape, opened):
    model = opened(script_bytes(Returning, shape=shape), prepare=False)
    assert model.prepare() == ALWAYS
    # The shape means the total, as the probe found. Here it is the sum of six coordinates.
    assert energy(model, APART) == pytest.approx(27.0)


@pytest.mark.parametrize("shape", [(5,), (5, 1), (1, 5), (3,), (3, 1), (1, 1, 3)])
def test_particle_energies_in_any_shape(shape, opened):
    model = opened(script_bytes(Returning, shape=shape), prepare=False)
    assert model.prepare() == WITH_PARTICLE_ENERGIES


def test_a_complex_energy(opened):
    message = (
        r"^the energy of the model in model\.pt must be a dense tensor of real floating-point numbers, got one of "
        r"torch\.complex128, torch\.strided, on (cpu|cuda:0); convert it before returning it" + PROBE
    )
    with pytest.raises(DriverError, match=message):
        opened(script_bytes(ReturningComplex))


def test_a_reason_of_many_lines_is_on_one(opened):
    with pytest.raises(DriverError, match=r"first line last line \(File \"code/\S+\", line \d+, in forward\)"):
        opened(script_bytes(RaisingManyLines))


@pytest.mark.parametrize("shape", [(2,), (4,), (6,), (5, 3), (3, 3), (0,), (2, 2)])
def test_other_numbers_of_energies(shape, opened):
    message = (
        r"^the energy of the model in model\.pt must have 1, 5 \(particles\) or 3 \(contributing particles\) entries, "
        rf"got the shape {re.escape(str(list(shape)))}; return the total or one energy per particle" + PROBE
    )
    with pytest.raises(DriverError, match=message):
        opened(script_bytes(Returning, shape=shape))


@pytest.mark.parametrize(("shape", "meaning"), [((5,), "one per particle"), ((3,), "one per contributing particle")])
def test_the_number_of_energies_must_follow_the_particles(shape, meaning, opened):
    model = opened(script_bytes(Returning, shape=shape))
    message = (
        rf"^the energy of the model in model\.pt must have 2 entries \({meaning}\), got the shape \[{shape[0]}\] for 2 "
        "particles, 2 of them contributing$"
    )
    with pytest.raises(DriverError, match=message):
        compute(model, APART)


def test_an_energy_that_changes_its_meaning(opened):
    model = opened(script_bytes(TotalSometimes))
    with pytest.raises(
        DriverError, match=r"must have 7 entries \(one per particle\), got the shape \[\] for 7 particles"
    ):
        compute(model, cluster(7))


@pytest.mark.parametrize("shape", [(3, 3), (5, 2), (9,), (15, 1), (1, 15), (3, 5), ()])
def test_forces_of_a_wrong_shape(shape, opened):
    message = (
        r"^the forces of the model in model\.pt must have the shape \[5, 3\] or \[15\], got "
        rf"{re.escape(str(list(shape)))}; return the forces on all particles that the model was given" + PROBE
    )
    with pytest.raises(DriverError, match=message):
        opened(script_bytes(ReturningForces, shape=shape), returns_forces=True)


@pytest.mark.parametrize(
    ("kind", "arguments", "returns_forces", "found"),
    [
        (PairTotal, {}, True, r"a tensor of shape \[\]"),
        (ReturningForces, {"shape": (5, 3)}, False, r"2 values \(Tensor, Tensor\)"),
        (ReturningThree, {}, True, r"3 values \(Tensor, Tensor, Tensor\)"),
        (ReturningThree, {}, False, r"3 values \(Tensor, Tensor, Tensor\)"),
        (ReturningAFloat, {}, False, "a float"),
    ],
)
def test_other_things_returned(kind, arguments, returns_forces, found, opened):
    expected = r"a pair of tensors \(energy, forces\)" if returns_forces else "one tensor, the energy"
    message = (
        rf"^the model in model\.pt must return {expected}, as the parameter file says \(returns forces: "
        rf"{str(returns_forces).lower()}\), got {found}; correct that line or the model" + PROBE
    )
    with pytest.raises(DriverError, match=message):
        opened(script_bytes(kind, **arguments), returns_forces=returns_forces)


def test_a_model_with_another_number_of_inputs(opened):
    message = (
        r"^the model in model\.pt must take 5 inputs, as the parameter file says \(preprocessing None, number of "
        r"inputs 5\), but its forward takes 4; correct what that file says, or the model$"
    )
    with pytest.raises(DriverError, match=message):
        opened(script_bytes(FourInputs))


def test_a_graph_with_fewer_layers_than_the_model(opened):
    message = r"must take 5 inputs, as .* \(preprocessing Graph, number of inputs 5\), but its forward takes 6; correct"
    with pytest.raises(DriverError, match=message):
        opened(script_bytes(GRAPHS[3]), kind="Graph", n_layers=2)


@pytest.mark.parametrize(("kind", "text"), [(Raising, "this model is never content"), (Failing, "5x3 and 5x3")])
def test_a_model_that_fails(kind, text, opened):
    message = rf'^the model in model\.pt raised an error: .*{text}.*File "code/.*' + PROBE
    with pytest.raises(DriverError, match=message):
        opened(script_bytes(kind))


def test_a_model_whose_derivative_fails(opened):
    message = r"^the model in model\.pt raised an error: .*modified by an inplace operation.*" + PROBE
    with pytest.raises(DriverError, match=message):
        opened(script_bytes(FailingBackward))


def test_an_energy_without_a_derivative(opened, capfd, talkative):
    model = opened(script_bytes(Detached), prepare=False)
    assert model.prepare() == {"partialEnergy", "partialParticleEnergy"}
    _, warning = capfd.readouterr().err.splitlines()
    assert warning == (
        "[kim-torchml] warning: the energy of the model in model.pt does not depend on the coordinates through "
        "autograd, so it supports no forces; do not detach or convert coordinates in the model, or let it return the "
        "forces itself"
    )
    # Simulators create the arguments of a model several times.
    model.prepare()
    assert capfd.readouterr().err == ""
    assert energy(model, cluster()) != 0


def test_an_energy_that_loses_its_derivative_after_the_probe(opened):
    model = opened(script_bytes(DetachedSometimes))
    message = (
        r"^the energy of the model in model\.pt does not depend on the coordinates through autograd, so there are no "
        "forces; do not detach or convert coordinates in the model, or let it return the forces itself$"
    )
    with pytest.raises(DriverError, match=message):
        compute(model, cluster(), ["partialForces"])
    found = compute(model, Configuration(9.0 * np.arange(18).reshape(6, 3), [0] * 6, [1] * 6), ["partialForces"])
    np.testing.assert_array_equal(found["partialForces"], np.zeros((6, 3)))


def test_an_energy_whose_reach_is_shorter_than_the_cutoff_says(opened):
    """The particles of the first probe are out of the energy's reach."""
    model = opened(script_bytes(ShortRanged), prepare=False)
    assert model.prepare() == ALWAYS
    # These two are within the cutoff, 2.5, and out of the energy's reach.
    found = compute(model, Configuration([[0, 0, 0], [0, 0, 2.0]], [0, 0], [1, 1]), ["partialForces"])
    np.testing.assert_array_equal(found["partialForces"], np.zeros((2, 3)))


def test_an_energy_out_of_its_reach_beside_particles_that_do_not_contribute(opened):
    """The values that the model returns for those are no part of the energy."""
    model = opened(script_bytes(ShortRangedOfAll))
    found = compute(model, Configuration([[0, 0, 0], [0, 0, 2.0], [0, 2.0, 0]], [0] * 3, [1, 1, 0]))
    assert found["partialEnergy"].tolist() == [0.0]
    np.testing.assert_array_equal(found["partialForces"], np.zeros((3, 3)))


def test_a_model_that_needs_more_neighbours_than_the_first_probe_has(opened):
    """It is opened without an error, and fails in configurations that have fewer."""
    model = opened(script_bytes(NearestEight), prepare=False)
    assert model.prepare() == ALWAYS
    configuration = cluster(12)
    squares = np.sort(((configuration.coordinates[1:] - configuration.coordinates[0]) ** 2).sum(1))[:8]
    assert energy(model, configuration) == pytest.approx(squares.sum(), rel=1e-12)
    with pytest.raises(DriverError, match=r"^the model in model\.pt raised an error: .*out of range"):
        energy(model, cluster(6))


def test_an_energy_that_only_another_species_has(opened):
    model = opened(script_bytes(OfSecondSpecies), elements=("Si", "C"), prepare=False)
    assert model.prepare() == WITH_PARTICLE_ENERGIES
    found = compute(model, Configuration([[0, 0, 0], [0, 0, 2.0]], [0, 0], [1, 1]), ["partialForces"])
    np.testing.assert_array_equal(found["partialForces"], np.zeros((2, 3)))


HINT = "if it was trained on atomic numbers, set KIM_MODEL_ELEMENTS_MAP=1; otherwise "
ADVICE = "look for particles that are too close to each other, or for a division by zero in the model$"


@pytest.mark.parametrize(("factor", "found"), [(float("nan"), "NaN"), (float("inf"), "infinity")])
def test_an_energy_that_is_not_finite(factor, found, opened):
    model = opened(script_bytes(Returning, shape=(1,), factor=factor))
    message = rf"^the energy of the model in model\.pt must be finite, got {found}; {HINT}{ADVICE}"
    with pytest.raises(DriverError, match=message):
        compute(model, APART, ["partialEnergy"])


@pytest.mark.parametrize(("value", "found"), [(float("nan"), "NaN"), (float("inf"), "infinity")])
@pytest.mark.parametrize("flat", [False, True])
def test_forces_that_are_not_finite(flat, value, found, opened):
    model = opened(script_bytes(ReturningForcesOfOneValue, flat=flat, value=value), returns_forces=True)
    message = rf"^the forces of the model in model\.pt must be finite, got {found} for particle 0; {HINT}{ADVICE}"
    with pytest.raises(DriverError, match=message):
        compute(model, APART, ["partialForces"])


def test_the_particle_with_a_force_that_is_not_finite(opened):
    """Particles 1 and 3 are so close that 1/r^2 is finite, but not its derivative."""
    points = [[-1.0, 0, 0], [0, 0, 0], [0, 1.5, 0], [1e-110, 0, 0]]
    model = opened(script_bytes(InverseDistance))
    close = Configuration(points, [0] * 4, [0, 1, 0, 1])
    assert np.isfinite(energy(model, close))
    with pytest.raises(DriverError, match=r"^the forces of .* must be finite, got infinity for particle 1; "):
        compute(model, close)


def test_the_hint_at_atomic_numbers_is_given_only_where_it_may_help(opened, monkeypatch):
    model = opened(script_bytes(RelativeSpecies))
    with pytest.raises(DriverError, match=rf"got NaN; {HINT}{ADVICE}"):
        compute(model, APART)
    monkeypatch.setenv("KIM_MODEL_ELEMENTS_MAP", "1")
    model = opened(script_bytes(RelativeSpecies))
    assert energy(model, APART) == pytest.approx(27.0)
    with pytest.raises(DriverError, match=rf"must be finite, got NaN; {ADVICE}"):
        compute(opened(script_bytes(Returning, shape=(1,), factor=float("nan"))), APART)


@pytest.mark.parametrize(
    ("script", "parameters"),
    [
        (lambda: script_bytes(Returning, shape=(1,), factor=float("nan")), {}),
        (lambda: script_bytes(ReturningForcesOfOneValue, value=float("inf")), {"returns_forces": True}),
        (lambda: script_bytes(TotalSometimes), {}),
        (lambda: script_bytes(DetachedSometimes), {}),
    ],
)
def test_nothing_is_written_where_a_model_fails(script, parameters, opened):
    model = opened(script(), **parameters)
    configuration = cluster(7)
    arrays = {"partialEnergy": np.full(1, 5.0), "partialForces": np.full((7, 3), 5.0)}
    arguments = (configuration.coordinates, configuration.species_codes, configuration.contributing)
    with pytest.raises(DriverError):
        model.compute(*arguments, configuration.neighbours(), arrays)
    assert (arrays["partialEnergy"] == 5.0).all()
    assert (arrays["partialForces"] == 5.0).all()


def test_species_are_codes_unless_atomic_numbers_are_asked_for(opened, monkeypatch):
    configuration = Configuration(np.arange(9).reshape(3, 3) * 5, [2, 0, 1], [1, 1, 1])
    model = opened(script_bytes(EchoSpecies), elements=("Si", "C", "O"))
    assert compute(model, configuration)["partialParticleEnergy"].tolist() == [2, 0, 1]
    for value in ("", "0", "False", "no", "OFF"):
        monkeypatch.setenv("KIM_MODEL_ELEMENTS_MAP", value)
        model = opened(script_bytes(EchoSpecies), elements=("Si", "C", "O"))
        assert compute(model, configuration)["partialParticleEnergy"].tolist() == [2, 0, 1]
    # A word that is neither counts as on, as in the published driver.
    for value in ("1", "True", "yes", "on", " 1 ", "map.txt"):
        monkeypatch.setenv("KIM_MODEL_ELEMENTS_MAP", value)
        model = opened(script_bytes(EchoSpecies), elements=("Si", "C", "O"))
        assert compute(model, configuration)["partialParticleEnergy"].tolist() == [8, 14, 6]
