# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a simulator does wrong through kimpy gives an error in one sentence, and the model works afterwards."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_models as tiny
from configurations import mixed
from kimpy_host import ENERGY, KimpyModel

pytestmark = pytest.mark.usefixtures("collection")

PREFIX = r"^\[kim-torchml\] error: "


def no_neighbours(*_) -> tuple[np.ndarray, int]:
    return np.zeros(0, dtype=np.int32), 0


def expect_failure(model: KimpyModel, message: str, capfd: pytest.CaptureFixture[str], *arguments, **options) -> None:
    """Compute, and check that stderr and KIM's log hold the message once and nothing else."""
    before = model.compute(mixed(), (ENERGY,))[0][0]
    capfd.readouterr()
    with pytest.raises(RuntimeError):
        model.compute(*arguments, **options)
    printed = capfd.readouterr()
    assert printed.out == ""
    assert re.fullmatch(PREFIX + message + "\n", printed.err), printed.err
    first_line = printed.err.removeprefix("[kim-torchml] error: ").splitlines()[0]
    assert Path("kim.log").read_text().count(first_line) == 1
    assert model.compute(mixed(), (ENERGY,))[0][0] == before


@pytest.mark.parametrize("name", [tiny.RAW, tiny.GRAPH_2])
@pytest.mark.parametrize("code", [-1, 2, 1000])
def test_species_code_outside_the_list(name: str, code: int, capfd: pytest.CaptureFixture[str]) -> None:
    particles = mixed()
    codes = particles.codes.copy()
    codes[7] = code
    message = rf"`particleSpeciesCodes` must be codes from 0 to 1, got {code} for particle 7; use .+"
    expect_failure(KimpyModel(name), message, capfd, replace(particles, codes=codes))


@pytest.mark.parametrize("name", [tiny.RAW, tiny.GRAPH_2])
@pytest.mark.parametrize(("value", "found"), [(np.inf, "inf"), (-np.inf, "-inf"), (np.nan, "nan")])
def test_coordinates_not_finite(name: str, value: float, found: str, capfd: pytest.CaptureFixture[str]) -> None:
    particles = mixed()
    for particle in (int(np.argmax(particles.contributing)), int(np.argmin(particles.contributing))):
        coordinates = particles.coordinates.copy()
        coordinates[particle, 1] = value
        blown_up = replace(particles, coordinates=coordinates)
        message = rf"`coordinates` must be finite, got -?{found} for particle {particle}; the simulation has .+"
        expect_failure(KimpyModel(name), message, capfd, blown_up, neighbours=no_neighbours)


@pytest.mark.parametrize("name", [tiny.RAW, tiny.GRAPH_2])
def test_neighbour_callback_that_fails(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    def fail(*_) -> tuple[np.ndarray, int]:
        return np.zeros(0, dtype=np.int32), 1

    message = r"the simulator failed to give the neighbour list of particle \d+"
    expect_failure(KimpyModel(name), message, capfd, mixed(), neighbours=fail)


def test_neighbour_callback_that_raises(capfd: pytest.CaptureFixture[str]) -> None:
    """The error of the host's own code keeps its type, and the traceback that its author needs."""

    def fail(*_) -> tuple[np.ndarray, int]:
        raise ValueError("no list today")

    message = r"ValueError: no list today\n(?s:.*)test_kimpy_errors\.py(?s:.*)"
    expect_failure(KimpyModel(tiny.GRAPH_2), message, capfd, mixed(), neighbours=fail)


@pytest.mark.parametrize("name", [tiny.RAW, tiny.GRAPH_2])
@pytest.mark.parametrize("other", [-1, 40])
def test_neighbour_that_is_not_there(name: str, other: int, capfd: pytest.CaptureFixture[str]) -> None:
    def name_stranger(*_) -> tuple[np.ndarray, int]:
        return np.array([other], dtype=np.int32), 0

    message = rf"the simulator's neighbour list of particle \d+ names particle {other}, but there are 40 particles"
    expect_failure(KimpyModel(name), message, capfd, mixed(), neighbours=name_stranger)


def test_negative_number_of_particles(capfd: pytest.CaptureFixture[str]) -> None:
    message = r"`numberOfParticles` must not be negative, got -3.*"
    expect_failure(KimpyModel(tiny.RAW), message, capfd, mixed(), neighbours=no_neighbours, claimed_n=-3)


def test_refresh_that_is_refused_leaves_the_model_working(capfd: pytest.CaptureFixture[str]) -> None:
    model = KimpyModel(tiny.GRAPH_2)
    before = model.compute(mixed())[0][0]
    assert model.model.get_number_of_parameters() == 2
    assert model.model.get_parameter_metadata(1)[2] == "cutoff"
    assert model.model.get_parameter_metadata(0)[2] == "n_elements"
    assert model.model.get_parameter_int(0, 0) == 2
    model.model.set_parameter(0, 0, 7)
    # kimpy does not pass the error on, so stderr is all that a user sees.
    model.model.clear_then_refresh()
    message = PREFIX + r"the parameter `n_elements` is read-only: it must be 2, got 7; all .+ set back\n"
    assert re.fullmatch(message, capfd.readouterr().err)
    assert model.model.get_parameter_int(0, 0) == 2
    assert model.cutoff == tiny.CUTOFF
    assert model.model.get_influence_distance() == 2 * tiny.CUTOFF
    assert model.compute(mixed())[0][0] == before
    model.model.clear_then_refresh()
    assert capfd.readouterr().err == ""
    assert model.compute(mixed())[0][0] == before


def test_parameter_changed_without_a_refresh_changes_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    model = KimpyModel(tiny.GRAPH_2)
    model.model.set_parameter(0, 0, 7)
    particles = mixed()
    message = r"`particleSpeciesCodes` must be codes from 0 to 1, got 5 for particle 0; use .+"
    expect_failure(model, message, capfd, replace(particles, codes=np.full(len(particles), 5, dtype=np.int32)))


def test_output_that_is_not_supported_cannot_be_asked_for() -> None:
    model = KimpyModel(tiny.RAW_TOTAL)
    with pytest.raises(RuntimeError):
        model.compute(mixed(), ("partialParticleEnergy",))
