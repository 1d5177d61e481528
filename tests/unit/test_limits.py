# SPDX-License-Identifier: LGPL-2.1-or-later
"""Limits that a model sets itself: beyond them comes one warning or, if the model says so, an error."""

import numpy as np
import pytest
import torch
from models import Edges1, Edges3, Graph2, PairTotal, script_bytes
from opening import compute, open_described
from particles import Configuration, cluster, interleaved
from torch import Tensor, nn

from kim_torchml.driver.limits import LimitCheck
from kim_torchml.errors import DriverError
from kim_torchml.model_files.description import Limits

DISTANCE = 0.95
# Of particles 0 and 2, 0.8 Å apart, only the first contributes.
CLOSE = Configuration([[0, 0, 0], [1.5, 0, 0], [0, 0.8, 0], [1.5, 1.5, 0]], [0] * 4, [1, 1, 0, 0])
WITHIN = Configuration([[0, 0, 0], [1.5, 0, 0], [0, 1.2, 0], [1.5, 1.5, 0]], [0] * 4, [1, 1, 0, 0])
DESCRIPTOR = "cos\n1\nSi Si 2.5\n1\ng2 1 2\n0.5 1.0\n"


class OfDescriptors(nn.Module):
    """Takes one number for each contributing particle."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def forward(self, descriptors: Tensor) -> Tensor:
        return self.layer(descriptors).sum(1)


MODELS = {
    "none": lambda: (script_bytes(PairTotal), {"energy": "total"}),
    "graph": lambda: (script_bytes(Graph2), {"layers": 2}),
    "edges": lambda: (script_bytes(Edges3), {"layers": 3}),
    "descriptor": lambda: (script_bytes(OfDescriptors), {"descriptor": DESCRIPTOR}),
}
KINDS = pytest.mark.parametrize("kind", MODELS)


@pytest.fixture
def limited(tmp_path, monkeypatch, talkative):
    """Return a function that opens a model of a kind with limits."""
    # The line about the first use is none of these tests' business.
    monkeypatch.setattr("kim_torchml.process.notices.announce_first_use", lambda *_: None)

    def function(kind, limits, name="folder"):
        script, changes = MODELS[kind]()
        tables = '[descriptor]\nname = "SymmetryFunctions"\nfile = "descriptor.dat"\n' if kind == "descriptor" else ""
        return open_described(tmp_path / name, script, kind=kind, tables=f"{tables}[limits]\n{limits}\n", **changes)

    return function


def run(model, configuration, step=1):
    """Compute as the shim does, and return the energy."""
    arrays = {"partialEnergy": np.zeros(1)}
    arguments = (configuration.coordinates, configuration.species_codes, configuration.contributing)
    model.compute(*arguments, configuration.neighbours(), arrays, step)
    return arrays["partialEnergy"][0]


def beyond_distance(step, pair="0 and 2"):
    return (
        f"the distance of two particles must be at least {DISTANCE} Å, as `smallest_distance` says in model.toml of "
        f"the model in model.pt, got 0.8 Å between particles {pair} at compute {step}"
    )


def beyond_neighbours(particle, count, step):
    return (
        "a particle must have at most 2 neighbours, as `most_neighbours` says in model.toml of the model in model.pt, "
        f"got {count} for particle {particle} at compute {step}"
    )


DOUBTFUL = "the model was not made for this, and its results are doubtful"


@KINDS
def test_one_warning(kind, limited, capfd):
    model = limited(kind, f"smallest_distance = {DISTANCE}")
    expected = run(limited(kind, "most_neighbours = 100", "another"), CLOSE)
    run(model, WITHIN, step=1)
    assert capfd.readouterr().err == ""
    for step in range(2, 5):
        assert run(model, CLOSE, step) == expected
    assert capfd.readouterr().err == f"[kim-torchml] warning: {beyond_distance(2)}; {DOUBTFUL}\n"


@KINDS
def test_a_configuration_that_is_an_error(kind, limited, capfd):
    model = limited(kind, f"smallest_distance = {DISTANCE}\nstop = true")
    assert run(model, WITHIN) != 0
    for step in (2, 3):
        with pytest.raises(DriverError) as raised:
            run(model, CLOSE, step)
        assert str(raised.value) == f"{beyond_distance(step)}; correct the configuration, or the limits"
    # It works again where the configuration is within the limits again.
    assert run(model, WITHIN, step=4) != 0
    assert capfd.readouterr().err == ""


@KINDS
def test_too_many_neighbours(kind, limited, capfd):
    """Particle 1 has three; of a model with one layer or none, nobody asks for the lists of particles 2 and 3."""
    points = [[1.0, 0, 0], [0, 0, 0], [0, 1.0, 0], [0, 0, 2.4]]
    configuration = Configuration(points, [0] * 4, [1, 1, 0, 0])
    model = limited(kind, "most_neighbours = 2\nstop = false")
    run(model, WITHIN.moved(WITHIN.coordinates * [1, 5, 1]))
    assert capfd.readouterr().err == ""
    run(model, configuration, step=7)
    assert capfd.readouterr().err == f"[kim-torchml] warning: {beyond_neighbours(1, 3, 7)}; {DOUBTFUL}\n"


def test_nothing_is_said_within_the_limits(limited, capfd):
    """The limits themselves are within."""
    model = limited("edges", "smallest_distance = 1.5\nmost_neighbours = 2")
    line = Configuration([[0, 0, 0], [1.5, 0, 0], [3.0, 0, 0]], [0] * 3, [1, 1, 1])
    for step in range(3):
        run(model, line, step)
    assert capfd.readouterr().err == ""


@KINDS
def test_both_limits_give_one_warning(kind, limited, capfd):
    model = limited(kind, f"smallest_distance = {DISTANCE}\nmost_neighbours = 2")
    for step in (1, 2):
        run(model, cluster(12, 2.4).moved(0.5 * cluster(12, 2.4).coordinates), step)
    (line,) = capfd.readouterr().err.splitlines()
    assert "the distance of two particles must be at least 0.95 Å" in line


@KINDS
def test_no_limits(kind, tmp_path, talkative, capfd):
    script, changes = MODELS[kind]()
    tables = '[descriptor]\nname = "SymmetryFunctions"\nfile = "descriptor.dat"\n' if kind == "descriptor" else ""
    model = open_described(tmp_path / "folder", script, kind=kind, tables=tables, **changes)
    capfd.readouterr()
    run(model, CLOSE)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("rank", [0, 1, 17])
def test_any_rank_says_what_is_true_of_it(rank, limited, monkeypatch, capfd):
    for name, value in (("RANK", rank), ("LOCAL_RANK", 1), ("LOCAL_SIZE", 2)):
        monkeypatch.setenv(f"OMPI_COMM_WORLD_{name}", str(value))
    model = limited("edges", f"smallest_distance = {DISTANCE}")
    run(model, CLOSE, step=3)
    assert capfd.readouterr().err == f"[kim-torchml rank {rank}] warning: {beyond_distance(3)}; {DOUBTFUL}\n"


def test_quiet_means_this_too_but_no_error(limited, monkeypatch, capfd):
    monkeypatch.setenv("KIM_TORCHML_QUIET", "1")
    run(limited("edges", f"smallest_distance = {DISTANCE}"), CLOSE)
    assert capfd.readouterr().err == ""
    with pytest.raises(DriverError, match=r"got 0\.8 Å between particles 0 and 2 at compute 1; correct the conf"):
        run(limited("edges", f"smallest_distance = {DISTANCE}\nstop = true", "another"), CLOSE)


def test_nothing_is_written_beyond_a_limit(limited):
    model = limited("edges", f"smallest_distance = {DISTANCE}\nstop = true")
    arrays = {"partialEnergy": np.full(1, 5.0), "partialForces": np.full((4, 3), 5.0)}
    with pytest.raises(DriverError, match="at compute 0"):
        model.compute(CLOSE.coordinates, CLOSE.species_codes, CLOSE.contributing, CLOSE.neighbours(), arrays)
    assert all((array == 5.0).all() for array in arrays.values())


def test_a_pair_that_no_contributing_particle_is_near_does_not_count(limited, capfd):
    """What this rank does not use, another one looks at."""
    points = [[0, 0, 0], [1.5, 0, 0], [9, 0, 0], [9.3, 0, 0]]
    run(limited("edges", f"smallest_distance = {DISTANCE}"), Configuration(points, [0] * 4, [1, 0, 0, 0]))
    assert capfd.readouterr().err == ""


def test_any_order_of_particles(limited, capfd):
    configuration = interleaved(CLOSE, seed=3)
    distances = np.linalg.norm(configuration.coordinates[:, None] - configuration.coordinates[None], axis=2)
    pair = np.argwhere(np.triu(distances < 0.9, 1))[0]
    run(limited("edges", f"smallest_distance = {DISTANCE}"), configuration)
    message = capfd.readouterr().err
    assert any(f"between particles {a} and {b} at" in message for a, b in (pair, pair[::-1]))


class Asked:
    """Neighbours that count how often they are asked."""

    def __init__(self):
        self.times = 0

    def closest_pair(self):
        self.times += 1
        return 0, 1, 0.5

    def most_neighbours(self):
        return 0, 1


def test_nobody_is_asked_where_nothing_can_follow(limited):
    model = limited("edges", "smallest_distance = 0.9")
    neighbours, said = Asked(), []
    check = LimitCheck(model.description, said.append)
    for step in range(5):
        check.check(neighbours, step)
    assert (neighbours.times, len(said)) == (1, 1)


def test_written_limits(limited, tmp_path):
    model = limited("edges", "most_neighbours = 8\nstop = true")
    (tmp_path / "written").mkdir()
    model.write(str(tmp_path / "written"))
    assert "[limits]\nmost_neighbours = 8\nstop = true\n" in (tmp_path / "written" / "model.toml").read_text()
    assert model.description.limits == Limits(0.0, 8, stop=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_lone_particle_is_within_all_limits(dtype, tmp_path, talkative, capfd):
    script = script_bytes(Edges1, dtype)
    tables = "[limits]\nsmallest_distance = 2.0\nmost_neighbours = 1\nstop = true\n"
    model = open_described(tmp_path / "folder", script, tables=tables)
    capfd.readouterr()
    assert compute(model, Configuration([[1, 2, 3]], [0], [1]))["partialEnergy"][0] == pytest.approx(1.1)
    assert capfd.readouterr().err == ""
