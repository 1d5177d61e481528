# SPDX-License-Identifier: LGPL-2.1-or-later
"""Getting a program compiled: by a process of its own, once for all that want it, into the user's cache."""

import errno
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch

from kim_torchml.engines.contract import CallSignature
from kim_torchml.engines.exported.compiled.cache import Cache, not_writable
from kim_torchml.engines.exported.compiled.entry import CacheEntry
from kim_torchml.engines.exported.compiled.errors import NotCompiledError
from kim_torchml.engines.exported.compiled.key import Key
from kim_torchml.engines.exported.compiled.request import CompileRequest, Facts
from kim_torchml.errors import DriverError
from kim_torchml.process import settings
from kim_torchml.process.cache_folder import why_nothing_compiles_in

# Runs without the user's PYTHONPATH and working folder until it has this process's own path. The package is that of
# this process too: where it belongs to a driver, its folder is on sys.path while it is imported only.
_BEGIN = (
    "import json, sys; folder, path, parent = json.loads(sys.argv[1]); sys.path[:] = [folder, *path]; "
    "import kim_torchml; sys.path[:] = path; "
    "from kim_torchml.engines.exported.compiled.worker import main; main(parent)"
)
_FOLDER_OF_PACKAGE = Path(__file__).parents[4]
# Variables of these would make other code of the same program.
_LEFT_OUT = ("KIM_TORCHML_", "TORCHINDUCTOR_", "TORCHDYNAMO_", "AOT_INDUCTOR_", "TRITON_")
# Folders that programs which take part leave files in, by the variables that name them.
_FOLDERS = {"TORCHINDUCTOR_CACHE_DIR": "inductor", "TMPDIR": "tmp", "TRITON_CACHE_DIR": "triton"}
_LINES_KEPT = 1000
# What torch compiles with unless the variable CXX says otherwise.
_COMPILER = "g++"
# Part of the work beyond which nothing is guessed.
_ALMOST_DONE = 0.94
# How often to say how far the work is, s.
_SILENCE = 0.5


@dataclass(frozen=True)
class Progress:
    """How far compiling is.

    Attributes:
        stage: what is being done.
        part: part of all of the work that is done, from 0 to 1.
        seconds: how long it has taken so far, s.
        is_waiting: whether another process does the work.
    """

    stage: str
    part: float
    seconds: float
    is_waiting: bool = False


Say = Callable[[Progress], None]


@dataclass(frozen=True)
class Wanted:
    """A program that somebody wants compiled.

    Attributes:
        key: what it is made of and for.
        content: the model file's bytes.
        file_name: its name, for messages.
        name: name of the model, for people.
        device: device to compile for.
        signature: what the program is called with.
    """

    key: Key
    content: bytes
    file_name: str
    name: str
    device: torch.device
    signature: CallSignature


def compiled_entry(cache: Cache, wanted: Wanted, say: Say, force: bool = False) -> CacheEntry:
    """Return the cache's entry for a program, which is compiled if there is none.

    Args:
        cache: The cache.
        wanted: The program.
        say: Is called every few tenths of a second with how far the work is.
        force: Whether to compile anew where there is an entry.
    Raises:
        NotCompiledError: If it cannot be compiled.
        DriverError: If the cache cannot be used.
    """
    asked = time.time()
    # A cache that cannot be written, nor compiled in, may hold it all the same.
    if not force and (entry := cache.find(wanted.key)[0]) is not None:
        return entry
    if reason := why_nothing_compiles_in(cache.folder):
        raise NotCompiledError(f"{reason}; name another folder in {settings.CACHE}")
    with cache.locked(wanted.key, lambda seconds: say(Progress("another process is at it", 0.0, seconds, True))):
        entry, _ = cache.find(wanted.key)
        # What another process has made while this one waited is as new as what this one would make; where it has
        # failed, so would this one, and each of the ranks that wait in its turn.
        if entry is not None and (not force or entry.made >= asked):
            return entry
        if failure := cache.failure_since(wanted.key, asked):
            raise NotCompiledError(failure)
        try:
            _check_compiler()
            cache.remove_unfinished()
            with cache.unfinished() as folder:
                return _compile(cache, wanted, folder, say)
        except DriverError as error:
            cache.keep_failure(wanted.key, str(error))
            raise


def _check_compiler() -> None:
    """Check that the program is there which torch takes for a C++ compiler: it would look for it at the very end."""
    named = os.environ.get("CXX", _COMPILER)
    if shutil.which(named) is None:
        raise NotCompiledError(
            f"there is no C++ compiler '{named}' on PATH; install one, or name another in the environment variable CXX"
        )


def _compile(cache: Cache, wanted: Wanted, folder: Path, say: Say) -> CacheEntry:
    with _scratch(cache, folder) as scratch:
        file = scratch / "model.pt2"
        try:
            file.write_bytes(wanted.content)
        except OSError as error:
            raise not_writable(cache.folder, error) from error
        request = CompileRequest.of(str(file), wanted.file_name, str(folder), wanted.device, wanted.signature)
        try:
            facts = _run_worker(request, scratch, say)
        except NotCompiledError as error:
            if not error.printed:
                raise
            if reason := _why_no_room(f"{error} {error.printed}"):
                raise NotCompiledError(
                    f"{error if reason in str(error) else f'{error}: {reason}'}; make room in the cache of compiled "
                    f"programs {cache.folder}, or name another folder in {settings.CACHE}"
                ) from error
            report = cache.keep_report(wanted.key, error.printed)
            raise NotCompiledError(f"{error}; what was printed is in {report}") from error
    return cache.publish(folder, wanted.key, wanted.name, facts)


def _why_no_room(printed: str) -> str:
    """Return what the system says of a full disk where it was printed; a compiler tells nobody else."""
    return next((each for each in map(os.strerror, (errno.ENOSPC, errno.EDQUOT)) if each in printed), "")


@contextmanager
def _scratch(cache: Cache, folder: Path) -> Iterator[Path]:
    """Make a place for all that compiling leaves behind; its name is not to be guessed."""
    try:
        scratch = Path(tempfile.mkdtemp(prefix="scratch-", dir=folder))
        for each in _FOLDERS.values():
            (scratch / each).mkdir()
    except OSError as error:
        raise not_writable(cache.folder, error) from error
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _run_worker(request: CompileRequest, scratch: Path, say: Say) -> Facts:
    """Return what the process that compiles has found out; it ends with this function, however that ends."""
    python = sys.executable
    if not python or not os.access(python, os.X_OK):
        raise NotCompiledError(f"there is no Python to compile it with (sys.executable is '{python}')")
    path = _path_without_working_folder()
    try:
        process = subprocess.Popen(
            [python, "-I", "-c", _BEGIN, json.dumps([str(_FOLDER_OF_PACKAGE), path, os.getpid()])],
            env=_environment(scratch),
            cwd=scratch,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            # A Ctrl-C reaches this process alone, which then ends that one.
            start_new_session=True,
        )
    except OSError as error:
        raise NotCompiledError(f"{python} cannot be started to compile it: {error.strerror or error}") from error
    try:
        return _follow(process, request, say)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            # What a process was to read that has ended already is still waiting.
            with suppress(OSError):
                if stream is not None:
                    stream.close()


def _path_without_working_folder() -> list[str]:
    """Return where this process looks for modules; what lies in the working folder must not be taken for one."""
    here: Path | None = None
    # It may have been removed.
    with suppress(OSError):
        here = Path.cwd()
    named = [each for each in sys.path if isinstance(each, str) and each]
    return [each for each in named if here is None or Path(each).resolve() != here]


def _environment(scratch: Path) -> dict[str, str]:
    """Return the variables for the process that compiles: nothing of it is to be left anywhere else."""
    inherited = {name: text for name, text in os.environ.items() if not name.startswith(_LEFT_OUT)}
    # More processes would each need the memory of torch.
    return {
        **inherited,
        **{name: str(scratch / each) for name, each in _FOLDERS.items()},
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
        # What compilers say of a full disk is looked for in English.
        "LC_ALL": "C.UTF-8",
    }


def _follow(process: "subprocess.Popen[str]", request: CompileRequest, say: Say) -> Facts:
    """Hand on what a process says of its work, until it says how that has ended."""
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    printed: list[str] = []
    reader = threading.Thread(target=_keep_last, args=(process.stderr, printed), daemon=True)
    reader.start()
    # A process that has ended already does not read; how it has ended is told below.
    with suppress(OSError):
        process.stdin.write(request.to_json())
        process.stdin.close()
    started, last, done = time.monotonic(), Progress("starting", 0.0, 0.0), 0.0
    for line in _lines_of(process):
        seconds = time.monotonic() - started
        if line is not None:
            said = _said_in(line)
            if not said:
                printed.append(line)
                continue
            if "done" in said:
                return Facts.from_dict(said["done"])
            if "failed" in said:
                if not said["is_explained"]:
                    process.wait()
                    reader.join(1.0)
                raise NotCompiledError(said["failed"], "" if said["is_explained"] else "".join(printed))
            last = Progress(said["stage"], said["part"], seconds)
        # A stage may have been shorter than it was guessed to be.
        done = max(done, _part_done(last, seconds))
        say(Progress(last.stage, done, seconds))
    status = process.wait()
    reader.join(1.0)
    how = _how_it_ended(status)
    raise NotCompiledError(f"the process that compiles it ended with {how} while {last.stage}", "".join(printed))


def _said_in(line: str) -> dict[str, Any]:
    """Return what a line says; nothing where something else has printed it, such as what every Python here starts."""
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return said if isinstance(said, dict) and not said.keys().isdisjoint(("stage", "done", "failed")) else {}


def _how_it_ended(status: int) -> str:
    """Return the exit code of a process, or the signal that has ended it, for people."""
    if status >= 0:
        return f"exit code {status}"
    number = -status
    # Nothing else sends it to a process that nobody knows.
    why = "; the system may have no memory left" if number == signal.SIGKILL else ""
    return f"signal {number} ({signal.strsignal(number) or 'unknown'}{why})"


def _part_done(last: Progress, seconds: float) -> float:
    """Return the part of all work that is done, as if a stage went on as quickly as those before it.

    Args:
        last: The beginning of the stage.
        seconds: Time since the beginning of the work, s.
    """
    expected = last.part * seconds / last.seconds if last.seconds else 0.0
    return max(last.part, min(expected, _ALMOST_DONE))


def _lines_of(process: "subprocess.Popen[str]") -> Iterator[str | None]:
    """Yield the lines that a process prints, and None whenever it has been silent for a while."""
    assert process.stdout is not None
    lines: queue.Queue[str | None] = queue.Queue()

    def read(stream: IO[str]) -> None:
        for line in stream:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, args=(process.stdout,), daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=_SILENCE)
        except queue.Empty:
            # What it has started may hold the pipe still.
            if process.poll() is not None:
                return
            yield None
            continue
        if line is None:
            return
        yield line


def _keep_last(stream: IO[str], kept: list[str]) -> None:
    """Read a stream to its end, as a process waits whose output nobody reads; keep the last lines."""
    for line in stream:
        kept.append(line)
        del kept[:-_LINES_KEPT]
