# SPDX-License-Identifier: LGPL-2.1-or-later
"""Errors in LAMMPS end it with exit code 1, and stderr gives the reason in one sentence."""

import signal
import subprocess
import time
from pathlib import Path

import bad_models as bad
import pytest
import tiny_models as tiny
from configurations import crystal
from kim_collection import KimCollection
from lammps_host import Case, lines_of_driver, run_lammps

pytestmark = [pytest.mark.every_system, pytest.mark.usefixtures("bad_models")]


def errors_of(collection: KimCollection, case: Case, ranks: int = 1, **variables: str) -> list[str]:
    """Run a case that fails, and return the driver's lines on stderr without the announcement of the model."""
    folder = Path.cwd()
    done = run_lammps(collection, folder, case.write(folder), ranks, KIM_TORCHML_QUIET="1", **variables)
    assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
    assert "ERROR" in done.stdout
    # Open MPI 5 speaks of signals whenever a rank ends the others.
    for sign in ("Segmentation", "Aborted", "on signal", "received signal", "Traceback", "terminate called"):
        assert sign not in done.stderr
    return [line.rstrip("\n") for line in lines_of_driver(done.stderr)]


def test_model_with_a_bad_file(collection: KimCollection) -> None:
    (error,) = errors_of(collection, Case("case", bad.BAD_CUTOFF, crystal(1)))
    assert error == (
        "[kim-torchml] error: `cutoff` must be a positive number (Å), got 'three' (file file.param, line 7); "
        "give the model's cutoff"
    )


def test_model_that_raises_on_every_rank(collection: KimCollection) -> None:
    errors = errors_of(collection, Case("case", bad.RAISES_LATER, crystal()), ranks=2)
    assert len(errors) >= 1
    for error in errors:
        assert error.startswith(("[kim-torchml rank 0] error: ", "[kim-torchml rank 1] error: "))
        assert "the model in model.pt raised an error" in error
        assert "too many particles" in error


def test_python_that_is_not_there(collection: KimCollection) -> None:
    case = Case("case", tiny.RAW, crystal(1))
    (error,) = errors_of(collection, case, KIM_TORCHML_PYTHON="/nonexistent/bin/python3")
    assert "KIM_TORCHML_PYTHON must name a Python that can be run, got '/nonexistent/bin/python3'; name" in error


def test_device_that_is_not_there(collection: KimCollection) -> None:
    case = Case("case", tiny.RAW, crystal(1))
    (error,) = errors_of(collection, case, KIM_MODEL_EXECUTION_DEVICE="cuda:77")
    assert "`KIM_MODEL_EXECUTION_DEVICE` asks for 'cuda:77', but that device is not there; available here: cpu" in error


def test_interrupt_ends_lammps_while_it_computes(collection: KimCollection) -> None:
    """The signal itself ends LAMMPS, as without this driver, though Debian's LAMMPS has a Python of its own."""
    folder = Path.cwd()
    (folder / "in.lammps").write_text(Case("case", tiny.GRAPH_2, crystal(), run="run 1000000").write(folder))
    with subprocess.Popen(
        ["lmp", "-in", "in.lammps", "-screen", "none"],
        env=collection.environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert any("device cpu" in line for line in process.stderr)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == -signal.SIGINT
        assert lines_of_driver(process.stderr.read()) == []
