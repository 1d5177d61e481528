# SPDX-License-Identifier: LGPL-2.1-or-later
"""A replay is refused where the saved halo of non-contributing particles is too shallow for the model as it is now."""

from types import SimpleNamespace

import numpy as np
import pytest

from kim_torchml.driver import failure_file
from kim_torchml.errors import DriverError
from kim_torchml.tools.replay.failed_compute import read_failed_compute
from kim_torchml.tools.replay.replayed_compute import compute_again

TOO_SHALLOW = (
    r"^the configuration must have all particles within 11\.4 Å of contributing ones, as {model} needs them here, got "
    r"a file that was saved with 3\.8 Å; {remedy}$"
)


class CalledError(Exception):
    """The model was asked for something beyond its influence distance."""


class Model(SimpleNamespace):
    """What a refusal is decided by."""

    @property
    def species(self):
        raise CalledError


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(failure_file, "_saved", 0)
    monkeypatch.setenv("KIM_TORCHML_DUMP", str(tmp_path))
    monkeypatch.delenv("KIM_TORCHML_EDGES", raising=False)
    return tmp_path


def saved(folder, influence_distance=0.38, to_angstrom=10.0):
    """Return the file of a compute in nm that has failed."""
    given = (np.zeros((1, 3)), to_angstrom, np.zeros(1, np.int32), np.ones(1, np.int32), influence_distance)
    failure_file.save_failure("an error", "My_Model", "model.pt", {}, 1, ["partialEnergy"], ["Si"], *given)
    (path,) = folder.glob("*.xyz")
    return path


@pytest.mark.parametrize(
    ("then", "now", "model", "remedy"),
    [
        (
            None,
            "staged",
            "My_Model",
            "set KIM_TORCHML_EDGES=folded as then, or run the simulator again with the setting of now",
        ),
        (None, None, "My_Model", "replay it with the model as it was then, or run the simulator again"),
        ("Staged", "staged", "My_Model", "replay it with the model as it was then, or run the simulator again"),
        (None, "staged", "Other", "replay it with My_Model, which failed, or run the simulator with Other"),
    ],
)
def test_halo_that_is_too_shallow(folder, monkeypatch, then, now, model, remedy):
    if then:
        monkeypatch.setenv("KIM_TORCHML_EDGES", then)
    failed = read_failed_compute(saved(folder))
    if now:
        monkeypatch.setenv("KIM_TORCHML_EDGES", now)
    with pytest.raises(DriverError, match=TOO_SHALLOW.format(model=model, remedy=remedy)):
        compute_again(Model(name=model, influence_distance=11.4), failed)


def test_a_rank_that_exchanged_features(folder, monkeypatch):
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "1")
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    failed = read_failed_compute(saved(folder))
    assert failed.is_of_a_rank
    assert failed.facts["ranks"] == "2"
    remedy = (
        "its rank had what is farther away from others, and computes nothing without them: run the simulator again "
        "with KIM_TORCHML_EDGES=staged, and replay what that saves"
    )
    with pytest.raises(DriverError, match=TOO_SHALLOW.format(model="My_Model", remedy=remedy)):
        compute_again(Model(name="My_Model", influence_distance=11.4), failed)


@pytest.mark.parametrize("needed", [2.5, 3.8, 3.8 * (1.0 + 1e-12)])
def test_halo_that_is_deep_enough(folder, needed):
    failed = read_failed_compute(saved(folder))
    assert failed.influence_distance == pytest.approx(3.8, rel=1e-15)
    with pytest.raises(CalledError):
        compute_again(Model(name="My_Model", influence_distance=needed), failed)


def test_file_that_does_not_say_it(folder):
    path = saved(folder)
    path.write_text(path.read_text().replace("influence_distance=", "other="))
    failed = read_failed_compute(path)
    assert failed.influence_distance is None
    with pytest.raises(CalledError):
        compute_again(Model(name="My_Model", influence_distance=11.4), failed)


@pytest.mark.parametrize("text", ["deep", "-3.8", "nan", "inf", "0", "3.8 3.8"])
def test_influence_distance_that_cannot_be(folder, text):
    path = saved(folder)
    path.write_text(path.read_text().replace('influence_distance="3.8"', f'influence_distance="{text}"'))
    with pytest.raises(
        DriverError, match=r"^`influence_distance` in .*\.xyz must be a positive number, got '.*'; use a "
    ):
        read_failed_compute(path)
