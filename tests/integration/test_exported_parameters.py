# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs of torch.export through KIM: parameters, models that are written, files of failures, limits."""

import hashlib
import io
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import ase.io
import numpy as np
import pytest
import tiny_models as tiny
import torch
from ase import Atoms
from ase.neighborlist import neighbor_list
from configurations import Configuration, of_atoms
from exported_models import (
    CAN_EXPORT,
    EDGES_EXAMPLE,
    EXAMPLE,
    SINGLE,
    Twins,
    like_tiny,
    needs_export,
    saved,
    twin_models,
)
from kim_collection import KimCollection, PortableModel
from kimpy_host import ENERGY, FORCES, PARTICLE_ENERGIES, VIRIAL, KimpyModel
from replay_host import replay
from test_kim_parameters import names_of
from torch import Tensor, nn

from kim_torchml.model_files.toml_parser import tomllib

OUTPUTS = (ENERGY, FORCES, PARTICLE_ENERGIES, VIRIAL)
FAILING, LIMITED = "Exported_Failing", "Exported_Limited"
N_ROWS = 6
with_a_parameter = pytest.mark.parametrize(
    "twins", [pytest.param(EXAMPLE, id="example"), pytest.param(SINGLE, id="single", marks=needs_export)]
)


class FailingModel(nn.Module):
    """A sound model, until an atom has too many near neighbours for its table, or its strength is negative."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.linspace(0.1, 0.2, N_ROWS, dtype=torch.float64))
        self.strength = nn.Parameter(torch.tensor(1.5, dtype=torch.float64))

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        squares = edge_vectors.square().sum(1)
        zero = torch.zeros_like(squares).new_zeros(species.shape[0])
        near = zero.index_add(0, edge_index[0], (squares < 1.0).to(squares.dtype)).to(torch.int64)
        bonds = tiny.fade(squares, torch.tensor(tiny.CUTOFF, dtype=squares.dtype))
        return self.table.index_select(0, near) * zero.index_add(0, edge_index[0], bonds * self.strength.sqrt())


@pytest.fixture(scope="module", autouse=True)
def models(
    collection: KimCollection, examples: None, install_models: Callable[[list[PortableModel]], None]
) -> KimCollection:
    """The collection with the twins, a model that can fail and one with limits."""
    del examples
    made = twin_models()
    if CAN_EXPORT:
        described = {"strength": "strength of all bonds"}
        made.append(saved(FAILING, FailingModel(), "pt2", parameters=described, **like_tiny()))
        limits = {"smallest_distance": 0.9, "stop": True}
        made.append(saved(LIMITED, tiny.EdgesModel(), "pt2", limits=limits, **like_tiny()))
    install_models(made)
    return collection


def particles_of(twins: Twins) -> Configuration:
    return of_atoms(twins.atoms(), 9.0)


def change(model: KimpyModel, name: str, by: float, entry: int = 0) -> float:
    """Add a number to an entry of a KIM parameter; return its new value."""
    index = names_of(model).index(name)
    value = model.model.get_parameter_double(index, entry) + by
    model.model.set_parameter(index, entry, value)
    model.model.clear_then_refresh()
    return value


@with_a_parameter
def test_parameters_do_what_they_do_to_torchscript(twins: Twins) -> None:
    models = [KimpyModel(twins.exported), KimpyModel(twins.scripted)]
    metadata = [[each.model.get_parameter_metadata(i) for i in range(2)] for each in models]
    assert metadata[0] == metadata[1]
    assert names_of(models[0]) == ["n_elements", twins.parameter]
    particles = particles_of(twins)
    before = models[0].compute(particles, OUTPUTS)
    for entry, by in ((0, 0.25), (3, -0.5)):
        values = {change(each, twins.parameter, by, entry) for each in models}
        assert len(values) == 1
    found, expected = (each.compute(particles, OUTPUTS) for each in models)
    n = int(particles.contributing.sum())
    assert abs(found[0][0] - before[0][0]) > 0.1
    np.testing.assert_allclose(found[0], expected[0], rtol=twins.relative, atol=twins.per_atom * n)
    for ours, theirs in zip(found[1:], expected[1:], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=10 * twins.force * max(1.0, np.abs(theirs).max()))
    # Another model of the same file keeps its own.
    for ours, theirs in zip(KimpyModel(twins.exported).compute(particles, OUTPUTS), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_refused_value_is_set_back(capfd: pytest.CaptureFixture[str]) -> None:
    model, particles = KimpyModel(EXAMPLE.exported), particles_of(EXAMPLE)
    before = model.compute(particles, OUTPUTS)
    change(model, "initial", np.nan)
    message = (
        r"\[kim-torchml\] error: the parameter `initial` must be finite numbers that fit torch\.float64, got nan.+\n"
    )
    assert re.fullmatch(message, capfd.readouterr().err)
    for ours, theirs in zip(model.compute(particles, OUTPUTS), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@dataclass(frozen=True)
class Written:
    """A model whose parameter was changed, and what was written of it.

    Attributes:
        model: it.
        folder: the folder, whose model is installed.
        value: the new value of the parameter's first entry.
    """

    model: KimpyModel
    folder: Path
    value: float


@pytest.fixture
def written(models: KimCollection, tmp_path: Path) -> Iterator[Written]:
    model = KimpyModel(EXAMPLE.exported)
    value = change(model, "initial", 0.25)
    folder = tmp_path / "Written_Exported"
    folder.mkdir()
    model.model.write_parameterized_model(str(folder), folder.name)
    models.install(folder)
    yield Written(model, folder, value)
    models.manage("remove", "--force", folder.name)


def test_a_written_model_is_complete(written: Written) -> None:
    again = KimpyModel(written.folder.name)
    assert again.model.get_parameter_double(1, 0) == written.value
    particles = particles_of(EXAMPLE)
    for ours, theirs in zip(again.compute(particles, OUTPUTS), written.model.compute(particles, OUTPUTS), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    content, original = ((each / "model.pt2").read_bytes() for each in (written.folder, EDGES_EXAMPLE))
    stated, before = (tomllib.loads((each / "model.toml").read_text()) for each in (written.folder, EDGES_EXAMPLE))
    digests = [each["model"].pop("sha256") for each in (stated, before)]
    assert digests == [hashlib.sha256(each).hexdigest() for each in (content, original)]
    assert digests[0] != digests[1]
    assert {key: stated[key] for key in ("model", "parameters", "about")} == {
        key: before[key] for key in ("model", "parameters", "about")
    }
    with zipfile.ZipFile(io.BytesIO(content)) as ours, zipfile.ZipFile(io.BytesIO(original)) as theirs:
        assert ours.testzip() is None
        assert ours.namelist() == theirs.namelist()
        changed = [name for name in ours.namelist() if ours.read(name) != theirs.read(name)]
    assert len(changed) == 1
    assert re.fullmatch(r"\w+/data/weights/weight_\d+", changed[0])


@needs_export
def test_torchs_own_loader_reads_a_written_model(written: Written) -> None:
    """It is a file of ours, so that nothing of a stranger's is loaded here."""
    atoms: Atoms = EXAMPLE.atoms()
    first, second, vectors = neighbor_list("ijD", atoms, 3.8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.load(str(written.folder / "model.pt2"))
        module = program.module(check_guards=False)
    energies = module(
        torch.zeros(len(atoms), dtype=torch.int64),
        torch.from_numpy(np.array([first, second])),
        torch.from_numpy(vectors),
    )
    (found,) = KimpyModel(written.folder.name).compute(particles_of(EXAMPLE), (ENERGY,))
    assert found[0] == pytest.approx(float(energies.detach().sum()), rel=1e-12)


@pytest.fixture
def folder(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where failures are saved: not there yet."""
    monkeypatch.setenv("KIM_TORCHML_DUMP", str(own_folder / "failures"))
    # This process may have saved its share.
    monkeypatch.setattr("kim_torchml.driver.failure_file._saved", 0, raising=True)
    return own_folder / "failures"


def close_together(n: int) -> Configuration:
    """Return n atoms within 1 Å."""
    atoms = Atoms(f"Si{n}", positions=np.random.default_rng(1).random((n, 3)) * 0.5)
    return of_atoms(atoms)


@needs_export
@pytest.mark.parametrize(
    ("n", "strength", "message"),
    [
        (
            N_ROWS + 1,
            1.5,
            r"the model in model\.pt2 raised an error in aten\.index_select\.default: .*index.*; call it .+",
        ),
        (4, -1.5, r"the energy of the model in model\.pt2 must be finite, got NaN; .+"),
    ],
)
def test_a_failing_program_is_replayed(
    models: KimCollection, folder: Path, capfd: pytest.CaptureFixture[str], n: int, strength: float, message: str
) -> None:
    model = KimpyModel(FAILING)
    model.compute(close_together(4))
    if strength != 1.5:
        change(model, "strength", strength - 1.5)
    with pytest.raises(RuntimeError):
        model.compute(close_together(n))
    (line,) = capfd.readouterr().err.splitlines()
    match = re.fullmatch(r"\[kim-torchml\] error: (.+); the configuration was saved in (.+\.xyz), replay it .+", line)
    assert match is not None, line
    assert re.fullmatch(message, match[1]), match[1]
    path = Path(match[2])
    assert path.parent == folder
    np.testing.assert_array_equal(ase.io.read(path).positions, close_together(n).coordinates)
    done = replay(models, path, FAILING)
    assert done.returncode == 1
    assert done.stderr == f"[kim-torchml] error: {match[1]}\n"
    assert "the compute fails here too; the driver's line on stderr says why" in done.stdout


@needs_export
def test_limits(capfd: pytest.CaptureFixture[str]) -> None:
    model = KimpyModel(LIMITED)
    coordinates = np.array([[0.0, 0.0, 0.0], [1.5, 0.0, 0.0]])
    pair = Configuration(coordinates, np.zeros(2, dtype=np.int32), np.ones(2, dtype=np.int32))
    assert np.isfinite(model.compute(pair)[0]).all()
    with pytest.raises(RuntimeError):
        model.compute(pair.moved(1, 0, -1.0))
    printed = capfd.readouterr().err
    assert printed.startswith(
        "[kim-torchml] error: the distance of two particles must be at least 0.9 Å, as `smallest_distance` says in "
        "model.toml of the model in model.pt2, got 0.5 Å between particles 0 and 1 at compute 2; "
    )
