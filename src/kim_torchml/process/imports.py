# SPDX-License-Identifier: LGPL-2.1-or-later
"""Importing torch and numpy, and finding out what keeps them from being imported; nothing here needs either.

Clusters set PYTHONPATH for a Python of their own, and torch reads variables that can break its import: then advice to
install torch, which is there, would not help.
"""

import importlib
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path

from kim_torchml.errors import DriverError, shortened
from kim_torchml.process import settings
from kim_torchml.process.signal_handlers import signal_handlers_kept

# Each with a name that it holds: another module of its name, an empty one say, may come first on PYTHONPATH.
_SIGNS = {"torch": "Tensor", "numpy": "ndarray"}
NEEDED = tuple(_SIGNS)

PYTHON_PATH = "PYTHONPATH"
_THIS_PACKAGE = Path(__file__).parents[1]
_PREFIXES_OF_TORCH = ("TORCH", "PYTORCH", "ATEN_")
# Those whose values can make the import raise an error. Of others, such as TORCH_HOME and TORCH_CUDA_ARCH_LIST, which
# clusters and images set, torch reads nothing on import, or takes any value.
_MAY_BREAK_TORCH = (
    *("PYTORCH_JIT", "PYTORCH_MATCHER_LOGLEVEL", "TORCHDYNAMO_TRANSLATION_VALIDATION_TIMEOUT"),
    *("TORCH_DISTRIBUTED_DEBUG", "TORCH_LOGS", "TORCH_LOGS_FORMAT", "TORCH_LOGS_OUT"),
    *("TORCH_PYTHON_NATIVE_USER_GRAPH_ORDER_FN", "TORCH_USE_RTLD_GLOBAL"),
)


def import_needed_packages() -> None:
    """Import what the driver needs beside the standard library.

    Raises:
        DriverError: If one cannot be imported. The message names the environment variable that is to blame, if one is.
    """
    for name, sign in _SIGNS.items():
        # Looking after signal handlers takes memory and time, and simulators create models again and again.
        if hasattr(sys.modules.get(name), sign):
            continue
        try:
            with signal_handlers_kept():
                module = importlib.import_module(name)
            getattr(module, sign)
        except (Exception, SystemExit) as error:  # a broken package may raise anything
            reason = shortened(str(error) or type(error).__name__)
            raise DriverError(
                f"{name} cannot be imported ({reason}) in the Python environment of this process ({sys.prefix}); "
                f"{_advice(name, error)}"
            ) from error


def _advice(name: str, error: BaseException) -> str:
    files = (*_files_of(error), *_files_of_others())
    folder = next((item for file in files for item in _python_path() if _lies_in(file, item)), None)
    if folder is not None:
        return _advice_on_python_path(name, folder)
    elsewhere = (
        f"name the python of an environment that has it in {settings.PYTHON} (where the simulator is itself a Python "
        "program, run it in such an environment)"
    )
    if not _is_there(name, error):
        return f"install it there, or {elsewhere}"
    mend = f"{name} is installed there: reinstall it (or mend what the reason names), or {elsewhere}"
    names = [each for each in _MAY_BREAK_TORCH if each in os.environ] if name == "torch" else []
    if not names:
        return mend
    values = ", ".join(f"{each}='{shortened(os.environ[each], 60)}'" for each in names)
    return f"the cause may be an environment variable ({values}): unset it; if that does not help, {mend}"


def _advice_on_python_path(name: str, folder: str) -> str:
    blamed = f"the module that failed came from {folder}, which the environment variable PYTHONPATH names"
    this = f"{sys.version_info.major}.{sys.version_info.minor}"
    other = re.search(r"python(\d\.\d+)", folder)
    if other is not None and other.group(1) != this:
        return f"{blamed} and which belongs to Python {other.group(1)}, but this is Python {this}: unset PYTHONPATH"
    return (
        f"{blamed}: unset PYTHONPATH if that folder was made for another Python than {this}, otherwise repair {name} "
        "there"
    )


def variables_of_torch(environment: Iterable[str]) -> list[str]:
    """Return the names of those environment variables that torch may read."""
    return sorted(name for name in environment if name.startswith(_PREFIXES_OF_TORCH))


def _files_of(error: BaseException) -> Iterator[str]:
    """Yield the files that an import went through before it failed, the last first; those of this package aside."""
    seen: BaseException | None = error
    while seen is not None:
        frames = reversed(traceback.extract_tb(seen.__traceback__))
        named = (
            [seen.path] if isinstance(seen, ImportError) else [seen.filename] if isinstance(seen, SyntaxError) else []
        )
        files = [*named, *(frame.filename for frame in frames)]
        yield from (file for file in files if file and file[0] != "<" and not _lies_in(file, _THIS_PACKAGE))
        seen = seen.__cause__ or seen.__context__


def _files_of_others() -> Iterator[str]:
    """Yield the files of modules that have the name of a needed package and are something else."""
    for name, sign in _SIGNS.items():
        module = sys.modules.get(name)
        file = getattr(module, "__file__", None)
        if file is not None and not hasattr(module, sign):
            yield file


def _python_path() -> list[str]:
    return [item for item in os.environ.get(PYTHON_PATH, "").split(os.pathsep) if item]


def _lies_in(file: str, folder: str | Path) -> bool:
    return Path(file).absolute().is_relative_to(Path(folder).absolute())


def _is_there(name: str, error: BaseException) -> bool:
    """Return whether a package is installed, so that something else than its absence keeps it from being imported."""
    if isinstance(error, ModuleNotFoundError) and error.name == name:
        return False
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        # A host has put something else in its place.
        return False
    # A folder of that name alone has no origin.
    return spec is not None and spec.origin is not None
