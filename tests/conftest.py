# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fixtures for all tests."""

import os
import signal
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request):
    """Return each device in turn."""
    if request.param == "cuda":
        if not torch.cuda.is_available():
            pytest.skip(f"torch {torch.__version__} sees no GPU here")
        return torch.device("cuda", 0)
    return torch.device(request.param)


@pytest.fixture(autouse=True, scope="session")
def interrupt_handler():
    """Handle Ctrl-C as usual: a shell lets its background jobs ignore it, and child processes inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


SHARED = Path(os.environ.get("KIM_TORCHML_SHARED", ROOT.parent / "shared"))


@pytest.fixture(scope="session")
def shared():
    """Return the folder of published models, and of the originals of the golden data."""
    if not SHARED.is_dir():
        pytest.skip(f"the published models are not at {SHARED} (KIM_TORCHML_SHARED names another place)")
    return SHARED


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter):
    """Say after the summary of pytest that tests need the published models; skipped GPU tests would hide it there."""
    yield
    if not SHARED.is_dir():
        terminalreporter.write_line(
            f"no test ran against published models: they are not at {SHARED} (KIM_TORCHML_SHARED)",
            yellow=True,
        )
