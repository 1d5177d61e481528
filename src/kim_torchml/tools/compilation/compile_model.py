# SPDX-License-Identifier: LGPL-2.1-or-later
"""From a model's folder, or an installed model, to native code in the user's cache."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from kim_torchml.driver.stores import stores_of_process
from kim_torchml.engines import CacheEntry, Progress, compiled_program, open_program
from kim_torchml.inputs import FILE_FORMATS, make_inputs
from kim_torchml.model_files.model_folder import PARAMETER_SUFFIX, ModelFolder, read_model_folder
from kim_torchml.model_files.model_toml import MODEL_TOML
from kim_torchml.model_files.parameter_file import ElementsMap
from kim_torchml.process import settings
from kim_torchml.process.device import choose_device
from kim_torchml.process.rank import find_rank
from kim_torchml.tools.compilation.environment_of_driver import python_elsewhere
from kim_torchml.tools.installation.driver_of_model import driver_of_model
from kim_torchml.tools.kim_collections.cmake_lists import read_model_item
from kim_torchml.tools.kim_collections.libraries import unpack_model
from kim_torchml.tools.model_info.target import ModelTarget
from kim_torchml.tools.programs.temporary_folder import temporary_folder
from kim_torchml.tools.request_error import RequestError

EXPORTED_SUFFIX = ".pt2"
# The one kind of input that programs of torch.export can have.
EDGES = "edges"


@dataclass(frozen=True)
class Compiled:
    """A model that is in the cache now.

    Attributes:
        name: KIM id of the model.
        device: device that it was compiled for.
        entry: the cache's entry.
        is_new: whether it was compiled just now.
        elsewhere: the Python of the model's driver, where that has another environment than this process.
    """

    name: str
    device: str
    entry: CacheEntry
    is_new: bool
    elsewhere: str = ""


def compile_model(
    target: ModelTarget,
    device: str,
    force: bool,
    environment: Mapping[str, str],
    say: Callable[[Progress], None],
    asked_in: str = settings.DEVICE,
) -> Compiled:
    """Compile a model for a device of this machine, unless that has been done.

    Args:
        target: A folder or an installed model.
        device: cpu, cuda or cuda:N.
        force: Whether to compile it anew.
        environment: Environment variables, for the process that reads a library.
        say: Is called with how far the work is.
        asked_in: Variable or option that the device comes from, for messages.
    Raises:
        RequestError: If it is a model that cannot be compiled by its format, or another driver's.
        DriverError: If it cannot be opened, or the cache cannot be used.
        NotCompiledError: If compiling fails.
    """
    with _files(target, environment) as (name, driver, files):
        compiled = compile_files(name, files, device, force, say, asked_in)
    if target.kim_api is None:
        return compiled
    return replace(compiled, elsewhere=python_elsewhere(driver_of_model(target.kim_api, driver)))


def can_be_compiled(files: ModelFolder) -> bool:
    """Return whether the format of a model's file allows that it is compiled."""
    return files.description.model_file.endswith(EXPORTED_SUFFIX)


def compile_files(
    name: str,
    files: ModelFolder,
    device: str,
    force: bool,
    say: Callable[[Progress], None],
    asked_in: str = settings.DEVICE,
) -> Compiled:
    """Compile a model of which the files have been read; see `compile_model`."""
    description = files.description
    if not can_be_compiled(files):
        raise RequestError(
            f"the model file must be a program of torch.export ({EXPORTED_SUFFIX}) to be compiled, got "
            f"{description.model_file}, TorchScript; {_how_to_export(description.kind.lower())}"
        )
    chosen, signature = choose_device(device, find_rank(), asked_in), make_inputs(files).signature
    program = open_program(files.program, description.model_file, chosen, signature)
    entry, is_new = compiled_program(program, files.program, signature, name, say, force)
    return Compiled(name, str(chosen), entry, is_new)


def _how_to_export(kind: str) -> str:
    """Return what an author can do so that a model of a kind can be compiled, if anything."""
    if kind == EDGES:
        return 'save it with file_format="pt2" in kim_torchml.save_model, which says what in its code is in the way'
    only = 'file_format="pt2" of kim_torchml.save_model is for models of the kind edges alone'
    return f"{only}, and this is one of {kind}"


@contextmanager
def _files(target: ModelTarget, environment: Mapping[str, str]) -> Iterator[tuple[str, str, ModelFolder]]:
    """Read the files of a model, which are there until the end; yield its KIM id, that of its driver, and the files."""
    elements_map = ElementsMap(settings.wants_atomic_numbers(), settings.ELEMENTS_MAP)

    def read(folder: Path, names: list[str] | tuple[str, ...]) -> ModelFolder:
        return read_model_folder(folder, names, FILE_FORMATS, elements_map, stores_of_process())

    if target.item is not None:
        with temporary_folder("kim-torchml-compile-") as folder:
            library = unpack_model(target.item, folder, environment)
            _check_driver(target, target.item.name, library.driver, library.files)
            yield target.item.name, library.driver, read(folder, tuple(library.files))
    elif target.path.is_dir():
        item = read_model_item(target.path)
        _check_driver(target, item.name, item.driver, item.files)
        yield item.name, item.driver, read(target.path, tuple(item.files))
    else:
        raise RequestError(f"name a model's folder or an installed model, got the file '{target.path}'")


def _check_driver(target: ModelTarget, name: str, driver: str, names: Sequence[str]) -> None:
    """Check that a model is one of kim-torchml, by its driver where that is installed, and else by its files."""
    installed = None if target.kim_api is None or not driver else driver_of_model(target.kim_api, driver)
    is_of_another = installed is not None and installed.item is not None and installed.ours is None
    if is_of_another or not any(each == MODEL_TOML or each.endswith(PARAMETER_SUFFIX) for each in names):
        raise RequestError(
            f"the model {name} must be one of kim-torchml to be compiled, got one for "
            f"{f'the driver {driver}' if driver else 'no driver'}; name another model"
        )
