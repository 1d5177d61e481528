# SPDX-License-Identifier: LGPL-2.1-or-later
"""Check that a .pt2 file is refused."""

import pytest
from guards import bounded
from program_files import opened

from kim_torchml.errors import DriverError


def refused(content, message, seconds=10.0):
    """Check that a file is refused soon, in one sentence."""
    with bounded(seconds), pytest.raises(DriverError, match=message) as raised:
        opened(content)
    assert "x.pt2" in str(raised.value)
    assert len(str(raised.value)) < 700
    assert str(raised.value).isprintable()
