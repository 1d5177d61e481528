# SPDX-License-Identifier: LGPL-2.1-or-later
"""Models with a model.toml in KIM: limits, a store of model files, models that are written, and the profile."""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from configurations import Configuration, mixed
from kim_collection import KimCollection, PortableModel
from kimpy_host import ENERGY, FORCES, VIRIAL, KimpyModel
from tiny_models import CUTOFF, ELEMENTS, GraphModel2, scripted
from torch import Tensor, nn

LIMITED, STORED = "Described_Limited", "Described_Stored"
CLOSE = 0.9


class EdgesModel(nn.Module):
    """The energy of a row is a smooth function of its edges."""

    def __init__(self) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.tensor([0.3], dtype=torch.float64))

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        fade = (1.0 - edge_vectors.square().sum(1) / 9.0).clamp(min=0.0).pow(3)
        own = self.strength * (1.0 + species.to(edge_vectors.dtype))
        return torch.zeros_like(own).index_add(0, edge_index[0], fade * own[edge_index[1]])


def described(name: str, kind: str, module: nn.Module, tables: str, where: str = "folder") -> PortableModel:
    """Return a portable model with a model.toml; its model file is left out where it is in a store."""
    script = scripted(module)
    layers = 2 if kind == "graph" else 1
    text = (
        f'format = 2\n[model]\nfile = "model.pt"\nsha256 = "{hashlib.sha256(script).hexdigest()}"\nkind = "{kind}"\n'
        f'dtype = "float64"\nspecies = {json.dumps(list(ELEMENTS))}\nspecies_as = "codes"\ncutoff = {CUTOFF}\n'
        f'layers = {layers}\nenergy = "per particle"\nreturns_forces = false\nwhere = "{where}"\n{tables}'
    )
    files = {"model.toml": text.encode(), "model.pt": script}
    if where == "store":
        del files["model.pt"]
    return PortableModel(name, files)


@pytest.fixture(scope="module", autouse=True)
def models(install_models: Callable[[list[PortableModel]], None]) -> None:
    limits = f"[limits]\nsmallest_distance = {CLOSE}\nstop = true\n"
    parameters = '[parameters]\nstrength = "strength of all pairs"\n'
    install_models(
        [
            described(LIMITED, "graph", GraphModel2(), limits),
            described(STORED, "edges", EdgesModel(), parameters, where="store"),
        ]
    )


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of the stored model's file, which is in a store."""
    script = scripted(EdgesModel())
    path = tmp_path / "store" / f"{hashlib.sha256(script).hexdigest()}.model"
    path.parent.mkdir()
    path.write_bytes(script)
    monkeypatch.setenv("KIM_TORCHML_MODEL_PATH", f"{tmp_path / 'empty'}:{path.parent}")
    return path


def pair(distance: float) -> Configuration:
    codes, contributing = np.zeros(2, dtype=np.int32), np.array([1, 0], dtype=np.int32)
    return Configuration(np.array([[0.0, 0.0, 0.0], [distance, 0.0, 0.0]]), codes, contributing)


def lone() -> Configuration:
    return Configuration(np.zeros((1, 3)), np.zeros(1, dtype=np.int32), np.ones(1, dtype=np.int32))


def test_a_limit_is_that_of_the_configuration_of_this_compute(capfd: pytest.CaptureFixture[str]) -> None:
    """A lone particle has no neighbour lists, and those of the compute before are not its own."""
    model = KimpyModel(LIMITED)
    model.compute(pair(1.5))
    with pytest.raises(RuntimeError):
        model.compute(pair(0.5))
    printed = capfd.readouterr().err
    assert re.fullmatch(
        r"\[kim-torchml\] error: the distance of two particles must be at least 0\.9 Å, as `smallest_distance` says in "
        r"model\.toml of the model in model\.pt, got 0\.5 Å between particles 0 and 1 at compute 2; correct the "
        r"configuration, or the limits\n",
        printed,
    ), printed
    for particles in (lone(), pair(1.5), lone()):
        assert np.isfinite(model.compute(particles)[0]).all()


def test_a_model_in_a_store_that_is_missing(capfd: pytest.CaptureFixture[str], store: Path) -> None:
    store.unlink()
    with pytest.raises(RuntimeError):
        KimpyModel(STORED)
    printed = capfd.readouterr().err
    assert printed.startswith("[kim-torchml] error: the model file model.pt with the SHA-256 ")
    assert f"{store.parents[1] / 'empty'} (there is no such folder), {store.parent} (not there); install the" in printed


def test_a_model_from_a_store_is_written_as_a_whole(
    collection: KimCollection, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, outputs = KimpyModel(STORED), (ENERGY, FORCES, VIRIAL)
    names = [model.model.get_parameter_metadata(i)[2] for i in range(model.model.get_number_of_parameters())]
    assert names == ["n_elements", "strength"]
    before = model.compute(mixed(), outputs)
    model.model.set_parameter(1, 0, 0.4)
    model.model.clear_then_refresh()
    expected = model.compute(mixed(), outputs)
    assert expected[0][0] != before[0][0]
    written = f"Written_{STORED}"
    folder = tmp_path / written
    folder.mkdir()
    model.model.write_parameterized_model(str(folder), written)
    digest = hashlib.sha256((folder / "model.pt").read_bytes()).hexdigest()
    assert f'sha256 = "{digest}"' in (folder / "model.toml").read_text()
    store.unlink()
    monkeypatch.delenv("KIM_TORCHML_MODEL_PATH")
    collection.install(folder)
    try:
        for ours, theirs in zip(KimpyModel(written).compute(mixed(), outputs), expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    finally:
        collection.manage("remove", "--force", written)


_PROFILED = f"""
from configurations import mixed
from kimpy_host import KimpyModel
model = KimpyModel("{LIMITED}")
for _ in range(4):
    model.compute(mixed())
print("computed", flush=True)
"""


@pytest.mark.parametrize("switch", ["1", "0"])
def test_a_profile_is_printed_when_the_model_is_destroyed(bare_collection: KimCollection, switch: str) -> None:
    done = bare_collection.run_python("-c", _PROFILED, KIM_TORCHML_PROFILE=switch, KIM_TORCHML_QUIET="1")
    assert (done.returncode, done.stdout) == (0, "computed\n"), done.stderr
    if switch == "0":
        assert done.stderr == ""
        return
    first, *rows = done.stderr.splitlines()
    assert re.fullmatch(
        r"\[kim-torchml\] profile of the model model\.pt: the first compute took [\d.]+ ms; mean of the other 3:", first
    )
    numbers = [re.fullmatch(r"  (.*?) +(\d+)", row) for row in rows]
    assert [each[1] for each in numbers if each] == ["rows", "rows that contribute", "edges"]
    times = [row for row, number in zip(rows, numbers, strict=True) if number is None]
    sections = [re.fullmatch(r"  (.*?) +([\d.]+) ms.*", row).groups() for row in times]
    parts = {name: float(ms) for name, ms in sections}
    total = parts.pop("a step")
    assert list(parts) == [
        *("neighbour lists and edges", "model, forward", "model, gradient", "outputs", "rest of the driver"),
        "outside of the driver",
    ]
    assert all(ms > 0 for ms in parts.values())
    assert sum(parts.values()) == pytest.approx(total, abs=0.01)
