# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fixtures for the unit tests: an environment that is the same everywhere, and no stray output."""

import os

import pytest
import torch
from fake_machine import FakeMachine
from opening import open_model

# What users, launchers and schedulers set.
_PREFIXES = ("KIM_", "OMPI_", "MV2_", "PMI_", "MPI_", "PALS_", "SLURM_", "OMP_", "CUDA_VISIBLE")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    """No variable of the machine's own decides what a test sees."""
    for name in [name for name in os.environ if name.startswith(_PREFIXES) and name != "KIM_TORCHML_SHARED"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KIM_TORCHML_QUIET", "1")


@pytest.fixture(autouse=True)
def no_stray_output(capfd):
    """The driver must leave a simulator's stdout alone, also below Python."""
    yield
    assert capfd.readouterr().out == ""


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """The models here are too small for more."""
    torch.set_num_threads(1)


@pytest.fixture
def fake(tmp_path):
    """A machine for the doctor, with nothing on it."""
    return FakeMachine(tmp_path)


@pytest.fixture
def opened(tmp_path, monkeypatch, device):
    """A function that opens a model on each device in turn; arguments as those of `open_model`."""
    monkeypatch.setenv("KIM_MODEL_EXECUTION_DEVICE", str(device))

    def function(script, **parameters):
        return open_model(tmp_path, script, **parameters)

    return function
