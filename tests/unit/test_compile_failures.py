# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compiling that fails, however it does: the program runs as its file has it, and one sentence says why."""

import errno
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from program_files import inputs_of, layered_program, opened, signature_of

from kim_torchml.engines import UNCOMPILED, NotCompiledError, compiled_program, prepared
from kim_torchml.engines.exported.compiled import build, worker
from kim_torchml.engines.exported.compiled.cache import Cache
from kim_torchml.engines.exported.compiled.key import key_of
from kim_torchml.engines.exported.compiled.program import CompiledProgram
from kim_torchml.engines.exported.compiled.request import Facts
from kim_torchml.errors import DriverError
from kim_torchml.process import settings

CONTENT = layered_program(2).content()
SIGNATURE = signature_of(torch.float64)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and a compiler that nothing gets to call unless the test says so."""
    monkeypatch.setenv(settings.CACHE, str(tmp_path / "cache"))
    monkeypatch.setenv("CXX", sys.executable)
    return tmp_path / "cache"


@pytest.fixture
def python(tmp_path, monkeypatch):
    """A function that lets a script of the shell take the place of the Python that compiles."""

    def replace(script):
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{textwrap.dedent(script)}")
        path.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(path))

    return replace


def fail():
    """Open a program that is to be compiled now; return what its user is told."""
    said = []
    program = opened(CONTENT)
    choice = prepared(program, CONTENT, SIGNATURE, "My_Model", settings.NOW, said.append)
    assert choice.program is program
    assert choice.how == UNCOMPILED
    assert "\n" not in choice.advice
    assert choice.advice.startswith("x.pt2 runs not compiled: ")
    return choice.advice.removeprefix("x.pt2 runs not compiled: ")


def left(cache):
    """Return the endings of what is in the cache."""
    return sorted(path.suffix for path in cache.iterdir())


def report(cache, sentence):
    """Return the text of the report that a sentence names."""
    path = re.search(r"; what was printed is in (\S+)$", sentence)[1]
    assert os.path.dirname(path) == str(cache)  # noqa: PTH120
    with open(path, encoding="utf-8") as file:  # noqa: PTH123
        return file.read()


AT_WORK = """
    read request
    echo '{"stage": "compiling it", "part": 0.2}'
    echo "what torch said" >&2
"""


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (signal.SIGSEGV, "11 (Segmentation fault)"),
        (signal.SIGKILL, "9 (Killed; the system may have no memory left)"),
    ],
)
def test_a_signal_while_it_works(number, name, cache, python):
    python(f"{AT_WORK}    kill -{int(number)} $$")
    sentence = fail()
    assert sentence.startswith(f"the process that compiles it ended with signal {name} while compiling it; what was ")
    assert report(cache, sentence) == "what torch said\n"
    assert left(cache) == [".lock", ".log"]


def test_a_signal_before_it_says_anything(cache, python):
    python("kill -9 $$")
    assert fail() == (
        "the process that compiles it ended with signal 9 (Killed; the system may have no memory left) while starting"
    )
    assert left(cache) == [".lock"]


def test_a_process_that_ends_without_a_word(cache, python):
    python("exec <&-; exit 3")
    assert fail() == "the process that compiles it ended with exit code 3 while starting"
    assert left(cache) == [".lock"]


def test_processes_that_it_has_started_end_with_it(cache, python, tmp_path):
    """A compiler that goes on would take memory and time, and holds the pipes."""
    python(f"{AT_WORK}    sleep 300 & echo $! >'{tmp_path}/compiler'\n    kill -SEGV $$")
    fail()
    number = int((tmp_path / "compiler").read_text())
    state = next((line for line in status_of(number) if line.startswith("State:")), "State: gone")
    assert re.match(r"State:\s*(gone|Z|X)", state)


def status_of(number):
    try:
        with open(f"/proc/{number}/status", encoding="utf-8") as file:  # noqa: PTH123
            return list(file)
    except OSError:
        return []


def test_what_others_print_is_not_taken_for_the_process_own_words(cache, python):
    """Each Python of an installation may print when it starts, as packages for development do."""
    python(
        """
        echo "welcome"; echo 7; echo '{"colour": "red"}'
        read request
        echo '{"failed": "sizes in it depend on values", "is_explained": true}'
        """
    )
    assert fail() == "sizes in it depend on values"
    assert left(cache) == [".lock"]


def test_what_it_cannot_explain_is_in_a_report(cache, python):
    python(f"""{AT_WORK}    echo '{{"failed": "the C++ compiler fails", "is_explained": false}}'""")
    sentence = fail()
    assert sentence.startswith("the C++ compiler fails; what was printed is in ")
    assert report(cache, sentence) == "what torch said\n"
    assert left(cache) == [".lock", ".log"]
    # The next try that succeeds, or fails in another way, is not told of this one.
    python("exit 4")
    assert fail() == "the process that compiles it ended with exit code 4 while starting"


def test_a_python_that_cannot_be_started(cache, python, tmp_path):
    python("")
    (tmp_path / "python").write_text("#!/no/such/shell\n")
    assert fail() == f"{tmp_path / 'python'} cannot be started to compile it: No such file or directory"
    assert left(cache) == [".lock"]


@pytest.mark.parametrize("executable", ["", None, "/no/such/python"])
def test_without_a_python(executable, cache, monkeypatch):
    """A host that embeds Python may say nothing of where one is."""
    monkeypatch.setattr(sys, "executable", executable)
    assert fail() == f"there is no Python to compile it with (sys.executable is '{executable}')"
    assert left(cache) == [".lock"]


@pytest.mark.parametrize(
    ("variable", "name"), [(None, "g++"), ("clang++-99", "clang++-99"), ("ccache g++", "ccache g++")]
)
def test_without_a_compiler_nothing_is_begun(variable, name, cache, python, monkeypatch, tmp_path):
    python(f"touch '{tmp_path}/begun'")
    monkeypatch.setenv("PATH", str(tmp_path))
    if variable is None:
        monkeypatch.delenv("CXX")
    else:
        monkeypatch.setenv("CXX", variable)
    assert fail() == (
        f"there is no C++ compiler '{name}' on PATH; install one, or name another in the environment variable CXX"
    )
    assert left(cache) == [".lock"]
    assert not (tmp_path / "begun").exists()
    with pytest.raises(NotCompiledError, match=r"^there is no C\+\+ compiler "):
        compiled_program(opened(CONTENT), CONTENT, SIGNATURE, "My_Model", lambda progress: None, force=True)


@pytest.mark.parametrize("name", ["mkdtemp", "write_bytes"])
def test_a_disk_that_is_full_before_anything_is_compiled(name, cache, python, monkeypatch):
    python("exit 5")
    of_cache = build.tempfile.mkdtemp

    def full(*arguments, **options):
        if options.get("prefix", "scratch-") == "scratch-":
            raise OSError(28, "No space left on device")
        return of_cache(*arguments, **options)

    monkeypatch.setattr(build.tempfile if name == "mkdtemp" else build.Path, name, full)
    assert fail() == (
        f"cannot write into the cache of compiled programs {cache}: No space left on device; make room there, or name "
        "another folder in KIM_TORCHML_CACHE"
    )
    assert left(cache) == [".lock"]


@pytest.mark.parametrize("reason", ["No space left on device", "Disk quota exceeded"])
def test_a_disk_that_fills_while_the_compiler_works(reason, cache, python):
    python(
        f"""
        read request
        echo "x.cpp: fatal error: error writing to /scratch/x.s: {reason}" >&2
        echo '{{"failed": "the C++ compiler fails", "is_explained": false}}'
        """
    )
    assert fail() == (
        f"the C++ compiler fails: {reason}; make room in the cache of compiled programs {cache}, or name another folder"
        " in KIM_TORCHML_CACHE"
    )
    assert left(cache) == [".lock"]


def test_a_disk_that_fills_while_torch_writes(cache, python):
    python(
        f"""{AT_WORK}    echo '{{"failed": "OSError: [Errno 28] No space left on device", "is_explained": false}}'"""
    )
    assert fail().startswith("OSError: [Errno 28] No space left on device; make room in the cache of compiled programs")


def test_the_compiler_speaks_english(cache, python, monkeypatch):
    """What it says of a full disk is looked for."""
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    python("""read request; echo "{\\"failed\\": \\"$LC_ALL\\", \\"is_explained\\": true}" """)
    assert fail() == "C.UTF-8"


def test_a_path_that_the_compiler_cannot_take_is_refused_before_any_work(cache, python, monkeypatch, tmp_path):
    python(f"touch '{tmp_path}/begun'")
    monkeypatch.setenv(settings.CACHE, str(tmp_path / "my cache"))
    assert fail() == (
        "the compiler's command line cannot take a path with a blank, a quote or a backslash, got ' ' in "
        f"'{tmp_path / 'my cache'}'; name another folder in KIM_TORCHML_CACHE"
    )
    assert not (tmp_path / "my cache").exists()
    assert not (tmp_path / "begun").exists()


def read_only(monkeypatch):
    """Let all files be on a file system that is mounted so, which root cannot write to either."""

    def refusing(path, flags, *arguments, **options):
        if flags & os.O_CREAT:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return of_system(path, flags, *arguments, **options)

    of_system = os.open
    monkeypatch.setattr(os, "open", refusing)


def test_what_is_in_a_cache_that_cannot_be_written_is_there_already(cache, monkeypatch):
    program = opened(CONTENT)
    key = key_of(CONTENT, program.dtype, 2, program.device)
    place = Cache(cache)
    with place.locked(key, wait=lambda seconds: None), place.unfinished() as folder:
        (folder / "program.so").write_bytes(b"native code")
        made = place.publish(folder, key, "My_Model", Facts("program.so", "float64", {1: 2.5}, 61.0))
    read_only(monkeypatch)
    compile_it = partial(compiled_program, program, CONTENT, SIGNATURE, "My_Model", lambda progress: None)
    assert compile_it(force=False) == (made, False)
    with pytest.raises(
        DriverError,
        match=r"^cannot write into the cache .*: Read-only file system; name another folder in KIM_TORCHML_CACHE$",
    ):
        compile_it(force=True)


class CppCompileError(RuntimeError):
    """What torch raises, by name; the text is torch's."""


class InductorError(RuntimeError):
    """What newer versions of torch raise instead; the text has the name of the other in it."""


class UserError(RuntimeError):
    """What torch.export raises where sizes cannot change."""


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (CppCompileError("C++ compile error\n\nCommand:\ng++ /scratch/x.cpp -O3"), "the C++ compiler fails"),
        (InductorError("CppCompileError: C++ compile error\n\nCommand:\ng++ /x.cpp"), "the C++ compiler fails"),
        (
            UserError('Constraints violated (n)! For more information, run with TORCH_LOGS="+dynamic".\n  - Not all'),
            f"torch {torch.__version__} can compile it for one number of rows or edges only",
        ),
        (ValueError("a size\nand more"), "ValueError: a size and more"),
    ],
)
def test_errors_of_torch_as_sentences(error, sentence):
    assert worker._sentence_of(error) == sentence


class Compiled(CompiledProgram):
    """A compiled program without native code: it may be called, but not computed with."""

    def __init__(self, source):
        self._source = source
        self._has_failed = False


def test_without_rows_the_program_itself_is_run():
    """Many programs cannot be called without rows, so that native code is not compared for them."""
    program, inputs = opened(CONTENT), inputs_of(0, 0)
    found, expected = (each.run(inputs, wants_gradient=True) for each in (Compiled(program), program))
    assert found.energies.shape == expected.energies.shape == (0,)
    assert found.gradient.shape == (0, 3)


ORPHAN = """
import os, subprocess, sys
worker = f"from kim_torchml.engines.exported.compiled.worker import _end_with; _end_with({os.getpid()})"
child = subprocess.Popen([sys.executable, "-c", worker])
print(child.pid, flush=True)
child.wait()
"""


def test_it_ends_soon_after_the_process_that_has_asked(tmp_path):
    """Nobody would take what it makes."""
    parent = subprocess.Popen([sys.executable, "-c", ORPHAN], stdout=subprocess.PIPE, text=True)
    child = Path(f"/proc/{parent.stdout.readline().strip()}")
    assert child.exists()
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 30.0
    while child.exists() and "State:\tZ" not in (child / "status").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.1)
