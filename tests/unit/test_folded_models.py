# SPDX-License-Identifier: LGPL-2.1-or-later
"""Message-passing models with folded images, beside the same models in which every image is a row of its own."""

import re

import numpy as np
import pytest
import torch
from models import CUTOFF, PARAMETERS, Edges1, Edges3, Graph3, script_bytes
from opening import compute, open_model
from particles import cluster, interleaved, owner_of_image, spread, with_images

from kim_torchml.driver.edges_choice import chosen_inputs
from kim_torchml.errors import DriverError
from kim_torchml.inputs import ComputeMemory, Particles
from kim_torchml.process.communicator import FoundCommunicator
from kim_torchml.process.rank import Rank

EVERYTHING = [
    "partialEnergy",
    "partialForces",
    "partialParticleEnergy",
    "partialVirial",
    "partialParticleVirial",
]
SPECIES = ("Si", "C", "O")
CELL = np.array([3.8, 4.2, 4.6])
ALL_ALONG, ALONG_X = (True, True, True), (True, False, False)
LAYERS = PARAMETERS[Edges3]["n_layers"]
# The slack is the skin of a simulator's list: images that no edge needs.
SKIN = 0.4


@pytest.fixture
def open_with(opened, monkeypatch):
    """Return a function that opens a model with a word for KIM_TORCHML_EDGES."""

    def function(word, kind=Edges3):
        monkeypatch.setenv("KIM_TORCHML_EDGES", word)
        return opened(script_bytes(kind), elements=SPECIES, **PARAMETERS[kind])

    return function


def cell_of(n, layers, periodic):
    return with_images(spread(n, 3.4, seed=4), CELL, layers * CUTOFF + SKIN, periodic, n_species=3)


def by_owner(configuration, outputs, owners):
    """Return outputs with what images got added to their owners, as simulators do it."""
    found = dict(outputs)
    for name in ("partialForces", "partialParticleEnergy", "partialParticleVirial"):
        summed = np.zeros((owners.max() + 1, *outputs[name].shape[1:]))
        np.add.at(summed, owners, outputs[name])
        found[name] = summed
    return found


@pytest.mark.parametrize("kind", [Edges3, Edges1])
@pytest.mark.parametrize("periodic", [ALL_ALONG, (True, True, False), ALONG_X], ids=["bulk", "slab", "wire"])
@pytest.mark.parametrize("n", [1, 2, 3, 9])
def test_folding_changes_nothing(n, periodic, kind, open_with):
    results = []
    for word, layers in (("folded", 1), ("staged", PARAMETERS[kind]["n_layers"])):
        configuration = cell_of(n, layers, periodic)
        outputs = compute(open_with(word, kind), configuration, EVERYTHING)
        owners = owner_of_image(configuration.coordinates[:n], configuration, np.where(periodic, CELL, 1e6))
        results.append(by_owner(configuration, outputs, owners))
    for name in EVERYTHING:
        np.testing.assert_allclose(results[0][name], results[1][name], rtol=1e-12, atol=1e-12, err_msg=name)
    # An atom's own images are beyond the cutoff.
    assert n == 1 or np.abs(results[0]["partialVirial"]).max() > 1e-3


def test_forces_act_on_images(open_with):
    """Simulators build the pressure from what acts on images: none of it may be given to their owners."""
    configuration = cell_of(9, 1, ALL_ALONG)
    found = compute(open_with("folded"), configuration, EVERYTHING)
    images = configuration.contributing == 0
    assert (np.abs(found["partialForces"][images]).max(axis=1) > 1e-6).sum() > 10
    tensor = -found["partialForces"].T @ configuration.coordinates
    expected = tensor[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    np.testing.assert_allclose(found["partialVirial"], expected, rtol=1e-9, atol=1e-10)


def test_a_cluster_has_nothing_to_fold(open_with):
    configuration = cluster(14, 3.6, n_species=3)
    found, expected = (compute(open_with(word), configuration, EVERYTHING) for word in ("folded", "staged"))
    for name in EVERYTHING:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-13, atol=1e-13, err_msg=name)


def test_interleaved_lists(open_with):
    configuration = cell_of(9, 1, ALL_ALONG)
    expected = compute(open_with("folded"), configuration, EVERYTHING)
    order = np.random.default_rng(3).permutation(len(configuration))
    found = compute(open_with("folded"), configuration.in_order(order), EVERYTHING)
    for name in ("partialEnergy", "partialVirial"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-12, atol=1e-12)
    for name in ("partialForces", "partialParticleEnergy", "partialParticleVirial"):
        np.testing.assert_allclose(found[name], expected[name][order], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("word", "layers", "asks"), [("auto", 1, False), ("folded", 1, False), (" Staged ", LAYERS, True)]
)
def test_how_far_the_halo_must_reach(word, layers, asks, open_with):
    model = open_with(word)
    assert model.influence_distance == pytest.approx(layers * CUTOFF)
    assert model.needs_noncontributing_neighbours is asks


@pytest.mark.parametrize(("word", "kind"), [("folded", Edges1), ("folded", Graph3), ("auto", Graph3)])
def test_what_has_nothing_to_fold_is_as_it_was(word, kind, open_with):
    model, staged = open_with(word, kind), open_with("staged", kind)
    assert model.influence_distance == staged.influence_distance
    configuration = interleaved(cluster(20, 4.4, n_contributing=7, n_species=3))
    found, expected = (compute(each, configuration, EVERYTHING[:3]) for each in (model, staged))
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


def test_one_layer_has_a_row_for_each_contributing_particle(open_with):
    configuration = cell_of(9, 1, ALL_ALONG)
    rows = {}
    for word in ("auto", "staged"):
        model = open_with(word, Edges1)
        particles = Particles(
            configuration.coordinates, configuration.species_codes, configuration.contributing.astype(bool),
            configuration.neighbours(),
        )  # fmt: skip
        rows[word] = model._inputs.build(particles, torch.float64, torch.device("cpu")).n_rows
    assert rows["auto"] == 9
    assert rows["staged"] > 9


def test_one_layer_looks_for_owners_once_where_there_are_none(open_with):
    model, configuration = open_with("auto", Edges1), cluster(20, 4.4, n_contributing=7, n_species=3)
    memory = model.new_memory()
    expected = compute(open_with("staged", Edges1), configuration, ["partialEnergy"])["partialEnergy"]
    for _ in range(3):
        np.testing.assert_array_equal(compute_with(model, configuration, memory), expected)
    assert memory.folding.is_given_up
    assert memory.folding.n_inferred == 1


def test_a_particle_that_is_no_image(open_with):
    configuration = cluster(20, 4.4, n_contributing=7, n_species=3)
    with pytest.raises(DriverError, match=r"^particle \d+ at \(.*\) Å must be .*KIM_TORCHML_EDGES=staged"):
        compute(open_with("auto"), configuration, EVERYTHING)


def test_a_word_that_there_is_not(open_with):
    expected = "KIM_TORCHML_EDGES must be auto, staged, folded or exchange, got 'unfolded'; correct or unset it"
    with pytest.raises(DriverError, match=expected):
        open_with("unfolded")


def test_several_ranks(open_with, monkeypatch):
    for name, value in {"RANK": "1", "LOCAL_RANK": "0", "LOCAL_SIZE": "1", "SIZE": "2"}.items():
        monkeypatch.setenv(f"OMPI_COMM_WORLD_{name}", value)
    assert open_with("auto").influence_distance == pytest.approx(LAYERS * CUTOFF)
    expected = (
        "KIM_TORCHML_EDGES must be auto, exchange or staged where several processes share the system, got 'folded' in"
    )
    with pytest.raises(DriverError, match=expected):
        open_with("folded")
    # With one layer nothing is refused.
    assert open_with("folded", Edges1).influence_distance == pytest.approx(CUTOFF)


def test_the_builder_of_the_files_stays_as_it_is(open_with):
    model = open_with("staged")
    folded = chosen_inputs_of(model, "auto")
    assert folded.is_folded
    assert not model._inputs.is_folded


def chosen_inputs_of(model, word, size=1):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KIM_TORCHML_EDGES", word)
        return chosen_inputs(model._opened.inputs, Rank(None, 0, 1, size), FoundCommunicator(None), 0).kind


@pytest.mark.parametrize(("word", "way"), [("auto", f"{LAYERS} layers folded"), ("staged", f"{LAYERS} layers staged")])
def test_the_line_about_the_first_use_says_which(word, way, tmp_path, monkeypatch, talkative, capfd):
    monkeypatch.setenv("KIM_TORCHML_EDGES", word)
    model = open_model(tmp_path, script_bytes(Edges3), elements=SPECIES, **PARAMETERS[Edges3])
    model.prepare()
    line = capfd.readouterr().err
    assert re.search(rf"model model\.pt \(Edges, {way}\), device cpu", line), line


def compute_with(model, configuration, memory):
    """Return the energy, computed with the memory of compute arguments."""
    outputs = {"partialEnergy": np.zeros(1)}
    arrays = (configuration.coordinates, configuration.species_codes, configuration.contributing)
    model.compute(*arrays, configuration.neighbours(), outputs, memory=memory)
    return outputs["partialEnergy"]


def test_owners_are_inferred_once(open_with):
    model, configuration = open_with("folded"), cell_of(3, 1, ALL_ALONG)
    memory = model.new_memory()
    assert isinstance(memory, ComputeMemory)
    owners = owner_of_image(configuration.coordinates[:3], configuration, CELL)
    for step in range(4):
        moved = 0.01 * np.sin(np.arange(9).reshape(3, 3) + step)
        now = configuration.moved(configuration.coordinates + moved[owners])
        expected = compute(open_with("folded"), now, ["partialEnergy"])
        np.testing.assert_allclose(compute_with(model, now, memory), expected["partialEnergy"], rtol=1e-13)
    assert memory.folding.n_inferred == 1


def test_an_image_of_the_skin_that_comes_within_the_cutoff(open_with):
    """No edge goes across one face at first, so that its images have no row; then one does, in the same list."""
    cell = np.array([3.8, 4.2, 1.5 + CUTOFF + 0.2])
    points = np.array([[0.1, 0.2, 0.0], [0.3, 0.1, 1.5]])
    model = open_with("folded")
    memory = model.new_memory()
    listed = with_images(points, cell, CUTOFF + SKIN, n_species=3)
    owners = owner_of_image(points, listed, cell)
    for rise, n_inferred in ((0.0, 1), (0.1, 1), (0.5, 2), (0.55, 2)):
        lifted = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, rise]])
        now = listed.moved(listed.coordinates + lifted[owners])
        deep = with_images(points + lifted, cell, LAYERS * CUTOFF + SKIN, n_species=3)
        expected = compute(open_with("staged"), deep, ["partialEnergy"])
        np.testing.assert_allclose(compute_with(model, now, memory), expected["partialEnergy"], rtol=1e-12)
        assert memory.folding.n_inferred == n_inferred


def test_lists_that_change_within_a_compute(open_with, monkeypatch):
    model, configuration = open_with("folded"), cell_of(3, 1, ALL_ALONG)
    lists = type(configuration.neighbours())
    monkeypatch.setattr(lists, "folded_edges", lambda *_: None)
    expected = r"neighbour lists must stay as they are during one compute, got others; let no other thread change them"
    with pytest.raises(DriverError, match=expected):
        compute_with(model, configuration, model.new_memory())


def test_atoms_outside_the_cell(tmp_path, monkeypatch, talkative, capfd):
    """ASE's padding lacks images where atoms are cells away from the others: once a word about it."""
    monkeypatch.setenv("KIM_TORCHML_EDGES", "auto")
    monkeypatch.setattr("kim_torchml.process.notices.announce_first_use", lambda *_: None)
    model = open_model(tmp_path, script_bytes(Edges3), elements=SPECIES, **PARAMETERS[Edges3])
    points = spread(24, 5.0, seed=5, closest=1.0)
    cell = np.full(3, 5.6)
    whole = with_images(points, cell, CUTOFF + SKIN, n_species=3)
    memory = model.new_memory()
    compute_with(model, whole, memory)
    assert capfd.readouterr().err == ""
    # One atom is three cells away, where the list has nothing: it has no neighbours, nor is it theirs.
    owners = owner_of_image(points, whole, cell)
    apart = whole.moved(whole.coordinates + np.where(owners[:, None] == 7, [3 * 5.6, 0, 0], 0))
    kept = ~((owners == 7) & (whole.contributing == 0))
    for _ in range(2):
        compute_with(model, apart.in_order(np.flatnonzero(kept)), memory)
    line = capfd.readouterr().err
    assert line.count("\n") == 1
    assert "warning: the simulator's list of particles lacks the image of particle" in line
    assert line.endswith("move the atoms into the cell (in ASE, atoms.wrap())\n")
