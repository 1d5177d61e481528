# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finding out all that can be known of a model."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from kim_torchml.driver import open_model
from kim_torchml.driver.opened_models import OpenedModel, open_files
from kim_torchml.driver.output_shapes import OUTPUT_NAMES
from kim_torchml.driver.stores import stores_of_process
from kim_torchml.engines import UNCOMPILED, prepared
from kim_torchml.engines.facts import type_word
from kim_torchml.errors import DriverError
from kim_torchml.inputs import FILE_FORMATS
from kim_torchml.model_files.model_folder import PARAMETER_SUFFIX, ModelFolder, read_model_folder
from kim_torchml.model_files.model_toml import MODEL_TOML
from kim_torchml.model_files.parameter_file import ElementsMap
from kim_torchml.model_files.store import digest_of
from kim_torchml.process import settings
from kim_torchml.process.device import choose_device
from kim_torchml.process.rank import find_rank
from kim_torchml.tools.installation.driver_of_model import driver_of_model
from kim_torchml.tools.kim_collections.cmake_lists import ModelItem, read_model_item
from kim_torchml.tools.kim_collections.kim_api import KimApi
from kim_torchml.tools.kim_collections.libraries import unpack_model
from kim_torchml.tools.model_info.citation import bibtex
from kim_torchml.tools.model_info.facts import DriverFacts, FileFacts, ModelFacts, OpenedFacts, ParameterFacts
from kim_torchml.tools.model_info.program import describe_model_file
from kim_torchml.tools.model_info.target import ModelTarget
from kim_torchml.tools.programs.temporary_folder import temporary_folder


def describe(word: str, target: ModelTarget, environment: Mapping[str, str], say: Callable[[str], None]) -> ModelFacts:
    """Return all that can be known of a model.

    Args:
        word: What the user asked for.
        target: What that stands for.
        environment: Environment variables, for the process that reads a library.
        say: Is called with what is being done.
    Raises:
        DriverError: If its files cannot be read, or say something wrong.
    """
    if target.item is not None:
        with temporary_folder("kim-torchml-info-") as folder:
            say(f"reading the library of {target.item.name}")
            library = unpack_model(target.item, folder, environment)
            item = ModelItem(target.item.name, library.driver, library.files)
            if not any(name == MODEL_TOML or name.endswith(PARAMETER_SUFFIX) for name in item.files):
                raise DriverError(
                    f"the installed model {item.name} must be one of kim-torchml, got one for "
                    f"{f'the driver {item.driver}' if item.driver else 'no driver'}; name another model"
                )
            facts = _describe_folder(folder, item, "library", target.kim_api, say)
        return replace(
            facts,
            target=word,
            what="installed model",
            folder=str(target.path),
            collection=target.item.where,
        )
    if not target.path.is_dir():
        return describe_model_file(word, target.path)
    facts = _describe_folder(target.path, read_model_item(target.path), "folder", target.kim_api, say)
    return replace(facts, target=word, what="folder", folder=str(target.path.absolute()))


def _describe_folder(
    folder: Path, item: ModelItem, where: str, kim_api: KimApi | None, say: Callable[[str], None]
) -> ModelFacts:
    """Describe the parameter files that lie in a folder."""
    stores = stores_of_process()
    elements_map = ElementsMap(settings.wants_atomic_numbers(), settings.ELEMENTS_MAP)
    files = read_model_folder(folder, item.files, FILE_FORMATS, elements_map, stores)
    description = files.description
    found = tuple(
        FileFacts(
            name, len(content), digest_of(content), where, str(folder.absolute() / name) if where == "folder" else ""
        )
        for name, content in files.contents
    )
    model_file = next((each for each in found if each.name == description.model_file), None) or _in_store(files)
    say(f"opening {description.model_file}")
    opened, problem = None, ""
    try:
        opened = _open(folder, item, elements_map)
    except DriverError as error:
        problem = str(error)
    return ModelFacts(
        target="",
        what="",
        name=item.name,
        driver=_driver(kim_api, item.driver),
        description=description,
        model_file=model_file,
        files=found,
        opened=opened,
        problem=problem,
        bibtex=bibtex(description.about, item.name),
    )


def _in_store(files: ModelFolder) -> FileFacts:
    """Return where the model file is that a store has."""
    digest = files.description.sha256 or ""
    return FileFacts(files.description.model_file, len(files.program), digest, "store", str(files.stored_path))


def _open(folder: Path, item: ModelItem, elements_map: ElementsMap) -> OpenedFacts:
    model = open_model(str(folder), item.files)
    outputs = model.prepare()
    # The same files have been opened: this gives the program that is held already.
    device = choose_device(settings.execution_device(), find_rank())
    held = open_files(folder, item.files, device, elements_map, stores_of_process())
    program = held.program
    return OpenedFacts(
        dtype=type_word(program.dtype),
        influence_distance=model.influence_distance,
        needs_noncontributing_neighbours=model.needs_noncontributing_neighbours,
        outputs=tuple(name for name in OUTPUT_NAMES if name in outputs),
        parameters=tuple(
            ParameterFacts(each.name, len(each.values), str(each.values.dtype), each.description)
            for each in model.parameters
        ),
        arguments=tuple(program.argument_names()),
        compiled=_compiled(held),
    )


def _compiled(model: OpenedModel) -> str:
    """Return whether a compiled program for this machine is in the cache, and runs; nothing where none can be."""
    if not model.how:
        return ""
    how, advice, remark = model.how, model.advice, ""
    if settings.compile_word() == settings.NEVER:
        description, content = model.files.description, model.files.program
        choice = prepared(
            model.program, content, model.inputs.signature, description.model_file, settings.CACHED, lambda _: None
        )
        how, advice = choice.how, choice.advice
        remark = f"; simulators do not use it, as {settings.COMPILE} is {settings.NEVER}"
    if how == UNCOMPILED:
        return f"no: {advice.removeprefix(f'{model.files.description.model_file} runs {UNCOMPILED}: ')}"
    return f"in the cache for {model.device}: {how}{remark}"


def _driver(kim_api: KimApi | None, name: str) -> DriverFacts:
    if kim_api is None:
        return DriverFacts(name, None, False, "", "", "there is no KIM-API here to ask whether it is installed")
    driver = driver_of_model(kim_api, name)
    return DriverFacts(
        name=name,
        installed=driver.item is not None,
        is_kim_torchml=driver.ours is not None,
        version=driver.ours.version if driver.ours else "",
        collection=driver.item.where if driver.item else "",
        state=driver.state,
    )
