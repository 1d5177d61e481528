# SPDX-License-Identifier: LGPL-2.1-or-later
"""What failures do to a run: on one rank of several, without a stderr, without memory, with the wrong Python."""

import os
import re
import shutil
import signal
import subprocess
import sys
import venv
from pathlib import Path

import bad_models as bad
import pytest
import tiny_models as tiny
from ase.build import bulk
from configurations import crystal, mixed
from kim_collection import HERE, KimCollection, python_path
from lammps_host import Case, run_lammps

pytestmark = pytest.mark.usefixtures("bad_models")

WAITING = (
    "; if the other ranks go on, they wait for this one for ever: end the run, and set KIM_TORCHML_ON_ERROR=exit to "
    "have such a failure end it"
)
ENDING = "; this process ends, as KIM_TORCHML_ON_ERROR asks"


def errors_in(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if re.match(r"\[kim-torchml.*\] error: ", line)]


def start_with_one_rank_that_fails(collection: KimCollection, folder: Path, **variables: str) -> subprocess.Popen[str]:
    """Start two ranks, of which one has particles that the model cannot compute."""
    atoms = bulk("Si", "diamond", a=5.431, cubic=True) * (4, 2, 2)
    atoms.pbc = (False, True, True)
    # So far apart that the first rank has none of the second's atoms around its own.
    del atoms[(atoms.positions[:, 0] > 4.0) & (atoms.positions[:, 0] < 15.0)]
    commands = Case("case", bad.RAISES_FAR_AWAY, atoms, processors="2 1 1", run="run 2").write(folder)
    (folder / "in.lammps").write_text(commands)
    return subprocess.Popen(
        ["mpirun", "--oversubscribe", "-np", "2", "lmp", "-in", "in.lammps", "-nocite"],
        env=collection.environment | {"KIM_TORCHML_QUIET": "1"} | variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.every_system
def test_one_rank_that_fails_ends_the_run_where_that_is_asked_for(collection: KimCollection, own_folder: Path) -> None:
    with start_with_one_rank_that_fails(collection, own_folder, KIM_TORCHML_ON_ERROR="exit") as run:
        _, stderr = run.communicate(timeout=120)
    assert run.returncode == 1
    (error,) = errors_in(stderr)
    assert error.startswith("[kim-torchml rank 1] error: the model in model.pt raised an error")
    assert error.endswith(ENDING)


@pytest.mark.every_system
def test_one_rank_that_fails_says_that_others_wait(collection: KimCollection, own_folder: Path) -> None:
    """Older versions of LAMMPS do wait, so that the run is ended here; newer ones end all ranks after such an error."""
    with start_with_one_rank_that_fails(collection, own_folder, KIM_TORCHML_COMMUNICATOR="none") as run:
        assert run.stderr is not None
        said = next((line for line in run.stderr if errors_in(line)), "")
        # What waits keeps its core busy.
        run.terminate()
        _, more = run.communicate(timeout=120)
    assert run.returncode != 0
    (error,) = errors_in(said + more)
    assert error.endswith(WAITING)


def fails(collection: KimCollection, folder: Path, model: str, **variables: str) -> subprocess.CompletedProcess[str]:
    commands = Case("case", model, crystal(1)).write(folder)
    return run_lammps(collection, folder, commands, KIM_TORCHML_QUIET="1", **variables)


@pytest.mark.every_system
def test_ending_alone(collection: KimCollection, own_folder: Path) -> None:
    """The exit is the driver's own: LAMMPS has no chance to say that KIM failed, but what it has said is written."""
    done = fails(collection, own_folder, bad.RAISES_LATER, KIM_TORCHML_ON_ERROR="EXIT")
    assert done.returncode == 1
    (error,) = errors_in(done.stderr)
    assert error.endswith(ENDING)
    assert "ERROR" not in done.stdout
    assert "LAMMPS (" in done.stdout
    assert "the model in model.pt raised an error" in (own_folder / "kim.log").read_text()


def test_ending_where_a_model_cannot_be_created(collection: KimCollection, own_folder: Path) -> None:
    done = fails(collection, own_folder, bad.BAD_CUTOFF, KIM_TORCHML_ON_ERROR="exit")
    assert done.returncode == 1
    assert "ERROR" not in done.stdout
    (error,) = errors_in(done.stderr)
    assert error.endswith(ENDING)


FAILING_HOST = """
import sys
from ase.calculators.kim import KIM
from configurations import crystal

atoms = crystal()
print("before")
atoms.calc = KIM(sys.argv[1])
atoms.get_potential_energy()
print("after")
"""


@pytest.mark.every_system
@pytest.mark.parametrize(
    ("model", "failure"),
    [
        (bad.BAD_CUTOFF, "`cutoff` must be a positive number"),
        (bad.RAISES_LATER, "the model in model.pt raised an error"),
    ],
    ids=["Create", "Compute"],
)
def test_ending_a_python_host(collection: KimCollection, own_folder: Path, model: str, failure: str) -> None:
    """What it has printed is in the file that is its stdout, and its errors are lines of one write each."""
    read, write = os.pipe2(os.O_DIRECT)  # packets: a read returns what one write wrote
    with (own_folder / "stdout").open("w") as stdout, os.fdopen(read, "rb", buffering=0) as pipe:
        done = subprocess.run(
            [sys.executable, "-c", FAILING_HOST, model],
            env=collection.environment
            | {"PYTHONPATH": python_path(HERE), "KIM_TORCHML_QUIET": "1", "KIM_TORCHML_ON_ERROR": "exit"},
            stdout=stdout,
            stderr=write,
            timeout=120,
            check=False,
        )
        os.close(write)
        packets = [packet.decode() for packet in iter(lambda: pipe.read(65536), b"")]
    assert done.returncode == 1
    assert (own_folder / "stdout").read_text() == "before\n"
    (error,) = [packet for packet in packets if "kim-torchml" in packet]
    assert error.startswith("[kim-torchml] error: ")
    assert failure in error
    assert error.endswith(f"{ENDING}\n")


def test_ending_while_a_thread_waits_for_input(collection: KimCollection, own_folder: Path) -> None:
    """A thread that reads from stdin holds that stream as long as nothing comes."""
    script = f"""
import ctypes, threading, time
from ase.build import bulk
from ase.calculators.kim import KIM
threading.Thread(target=ctypes.CDLL(None).getchar, daemon=True).start()
time.sleep(0.5)
atoms = bulk("Si", cubic=True)
atoms.calc = KIM({bad.RAISES_LATER!r})
atoms.get_potential_energy()
"""
    read, write = os.pipe()
    done = subprocess.run(
        [sys.executable, "-c", script],
        stdin=read,
        env=collection.environment | {"KIM_TORCHML_ON_ERROR": " exit "},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(write)
    os.close(read)
    assert done.returncode == 1
    assert errors_in(done.stderr)[0].endswith(ENDING)


@pytest.mark.parametrize("value", ["", "return"])
def test_returning(collection: KimCollection, own_folder: Path, value: str) -> None:
    done = fails(collection, own_folder, bad.RAISES_LATER, KIM_TORCHML_ON_ERROR=value)
    assert done.returncode == 1
    assert "ERROR" in done.stdout
    (error,) = errors_in(done.stderr)
    assert "KIM_TORCHML_ON_ERROR" not in error


@pytest.mark.parametrize(
    ("value", "shown"), [("stop", "stop"), ("exit\n[kim-torchml] error: ", "exit?[kim-torchml] error:")]
)
def test_another_word_counts_as_return(collection: KimCollection, own_folder: Path, value: str, shown: str) -> None:
    done = fails(collection, own_folder, bad.RAISES_LATER, KIM_TORCHML_ON_ERROR=value)
    assert "ERROR" in done.stdout
    (error,) = errors_in(done.stderr)
    assert error.endswith(f"; KIM_TORCHML_ON_ERROR must be exit or return, got '{shown}', which counts as return")


def run_with_stderr(collection: KimCollection, folder: Path, model: str, stderr: int | None) -> tuple[int, str]:
    """Run LAMMPS with a stderr that nobody can read, or none; return its exit status and output."""
    (folder / "in.lammps").write_text(Case("case", model, crystal(1)).write(folder))
    closing = ["sh", "-c", 'exec "$@" 2>&-', "sh"] if stderr is None else []
    done = subprocess.run(
        [*closing, "lmp", "-in", "in.lammps", "-nocite"],
        env=collection.environment,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        timeout=120,
        check=False,
        # Python ignores SIGPIPE, and a child would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGPIPE, signal.SIG_DFL),
    )
    return done.returncode, done.stdout


@pytest.fixture(params=["closed", "full", "no reader"])
def useless_stderr(request: pytest.FixtureRequest):
    if request.param == "closed":
        yield None
    elif request.param == "full":
        with Path("/dev/full").open("wb") as full:
            yield full.fileno()
    else:
        read, write = os.pipe()
        os.close(read)
        yield write
        os.close(write)


def test_a_run_goes_on_without_stderr(collection: KimCollection, own_folder: Path, useless_stderr: int | None) -> None:
    """The announcement of the model is dropped."""
    status, printed = run_with_stderr(collection, own_folder, tiny.RAW, useless_stderr)
    assert status == 0, printed
    assert "Total wall time" in printed


def test_a_model_that_warns_without_stderr(
    collection: KimCollection, own_folder: Path, useless_stderr: int | None
) -> None:
    """Torch writes the warning by itself, and knows nothing of a reader that is gone."""
    status, printed = run_with_stderr(collection, own_folder, tiny.RAW_WARNS, useless_stderr)
    assert status == 0, printed
    assert "Total wall time" in printed


def test_a_failure_without_stderr(collection: KimCollection, own_folder: Path, useless_stderr: int | None) -> None:
    """Its line is dropped, and LAMMPS reports the failure in its own words: newer versions on stderr, too."""
    status, printed = run_with_stderr(collection, own_folder, bad.RAISES_LATER, useless_stderr)
    assert status in (1, -signal.SIGPIPE), printed
    assert "ERROR" in printed


@pytest.mark.every_system
def test_the_python_of_another_version(collection: KimCollection, own_folder: Path) -> None:
    """Its version is compared before torch is looked for, which is not in the folder of that version."""
    venv.create(own_folder / "environment", symlinks=True, with_pip=False)
    settings = own_folder / "environment" / "pyvenv.cfg"
    lines = [line for line in settings.read_text().splitlines() if not line.startswith("version")]
    settings.write_text("\n".join([*lines, "version = 3.6.15"]) + "\n")
    python = own_folder / "environment" / "bin" / "python3"
    done = fails(collection, own_folder, tiny.RAW, KIM_TORCHML_PYTHON=str(python))
    (error,) = errors_in(done.stderr)
    this = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert error == (
        f"[kim-torchml] error: KIM_TORCHML_PYTHON must name a Python {this}, for which the driver was built, got "
        f"'{python}', which is Python 3.6; name another, or install the driver again with --force for this one"
    )


def test_a_python_whose_name_has_another_version(collection: KimCollection, own_folder: Path) -> None:
    other = own_folder / "python3.7"
    shutil.copy(Path(sys.executable).resolve(), other)
    link = own_folder / "python"
    link.symlink_to(other)
    done = fails(collection, own_folder, tiny.RAW, KIM_TORCHML_PYTHON=str(link))
    (error,) = errors_in(done.stderr)
    assert f"got '{link}', which is Python 3.7; name another" in error


@pytest.mark.every_system
def test_ending_before_python_runs(collection: KimCollection, own_folder: Path) -> None:
    """LAMMPS may have loaded libpython, which has no streams to flush yet, and no GIL to ask for."""
    done = fails(collection, own_folder, tiny.RAW, KIM_TORCHML_PYTHON="/nonexistent", KIM_TORCHML_ON_ERROR="exit")
    assert done.returncode == 1
    (error,) = errors_in(done.stderr)
    assert "KIM_TORCHML_PYTHON must name a Python that can be run, got '/nonexistent'" in error
    assert error.endswith(ENDING)


def test_python_path_of_another_python_in_lammps(collection: KimCollection, own_folder: Path) -> None:
    folder = own_folder / "lib" / "python3.6" / "site-packages"
    (folder / "numpy").mkdir(parents=True)
    (folder / "numpy" / "__init__.py").write_text("raise ImportError('numpy.core.multiarray failed to import')")
    done = fails(collection, own_folder, tiny.RAW, PYTHONPATH=str(folder))
    assert done.returncode == 1
    (error,) = errors_in(done.stderr)
    assert "cannot be imported (numpy.core.multiarray failed to import)" in error
    assert f"came from {folder}, which the environment variable PYTHONPATH names" in error
    assert error.endswith("unset PYTHONPATH")


@pytest.mark.parametrize(
    ("routine", "said"),
    [
        ("compute", "for so many particles; use fewer, or more ranks"),
        ("live", "for the model; use a machine that has more, or fewer ranks on each"),
    ],
)
def test_no_memory(collection: KimCollection, own_folder: Path, simulator: Path, routine: str, said: str) -> None:
    """The message names what memory was wanted for. A module stands in for the driver's own, and has none."""
    module = "failure_in_compute" if routine == "compute" else "failure_in_create"
    (own_folder / "sitecustomize.py").write_text(NO_MEMORY[module])
    mixed().write(own_folder / "particles.txt")
    count = ["1", "0"] if routine == "live" else []
    done = subprocess.run(
        [str(simulator), routine, tiny.RAW, str(own_folder / "particles.txt"), *count],
        cwd="/",
        env=collection.environment | {"PYTHONPATH": str(own_folder), "KIM_TORCHML_QUIET": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    (error,) = errors_in(done.stderr)
    assert error == f"[kim-torchml] error: this machine has not enough memory {said}"


_WRAP = """
import importlib.abc, importlib.machinery, sys

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "kim_torchml.driver.model":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            def fail(*arguments):
                raise MemoryError
            module.Model.{method} = fail

        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Finder())
"""
NO_MEMORY = {
    "failure_in_compute": _WRAP.format(method="compute"),
    "failure_in_create": _WRAP.format(method="__init__"),
}
