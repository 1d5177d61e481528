# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fixtures for the unit tests: an environment that is the same everywhere, and no stray output."""

import os

import pytest
import torch
from fake_machine import FakeMachine
from opening import open_model

from kim_torchml.engines.exported.compiled.cache import Cache
from kim_torchml.process import notices

# The variables that users, launchers and schedulers set begin with these.
_PREFIXES = ("KIM_", "OMPI_", "MV2_", "PMI_", "MPI_", "PALS_", "SLURM_", "OMP_", "CUDA_VISIBLE")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    """Remove the machine's own variables, so that none of them changes what a test sees."""
    for name in [name for name in os.environ if name.startswith(_PREFIXES) and name != "KIM_TORCHML_SHARED"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KIM_TORCHML_QUIET", "1")
    # The user's own cache may have a test's program, and compiling takes a minute.
    monkeypatch.setenv("KIM_TORCHML_COMPILE", "never")
    # Most configurations are not periodic: their particles that do not contribute are no images.
    monkeypatch.setenv("KIM_TORCHML_EDGES", "staged")


@pytest.fixture(autouse=True)
def no_stray_output(capfd):
    """Check that a test writes nothing to stdout, which is the simulator's, not even from compiled code."""
    yield
    assert capfd.readouterr().out == ""


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Let torch use one thread: the models here are too small for more."""
    torch.set_num_threads(1)


@pytest.fixture
def fake(tmp_path):
    """Return a machine for the doctor, with nothing on it."""
    return FakeMachine(tmp_path)


@pytest.fixture
def cache(tmp_path):
    """Return a cache of compiled programs in a folder that is not there yet."""
    return Cache(tmp_path / "cache")


@pytest.fixture
def talkative(monkeypatch):
    """Make this a process that has said nothing yet, and that may."""
    monkeypatch.setattr(notices, "_said", set())
    monkeypatch.delenv("KIM_TORCHML_QUIET")


@pytest.fixture
def opened(tmp_path, monkeypatch, device):
    """Return a function that opens a model on each device in turn; it takes the arguments of `open_model`."""
    monkeypatch.setenv("KIM_MODEL_EXECUTION_DEVICE", str(device))

    def function(script, **parameters):
        return open_model(tmp_path, script, **parameters)

    return function
