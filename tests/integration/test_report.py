# SPDX-License-Identifier: LGPL-2.1-or-later
"""How the shim reports failures and ends a process: lines in one piece, ranks, and what the host has printed."""

import os
import sysconfig
import time
from pathlib import Path

import pytest
from shim_parts import ShimParts

pytestmark = pytest.mark.every_system

WAITING = "; if the other ranks go on, they wait for this one for ever"
EXIT = {"KIM_TORCHML_ON_ERROR": "exit"}
ENDED = "[kim-torchml] error: no; this process ends, as KIM_TORCHML_ON_ERROR asks\n"

# What each launcher sets for rank 1 of 4, as its documentation says: its name, rank, node-local rank, size.
LAUNCHED = {
    "Open MPI": "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_LOCAL_RANK=1 OMPI_COMM_WORLD_SIZE=4",
    "MVAPICH": "MV2_COMM_WORLD_RANK=1 MV2_COMM_WORLD_LOCAL_RANK=1 MV2_COMM_WORLD_SIZE=4",
    "MPICH, Hydra, Intel MPI": "PMI_RANK=1 MPI_LOCALRANKID=1 PMI_SIZE=4",
    "PALS": "PALS_RANKID=1 PALS_LOCAL_RANKID=1 PMI_SIZE=4",
    "srun": "SLURM_PROCID=1 SLURM_LOCALID=1 SLURM_NTASKS=4 SLURM_STEP_NUM_TASKS=4 SLURM_STEP_TASKS_PER_NODE=4",
}
# The job has four tasks, and the script runs one program directly.
IN_BATCH_SCRIPT = "SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NTASKS=4 SLURM_NPROCS=4 SLURM_TASKS_PER_NODE=4"


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> ShimParts:
    return ShimParts.build(tmp_path_factory.mktemp("parts"), sysconfig.get_python_version())


def variables(text: str) -> dict[str, str]:
    return dict(setting.split("=") for setting in text.split())


@pytest.mark.parametrize("launcher", LAUNCHED)
def test_one_rank_of_several(parts: ShimParts, launcher: str) -> None:
    done = parts.run("held.fail(b'no', b'')", **variables(LAUNCHED[launcher]))
    assert done.stderr.startswith(f"[kim-torchml rank 1] error: no{WAITING}")


@pytest.mark.parametrize("launcher", LAUNCHED)
def test_the_only_rank(parts: ShimParts, launcher: str) -> None:
    only = variables(LAUNCHED[launcher].replace("=1", "=0").replace("=4", "=1"))
    done = parts.run("held.fail(b'no', b'')", **only)
    assert done.stderr == "[kim-torchml rank 0] error: no\n"


def test_one_process_in_a_batch_script(parts: ShimParts) -> None:
    """Nothing waits for it: the number of tasks is that of the job."""
    done = parts.run("held.fail(b'no', b'')", **variables(IN_BATCH_SCRIPT))
    assert done.stderr == "[kim-torchml rank 0] error: no\n"


def test_a_step_of_one_task_in_a_larger_job(parts: ShimParts) -> None:
    step = {"SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_TASKS_PER_NODE": "1"}
    done = parts.run("held.fail(b'no', b'')", **variables(IN_BATCH_SCRIPT), **step)
    assert done.stderr == "[kim-torchml rank 0] error: no\n"


def packets_on_stderr(parts: ShimParts, script: str, **variables: str) -> list[str]:
    """Return what each write(2) on stderr wrote: in this mode a pipe keeps them apart, up to 4096 bytes."""
    read, write = os.pipe2(os.O_DIRECT)
    try:
        assert parts.run(script, stderr=write, **variables).returncode == 0
    finally:
        os.close(write)
    with os.fdopen(read, "rb", buffering=0) as pipe:
        return [packet.decode() for packet in iter(lambda: pipe.read(65536), b"")]


def test_each_line_is_one_write(parts: ShimParts) -> None:
    """Its newline included, so that lines of several ranks do not mix."""
    long = "x" * 3000
    script = f"held.say(b'one'); held.say(b'{long}'); held.fail(b'no', b'second')"
    assert packets_on_stderr(parts, script, **variables("PMI_RANK=1 MPI_LOCALRANKID=1")) == [
        "[kim-torchml rank 1] error: one\n",
        f"[kim-torchml rank 1] error: {long}\n",
        "[kim-torchml rank 1] error: no\n",
        "[kim-torchml rank 1] error: second\n",
    ]


def run_into_file(parts: ShimParts, folder: Path, script: str) -> tuple[int, str, str]:
    """Run a script that fails and is to end; return its status, what was written to stdout, and stderr."""
    with (folder / "stdout").open("w") as stdout:
        done = parts.run(script, stdout=stdout.fileno(), **EXIT)
    return done.returncode, (folder / "stdout").read_text(), done.stderr


@pytest.mark.parametrize("call", ["held", "released"])
def test_what_a_host_has_printed_is_written(parts: ShimParts, own_folder: Path, call: str) -> None:
    """Its stdout is a file, so Python writes what is printed only in large pieces."""
    script = f"print('before'); {call}.fail(b'no', b''); print('after')"
    assert run_into_file(parts, own_folder, script) == (1, "before\n", ENDED)


def test_both_streams_are_flushed_whatever_they_are(parts: ShimParts, own_folder: Path) -> None:
    script = """
class Broken:
    def flush(self):
        raise SystemExit(7)

sys.stdout, sys.stderr = Broken(), open("errors", "w")
print("before", file=sys.stderr, end="")
held.fail(b"no", b"")
"""
    assert run_into_file(parts, own_folder, script) == (1, "", ENDED)
    assert Path("errors").read_text() == "before"


def test_no_streams(parts: ShimParts, own_folder: Path) -> None:
    script = "sys.stdout = None; del sys.stderr; held.fail(b'no', b'')"
    assert run_into_file(parts, own_folder, script) == (1, "", ENDED)


def test_the_gil_cannot_be_had(parts: ShimParts, own_folder: Path) -> None:
    """Another thread holds it for longer than anyone would wait. Nothing can be flushed, but the process ends."""
    script = """
import threading
go = threading.Event()
threading.Thread(target=lambda: go.wait() and held.wait_for(600), daemon=True).start()
print("before")
sys.setswitchinterval(1000)  # so that this thread goes on until it calls the shim
go.set()
released.fail_later(b"no", 1)
"""
    start = time.monotonic()
    assert run_into_file(parts, own_folder, script) == (1, "", ENDED)
    assert time.monotonic() - start < 20


LAST_OBJECT = """
import threading
class Last:
    def __del__(self, held=held):
        {deed}

sys.last_object_of_all = Last()
print("before")
"""


def test_python_is_being_finalised(parts: ShimParts, own_folder: Path) -> None:
    """The thread that finalises it destroys a model, say: Python has written what was printed by then."""
    script = LAST_OBJECT.format(deed="held.fail(b'no', b'')")
    assert run_into_file(parts, own_folder, script) == (1, "before\n", ENDED)


def test_python_is_being_finalised_by_another_thread(parts: ShimParts, own_folder: Path) -> None:
    script = LAST_OBJECT.format(deed="held.wait_for(600)") + (
        "threading.Thread(target=released.fail_later, args=(b'no', 2), daemon=True).start()\n"
    )
    start = time.monotonic()
    assert run_into_file(parts, own_folder, script) == (1, "before\n", ENDED)
    assert time.monotonic() - start < 20
