# SPDX-License-Identifier: LGPL-2.1-or-later
"""`kim-torchml verify` that is ended while it works: neither processes nor temporary folders stay behind."""

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from kim_collection import KimCollection
from verify_host import COMMAND


def wait_until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def mentioning(text: str) -> list[int]:
    """Return the processes whose command line holds a text; a worker's holds its temporary folder."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
        except OSError:
            # It has ended.
            continue
        if text.encode() in command:
            found.append(int(folder.name))
    return found


@pytest.mark.parametrize(
    ("number", "status", "line"),
    [
        (signal.SIGINT, 130, "kim-torchml: interrupted\n"),
        (signal.SIGTERM, 143, "kim-torchml: ended by SIGTERM\n"),
    ],
)
def test_nothing_is_left(
    bare_collection: KimCollection, reference: str, own_folder: Path, number: int, status: int, line: str
) -> None:
    temporary = own_folder / "temporary"
    temporary.mkdir()
    process = subprocess.Popen(
        [COMMAND, "verify", reference, "--json", "report.json"],
        env=bare_collection.environment | {"TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: mentioning(str(temporary)) != [])
    # Somewhere among the checks.
    time.sleep(2.0)
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (status, "", line)
    assert list(temporary.iterdir()) == []
    assert mentioning(str(temporary)) == []
    assert not (own_folder / "report.json").exists()
