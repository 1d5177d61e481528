# SPDX-License-Identifier: LGPL-2.1-or-later
"""Environments of exact versions for converting: temporary ones, and one that is kept in a folder.

An environment has its own Python packages and a copy of this one, so that what is installed where the command runs
plays no part. Nothing is imported from the working directory, from PYTHONPATH or from the user's own packages.
"""

import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import kim_torchml
from kim_torchml.errors import DriverError
from kim_torchml.tools.convert.family import Asked, Family, Isolation
from kim_torchml.tools.convert.pip_install import install
from kim_torchml.tools.programs.process_group import end_process_group
from kim_torchml.tools.programs.run_program import run_program
from kim_torchml.tools.programs.signals import Interrupted, signals_held_back
from kim_torchml.tools.programs.temporary_folder import temporary_folder
from kim_torchml.tools.request_error import RequestError
from kim_torchml.tools.verification.worker_process import describe_exit

# Is told what is being done, how far it is where that is known, in words, and which part of it is done.
Say = Callable[[str, str, float | None], None]

# A program of torch may be in the middle of a long call when it is asked to end.
_SECONDS_TO_END = 10.0
_PREFIX = "kim-torchml-isolated-"
# What a kept environment was made of: a digest of its packages, and one of the copy of this package.
_MADE_OF, _COPY_OF = "made_of.txt", "copy_of.txt"
_CODE = "kim_torchml"
_COMPILED = "kim_torchml.inputs._neighbour_lists"


def check_isolation(family: Family, isolation: Isolation) -> None:
    """Check that an environment for a family can be made with this Python; nothing is fetched.

    Args:
        family: The family.
        isolation: What the environment is to be made of.
    Raises:
        RequestError: If its packages do not fit this Python.
        DriverError: If this Python cannot make environments.
    """
    oldest, newest = isolation.pythons
    this = sys.version_info[:2]
    if not oldest <= this <= newest:
        raise RequestError(
            f"Python must be {_dotted(oldest)} to {_dotted(newest)} for --isolated with {family.title}, got "
            f"{_dotted(this)} ({sys.executable}); run kim-torchml with one of these, or leave --isolated out where "
            f"{family.packages[0].name} is installed"
        )
    missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if missing:
        raise DriverError(
            f"making an environment needs Python's module {' and '.join(missing)}, which {sys.executable} does not "
            f"have; install it (Debian and Ubuntu: apt install python{_dotted(this)}-venv), or leave --isolated out "
            f"where {family.packages[0].name} is installed"
        )


def convert_isolated(
    family: Family, asked: Asked, folder: Path, name: str, say: Say, begins: Callable[[], None]
) -> int:
    """Convert a source in a temporary environment, which is removed afterwards however this ends.

    The conversion writes to this process's stdout and stderr.

    Args:
        family: The family.
        asked: What is to be converted; the request has been checked.
        folder: Folder to write.
        name: KIM id of the model.
        say: What to tell how far making the environment is.
        begins: Is called when the environment is there, before the conversion writes.
    Returns:
        Exit status of the conversion, which has said what is wrong where it is not 0.
    Raises:
        DriverError: If the environment cannot be made, or the conversion crashes.
        OSError: If there is no place for temporary files.
    """
    check_isolation(family, family.isolation)
    with temporary_folder(_PREFIX) as scratch:
        python = _make_environment(family.isolation, scratch / "environment", scratch, say)
        _copy_code(scratch / "environment")
        say(f"converting {asked.source} there", "", None)
        begins()
        return _run(python, ["-m", _CODE, "convert", *_words(family, asked, folder, name)], scratch)


def kept_environment(family: Family, folder: Path, say: Say) -> Path:
    """Make an environment for a family in a folder, or bring up to date the one that is there.

    The family's own package is in it, whether or not converting needs that. Its packages are installed when others are
    asked for than those that it was made of; its copy of this package is replaced when the sources have changed. One
    process at a time may do this.

    Args:
        family: The family.
        folder: The folder; it is new, empty, or holds such an environment.
        say: What to tell how far this is.
    Returns:
        The environment's Python; run it with the option -I.
    Raises:
        RequestError: If the folder holds something else, or the packages do not fit this Python.
        DriverError: If the environment cannot be made.
        OSError: If the folder cannot be written.
    """
    isolation = family.reference or family.isolation
    check_isolation(family, isolation)
    folder = folder.absolute()
    made_of, copy_of = _digest_of_packages(isolation), _digest_of_code()
    python = folder / "bin" / "python"
    if _text(folder / _MADE_OF) != made_of or not python.exists():
        _clear(folder)
        try:
            with temporary_folder(_PREFIX) as scratch:
                _make_environment(isolation, folder, scratch, say)
        except BaseException:
            # A Python without the packages would be taken for the environment.
            _clear(folder)
            raise
        (folder / _MADE_OF).write_text(made_of)
    if _text(folder / _COPY_OF) != copy_of:
        (folder / _COPY_OF).unlink(missing_ok=True)
        _copy_code(folder)
        (folder / _COPY_OF).write_text(copy_of)
    return python


def _make_environment(isolation: Isolation, folder: Path, scratch: Path, say: Say) -> Path:
    """Make an environment with a family's packages; return its Python.

    Args:
        isolation: What it is made of.
        folder: The folder of the environment.
        scratch: Folder for files of pip, such as what it fetches.
        say: What to tell how far this is.
    """
    variables = _variables(scratch)
    say("making a Python environment", "", None)
    made = run_program([sys.executable, "-I", "-m", "venv", folder], variables, _empty(scratch), time_limit=600.0)
    if made.failure:
        raise DriverError(
            f"the environment in {folder} cannot be made with {sys.executable}: {made.failure}; mend that, or name "
            "another place for temporary files in TMPDIR"
        )
    python = folder / "bin" / "python"
    versions = scratch / "versions.txt"
    versions.write_text("".join(f"{each}\n" for each in isolation.if_needed))
    built = [option for each in isolation.from_source for option in ("--no-binary", each)]
    n_all = len(isolation.pinned) + len(isolation.alone)
    step = f"installing {_named(isolation)}"
    say(step, "", 0.0)
    n_before = 0
    for requirements, option in (
        (isolation.pinned, ("--constraint", str(versions))), (isolation.alone, ("--no-deps",))
    ):  # fmt: skip
        if requirements:
            found = _found(step, n_before, n_all, say)
            install(python, requirements, [*built, *option], variables, _empty(scratch), found)
            n_before += len(requirements)
    return python


def _found(step: str, n_before: int, n_all: int, say: Say) -> Callable[[int, str], None]:
    """Return what says how many packages pip has found."""

    def found(n_found: int, does: str) -> None:
        # Some are there on some machines alone.
        n_here = min(n_before + n_found, n_all)
        say(step, f"{n_here} of {n_all} packages{', ' if does else ''}{does}", n_here / n_all)

    return found


def _named(isolation: Isolation) -> str:
    """Return, for people, what an environment is made of: the family's package, torch, and how many more."""
    packages = (*isolation.alone, *isolation.pinned)
    torch = [each for each in packages if each.startswith("torch==")]
    shown = list(dict.fromkeys([*packages[:1], *torch]))
    words = ", ".join(each.replace("==", " ") for each in shown)
    n_more = len(packages) - len(shown)
    return f"{words} and {n_more} more package{'s' if n_more > 1 else ''}" if n_more else words


def _copy_code(environment: Path) -> None:
    """Put a copy of this package into an environment, in place of the one that is there."""
    place = environment / "lib" / f"python{_dotted(sys.version_info[:2])}" / "site-packages" / _CODE
    shutil.rmtree(place, ignore_errors=True)
    for name, path in _code():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place / name)


def _code() -> list[tuple[str, Path]]:
    """Return the files of this package, by their paths below its folder."""
    folder = Path(kim_torchml.__file__).parent
    files = {
        str(path.relative_to(folder)): path
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    # Where the package is run from its sources, a build has put its compiled module elsewhere.
    spec = importlib.util.find_spec(_COMPILED)
    if spec is not None and spec.origin is not None:
        files[f"inputs/{Path(spec.origin).name}"] = Path(spec.origin)
    return sorted(files.items())


def _run(python: Path, arguments: Sequence[str], scratch: Path) -> int:
    """Run a program of an environment, with this process's stdout and stderr, and return its exit status.

    A signal that asks this process to end is passed on; where the program then says that it was ended, its exit status
    says so too, and nothing needs to be added.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    process: subprocess.Popen[bytes] | None = None
    try:
        with signals_held_back():
            process = subprocess.Popen(
                [str(python), "-I", *arguments], env=_variables(scratch), cwd=_empty(scratch), stdin=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
        status = process.wait()
    except BaseException as error:
        if process is None:
            raise
        number = error.number if isinstance(error, Interrupted) else signal.SIGTERM
        with signals_held_back():
            with suppress(subprocess.TimeoutExpired, ProcessLookupError):
                process.send_signal(number)
                process.wait(_SECONDS_TO_END)
            end_process_group(process)
        if isinstance(error, Interrupted) and process.returncode == 128 + error.number:
            return process.returncode
        raise
    if status < 0:
        raise DriverError(
            f"converting failed, as {describe_exit(status)}; if memory may have run out (SIGKILL), use a machine with "
            "more of it"
        )
    return status


def _words(family: Family, asked: Asked, folder: Path, name: str) -> list[str]:
    """Return the arguments of `kim-torchml convert` for what is asked, wherever it runs."""
    given = {
        "--dtype": asked.dtype,
        "--head": asked.head,
        "--modal": asked.modal,
        "--format": asked.file_format,
        "--species-as": asked.species_as,
    }
    options = [word for option, value in given.items() if value is not None for word in (option, value)]
    source = str(asked.path.absolute()) if asked.path.exists() else asked.source
    trust = ["--trust"] if asked.trusts else []
    return [f"--output={folder.absolute()}", f"--name={name}", *options, *trust, "--", family.word, source]


def _variables(scratch: Path) -> dict[str, str]:
    """Return environment variables: nothing is imported from elsewhere, and temporary files go with a folder."""
    temporary = scratch / "temporary"
    temporary.mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return kept | {"PYTHONNOUSERSITE": "1", "PYTHONSAFEPATH": "1", "TMPDIR": str(temporary)}


def _empty(scratch: Path) -> Path:
    """Return an empty working directory."""
    folder = scratch / "empty"
    folder.mkdir(exist_ok=True)
    return folder


def _clear(folder: Path) -> None:
    """Empty the folder of an environment, and say in it that it is one.

    Raises:
        RequestError: If it holds something else.
    """
    if folder.is_dir() and any(folder.iterdir()) and not (folder / _MADE_OF).is_file():
        raise RequestError(
            f"the folder {folder} must be new, empty or an environment made by this, got other files; name another"
        )
    if folder.is_dir():
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != _MADE_OF:
                path.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _MADE_OF).write_text("")


def _digest_of_packages(isolation: Isolation) -> str:
    return _digest([sys.version.encode(), repr(isolation).encode()])


def _digest_of_code() -> str:
    return _digest(part for name, path in _code() for part in (name.encode(), path.read_bytes()))


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def _text(path: Path) -> str:
    return path.read_text() if path.is_file() else ""


def _dotted(version: Sequence[int]) -> str:
    return ".".join(map(str, version))
