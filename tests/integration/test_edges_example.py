# SPDX-License-Identifier: LGPL-2.1-or-later
"""The graph example as a model that is called with edge vectors: the same network, the same numbers."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from configurations import Configuration, of_atoms
from example_models import EDGES, GRAPH, silicon
from exported_models import EDGES_EXAMPLE, needs_export
from kim_collection import KimCollection
from kimpy_host import ENERGY, FORCES, PARTICLE_ENERGIES, PARTICLE_VIRIALS, VIRIAL, KimpyModel

from kim_torchml.model_files.toml_parser import tomllib

SHARED = (ENERGY, FORCES, PARTICLE_ENERGIES, VIRIAL)


def crystal() -> Configuration:
    return of_atoms(silicon(), 7.6)


def shuffled_crystal() -> Configuration:
    particles = crystal()
    return particles.reordered(np.random.default_rng(3).permutation(len(particles)))


def with_any_contributing() -> Configuration:
    particles = crystal()
    flags = np.random.default_rng(4).integers(0, 2, len(particles)).astype(np.int32)
    return Configuration(particles.coordinates, particles.codes, flags)


def beside_an_isolated_atom() -> Configuration:
    atoms = silicon()
    atoms.pbc = False
    return of_atoms(atoms + Atoms("Si", positions=[[60.0, 0.0, 0.0]]))


@pytest.mark.usefixtures("staged_edges")
@pytest.mark.usefixtures("examples")
@pytest.mark.parametrize("make", [crystal, shuffled_crystal, with_any_contributing, beside_an_isolated_atom])
def test_both_kinds_agree(make: Callable[[], Configuration]) -> None:
    particles = make()
    expected = KimpyModel(GRAPH).compute(particles, SHARED)
    found = KimpyModel(EDGES).compute(particles, SHARED)
    for ours, theirs in zip(found, expected, strict=True):
        assert np.abs(theirs).max() > 0.1
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12 * max(1.0, np.abs(theirs).max()))


@pytest.mark.usefixtures("examples")
@pytest.mark.parametrize("flag", [0, 1])
def test_one_atom(flag: int) -> None:
    """Its energy is that of an isolated atom, 0."""
    atom = Configuration(np.array([[1.0, 2.0, 3.0]]), np.zeros(1, dtype=np.int32), np.array([flag], dtype=np.int32))
    for values in KimpyModel(EDGES).compute(atom, (*SHARED, PARTICLE_VIRIALS)):
        assert (values == 0.0).all()


@pytest.fixture(scope="module")
def made(bare_collection: KimCollection, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the example's script writes its files into."""
    folder = tmp_path_factory.mktemp("made")
    done = bare_collection.run_python(EDGES_EXAMPLE / "make_model.py", "--output", folder, PYTHONHASHSEED="0")
    assert done.returncode == 0, done.stderr
    return folder


@needs_export
def test_the_script_makes_the_files_again(made: Path) -> None:
    """Another version of torch may write the same program in other words, and says so."""
    stated, written = (tomllib.loads((folder / "model.toml").read_text()) for folder in (EDGES_EXAMPLE, made))
    ours, theirs = (each.pop("made_with")["torch"] for each in (written, stated))
    if ours == theirs:
        assert written == stated
        assert (made / "model.pt2").read_bytes() == (EDGES_EXAMPLE / "model.pt2").read_bytes()
    else:
        digests = [each["model"].pop("sha256") for each in (written, stated)]
        assert digests[0] != digests[1]
        assert written == stated


def test_bonds_are_computed_once_for_all_layers_and_features_exchanged_between_them() -> None:
    with zipfile.ZipFile(EDGES_EXAMPLE / "model.pt2") as archive:
        program = json.loads(archive.read("model/models/model.json"))
    operators = [node["target"] for node in program["graph_module"]["graph"]["nodes"]]
    assert operators.count("torch.ops.aten.sin.default") == 1
    assert operators.count("torch.ops.aten.index_add.default") == 2
    assert operators.count("torch.ops.kim_torchml.exchange.default") == 1
