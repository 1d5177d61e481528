# SPDX-License-Identifier: LGPL-2.1-or-later
"""The simulator's handlers of signals outlive the import of a torch that installs its own."""

import faulthandler
import signal
from pathlib import Path

import pytest
from fresh_python import run_python

from kim_torchml.process.signal_handlers import signal_handlers_kept

# It installs handlers in C, which Python's `signal` does not see.
TORCH = "import faulthandler\nfaulthandler.enable()\n"

HOST = """
    import sys
    from pathlib import Path
    from kim_torchml import driver
    from kim_torchml.errors import DriverError

    def caught():
        (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("SigCgt")]
        # The C library handles signals above 31 for its threads.
        return int(line.split()[1], 16) & 0x7FFFFFFF

    before = caught()
    try:
        driver.open_model("/nonexistent", ["model.pt"])
    except (DriverError, ImportError, AttributeError) as error:
        assert "torch" in str(error), error
    assert "faulthandler" in sys.modules
    assert caught() == before, (before, caught())
"""


@pytest.mark.parametrize("ending", ["", "raise ImportError('no such library')\n"], ids=["imported", "fails"])
def test_torch_that_installs_handlers(tmp_path, ending):
    (tmp_path / "torch.py").write_text(TORCH + ending)
    run_python(HOST, path=[tmp_path])


def caught_signals():
    """Return the signals that this process has a handler for, as Linux tells them."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("SigCgt")]
    mask = int(line.split()[1], 16)
    return {number for number in signal.valid_signals() if mask >> (number - 1) & 1}


@pytest.fixture
def no_fault_handlers():
    """Take pytest's own handlers of faults away for a test."""
    had_them = faulthandler.is_enabled()
    faulthandler.disable()
    yield
    if had_them:
        faulthandler.enable()


def test_new_handlers_are_taken_away(no_fault_handlers):
    before = caught_signals()
    with signal_handlers_kept():
        faulthandler.enable()
        assert caught_signals() > before
    assert caught_signals() == before
    faulthandler.disable()


def test_handlers_of_the_host_come_back(no_fault_handlers):
    received = []
    old = signal.signal(signal.SIGUSR1, lambda number, _: received.append(number))
    try:
        with signal_handlers_kept():
            faulthandler.register(signal.SIGUSR1, chain=False)
        signal.raise_signal(signal.SIGUSR1)
        assert received == [signal.SIGUSR1]
    finally:
        signal.signal(signal.SIGUSR1, old)
        faulthandler.unregister(signal.SIGUSR1)
