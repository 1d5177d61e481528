# SPDX-License-Identifier: LGPL-2.1-or-later
"""Models that count particles that do not contribute: their users are warned once, and they go on running."""

import pytest
import torch
from models import GRAPHS, PAIRS, PARAMETERS, MessagePassing, Pair, script_bytes
from opening import compute, open_model
from particles import cluster
from torch import Tensor

ADVICE = "the model must leave out particles that do not contribute, which the last argument of its forward tells"


class SumsAllRows(MessagePassing):
    """Returns the total energy of all rows; an isolated particle has an energy."""

    def forward(self, species: Tensor, coordinates: Tensor, edges_1: Tensor, mask: Tensor) -> Tensor:
        return self.energies(species, coordinates, [edges_1]).sum()


class SumsAllRowsOfSecondSpecies(MessagePassing):
    """Only the second species has an energy where it is alone, and the total counts all of its particles."""

    def forward(self, species: Tensor, coordinates: Tensor, edges_1: Tensor, mask: Tensor) -> Tensor:
        alone = (5.0 * (species == 1).to(coordinates.dtype)).sum()
        return self.energies(species, coordinates, [edges_1])[mask == 0].sum() + alone


class SumsBondsOfAllRows(MessagePassing):
    """An isolated particle has no energy: only bonds are counted, of whatever rows."""

    def forward(self, species: Tensor, coordinates: Tensor, edges_1: Tensor, mask: Tensor) -> Tensor:
        features = 1.0 + 0.0 * species.to(coordinates.dtype)
        return (self.layer(features, coordinates, edges_1) - features).square().sum()


class Random(Pair):
    """Gives another energy every time."""

    def forward(
        self, species: Tensor, coordinates: Tensor, n_neighbours: Tensor, neighbours: Tensor, contributing: Tensor
    ) -> Tensor:
        return self.site_energies(species, coordinates, n_neighbours, neighbours).sum() * torch.rand([]).to(
            torch.float64
        )


class FailsBesideOthers(Pair):
    """Cannot compute the configurations that only this probe has."""

    def forward(
        self, species: Tensor, coordinates: Tensor, n_neighbours: Tensor, neighbours: Tensor, contributing: Tensor
    ) -> Tensor:
        if coordinates.size(0) == 6:
            raise ValueError("six are too many")
        return self.site_energies(species, coordinates, n_neighbours, neighbours).sum()


class HasNoEnergyAlone(MessagePassing):
    """Counts the bonds of all rows, as a mean for each row, which is no number where a row has none."""

    def forward(self, species: Tensor, coordinates: Tensor, edges_1: Tensor, mask: Tensor) -> Tensor:
        features = 1.0 + 0.0 * species.to(coordinates.dtype)
        bonds = self.layer(features, coordinates, edges_1) - features
        return (bonds.square() / torch.bincount(edges_1[0], minlength=bonds.size(0))).sum()


class ReachesHalfAsFar(MessagePassing):
    """Counts the bonds of all rows, and has half the cutoff that its parameter file says."""

    def forward(self, species: Tensor, coordinates: Tensor, edges_1: Tensor, mask: Tensor) -> Tensor:
        r = (coordinates[edges_1[0]] - coordinates[edges_1[1]]).square().sum(1).sqrt()
        return torch.relu(0.5 * 2.5 - r).square().sum()


class LikesTheOtherSpecies(MessagePassing):
    """Counts the bonds of all rows between two species."""

    def forward(self, species: Tensor, coordinates: Tensor, edges_1: Tensor, mask: Tensor) -> Tensor:
        r = (coordinates[edges_1[0]] - coordinates[edges_1[1]]).square().sum(1).sqrt()
        return (torch.exp(-r) * (species[edges_1[0]] != species[edges_1[1]])).sum()


class SingleInside(Pair):
    """Takes and returns double precision, and computes large energies in single precision."""

    def forward(
        self, species: Tensor, coordinates: Tensor, n_neighbours: Tensor, neighbours: Tensor, contributing: Tensor
    ) -> Tensor:
        energies = self.site_energies(species, coordinates, n_neighbours, neighbours) - 123.4
        return energies.to(torch.float32).sum().to(torch.float64)


class ChangesLater(Pair):
    """Gives another energy from the fifth call on."""

    calls: int

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(
        self, species: Tensor, coordinates: Tensor, n_neighbours: Tensor, neighbours: Tensor, contributing: Tensor
    ) -> Tensor:
        self.calls += 1
        return self.site_energies(species, coordinates, n_neighbours, neighbours).sum() + float(self.calls > 5)


@pytest.fixture
def opened_aloud(tmp_path, talkative, capfd):
    """Return a function that opens a model twice, and returns it with the warnings that came."""

    def function(script, **parameters):
        open_model(tmp_path, script, **parameters)
        model = open_model(tmp_path, script, **parameters)
        return model, [line for line in capfd.readouterr().err.splitlines() if "warning" in line]

    return function


def test_a_model_that_fails_in_one_configuration_is_tried_in_the_other(opened_aloud):
    _, (warning,) = opened_aloud(script_bytes(HasNoEnergyAlone), kind="Graph")
    assert "is not the sum of what its particles contribute" in warning
    assert warning.endswith(ADVICE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_total_of_all_rows(dtype, opened_aloud):
    model, (warning,) = opened_aloud(script_bytes(SumsAllRows, dtype=dtype), kind="Graph")
    assert warning == (
        "[kim-torchml] warning: the energy of the model in model.pt changes by 1.1 eV where particles that do not "
        "contribute are added out of reach, so it gives wrong energies in periodic systems and on several ranks; "
        f"{ADVICE}"
    )
    assert compute(model, cluster(), ["partialEnergy"])["partialEnergy"][0] != 0


def test_a_species_that_is_counted(opened_aloud):
    _, (warning,) = opened_aloud(script_bytes(SumsAllRowsOfSecondSpecies), kind="Graph", elements=("Si", "C"))
    assert "changes by 5 eV where particles that do not contribute are added out of reach, so it" in warning


def test_bonds_of_particles_that_do_not_contribute(opened_aloud):
    _, (warning,) = opened_aloud(script_bytes(SumsBondsOfAllRows), kind="Graph")
    assert "the energy of the model in model.pt is not the sum of what its particles contribute: " in warning
    assert warning.endswith(ADVICE)


@pytest.mark.parametrize("kind", [ReachesHalfAsFar, LikesTheOtherSpecies])
def test_bonds_that_one_configuration_does_not_have(kind, opened_aloud):
    _, (warning,) = opened_aloud(script_bytes(kind), kind="Graph", elements=("Si", "C"), cutoff=2.5)
    assert "is not the sum of what its particles contribute: " in warning


@pytest.mark.parametrize("kind", [*PAIRS, *GRAPHS.values()], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_models_that_behave_well(kind, dtype, opened_aloud):
    elements = ("Si", "C", "O")
    assert opened_aloud(script_bytes(kind, dtype=dtype), elements=elements, **PARAMETERS[kind])[1] == []


@pytest.mark.parametrize("kind", [Random, FailsBesideOthers, SingleInside, ChangesLater])
def test_models_of_which_the_probe_tells_nothing(kind, opened_aloud):
    assert opened_aloud(script_bytes(kind))[1] == []
