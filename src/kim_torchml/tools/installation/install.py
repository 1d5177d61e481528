# SPDX-License-Identifier: LGPL-2.1-or-later
"""Installing a model: it is checked, built by KIM's manager, and put in the place of an older one."""

import shlex
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from kim_torchml.errors import DriverError
from kim_torchml.model_files.store import Store
from kim_torchml.process import settings
from kim_torchml.process.oldest_versions import is_older
from kim_torchml.tools.file_size import file_size
from kim_torchml.tools.installation.build import build_model
from kim_torchml.tools.installation.candidate import Candidate, copy_for_kim
from kim_torchml.tools.installation.driver_of_model import DriverOfModel, driver_of_model
from kim_torchml.tools.installation.placing import check_place, put_in_place
from kim_torchml.tools.kim_collections.kim_api import KimApi
from kim_torchml.tools.kim_collections.libraries import MODEL_LIBRARY
from kim_torchml.tools.kim_collections.usable_kim_api import folder_to_install_into
from kim_torchml.tools.model_store.keeping import kept_in_store
from kim_torchml.tools.programs.temporary_folder import temporary_folder
from kim_torchml.tools.request_error import RequestError

# Before this version KIM-API compiles every file of a model as source code: 4 MB take 20 s, 16 MB over a minute.
_FIRST_WITHOUT_ARRAYS = "2.4"
# Bytes of a model file beyond which it goes to the store by default.
LARGEST_COMPILED = 8_000_000


@dataclass(frozen=True)
class Installation:
    """A model that was installed.

    Attributes:
        name: KIM id of the model.
        folder: folder that it is installed in.
        replaced: whether it took the place of an older one.
        driver: its driver.
        stored: its model file in a store; None where KIM keeps it.
    """

    name: str
    folder: Path
    replaced: bool
    driver: DriverOfModel
    stored: Path | None


def install_model(
    candidate: Candidate,
    collection: str,
    kim_api: KimApi,
    stores: Sequence[Store],
    to_store: bool,
    say: Callable[[str], None],
) -> Installation:
    """Install a model in place of an older one, which stays if this fails.

    Args:
        candidate: The model.
        collection: One of the words in COLLECTIONS.
        kim_api: The KIM-API.
        stores: Stores of model files; the first takes the model file.
        to_store: Whether the model file goes to a store.
        say: Is called with what is being done.
    Raises:
        RequestError: If it cannot be installed there.
        DriverError: If something fails on the way.
    """
    name, files = candidate.item.name, candidate.files
    target, driver = check_can_install(name, candidate.item.driver, collection, kim_api)
    digest = files.description.sha256 or ""
    keeping = kept_in_store(stores, digest, files.program) if to_store else nullcontext()
    with keeping as stored, _scratch_folder() as scratch:
        source = copy_for_kim(candidate, scratch, to_store)
        say(f"KIM builds {name}")
        built = build_model(kim_api, source, driver, scratch)
        say(f"putting {name} in place")
        replaced = (target / MODEL_LIBRARY).exists()
        put_in_place(built, target)
    return Installation(name, target, replaced, driver, stored)


def check_can_install(name: str, driver_name: str, collection: str, kim_api: KimApi) -> tuple[Path, DriverOfModel]:
    """Check all that can be checked without a model's files.

    Args:
        name: KIM id of the model.
        driver_name: KIM id of its driver.
        collection: One of the words in COLLECTIONS.
        kim_api: The KIM-API.
    Returns:
        Folder that the model is to be installed in, and its driver.
    Raises:
        RequestError: If it cannot be installed there.
        DriverError: If its driver is not installed.
    """
    target = folder_to_install_into(kim_api, collection) / name
    _check_others(kim_api, name, collection)
    driver = driver_of_model(kim_api, driver_name)
    if driver.item is None:
        # KIM's manager would look for it in the web, and might install another program under that id.
        raise DriverError(f"the model {name} needs the driver {driver.name}, which is not installed; {driver.remedy}")
    check_place(target, collection)
    return target, driver


def goes_to_store(candidate: Candidate, wanted: bool | None, kim_api: KimApi) -> bool:
    """Return whether a model file is to go to the store.

    Args:
        candidate: The model.
        wanted: What the user has said; None leaves it to the file's size and KIM-API's version.
        kim_api: The KIM-API.
    Raises:
        RequestError: If what the user wants cannot be done.
    """
    description = candidate.files.description
    if description.in_store:
        if wanted is False:
            raise RequestError(
                f'{description.file_name} says where = "store", so that KIM cannot keep the model file; leave out '
                "--no-store"
            )
        return False
    if wanted and description.format == 1:
        raise RequestError(
            f"the model in {candidate.folder} has a parameter file ({description.file_name}), which cannot say that "
            f"its model file is in the store; run `kim-torchml upgrade {shlex.quote(str(candidate.folder))}` first"
        )
    return bool(_is_slow(candidate, kim_api) and description.format > 1) if wanted is None else wanted


def why_slow(candidate: Candidate, kim_api: KimApi) -> str:
    """Return why KIM will need minutes for a model whose file it keeps itself, or an empty string."""
    if not _is_slow(candidate, kim_api):
        return ""
    advice = "--store avoids that"
    if candidate.files.description.format == 1:
        advice = f"`kim-torchml upgrade {shlex.quote(str(candidate.folder))}` lets it go to the store instead"
    return (
        f"the model file has {file_size(len(candidate.files.program))}, which KIM-API {kim_api.version} compiles as "
        f"source code; that takes minutes and gigabytes; {advice}"
    )


def warnings_about(
    installed: Installation, candidate: Candidate, collection: str, stores: Sequence[Store]
) -> Iterator[str]:
    """Yield what may keep an installed model from running although it is no error."""
    driver = installed.driver
    if driver.ours is None:
        yield f"the driver {driver.name} is another program than kim-torchml, and may not run this model"
    in_store = installed.stored is not None or candidate.files.description.in_store
    if in_store and not stores[0].is_private:
        yield f"simulators find the model file only where {settings.MODEL_PATH} names its folder, as it does here"
    elif in_store and collection == "system":
        yield (
            f"the model file is in a store of your own ({stores[0].folder}): others who run this model need it in a "
            f"folder that {settings.MODEL_PATH} names"
        )


def _is_slow(candidate: Candidate, kim_api: KimApi) -> bool:
    is_old = bool(kim_api.version) and is_older(kim_api.version, _FIRST_WITHOUT_ARRAYS)
    # A file that is in a store already is nothing to KIM.
    return is_old and candidate.files.stored is None and len(candidate.files.program) > LARGEST_COMPILED


def _check_others(kim_api: KimApi, name: str, collection: str) -> None:
    """Check that no other item has the name of the model."""
    for item in kim_api.items("model_drivers"):
        if item.name == name:
            raise RequestError(
                f"a model must have another name than a driver, got {name} ({item.folder}); rename the model"
            )
    for item in kim_api.items("portable_models"):
        if item.name == name and item.where != collection:
            raise RequestError(
                f"{name} is installed in the {item.where} collection ({item.folder}), and KIM takes a name in one "
                f"collection only; say --collection {item.where} to replace it, or run `kim-torchml remove {name} "
                f"--collection {item.where}` first"
            )


@contextmanager
def _scratch_folder() -> Iterator[Path]:
    """Make a temporary folder that KIM's manager can work in, and remove it at the end."""
    with ExitStack() as stack:
        try:
            parent = tempfile.gettempdir()
            scratch = stack.enter_context(temporary_folder("kim-torchml-install-"))
        except OSError as error:
            raise DriverError(
                f"there is no temporary folder to work in: {error.strerror}; name one in TMPDIR"
            ) from error
        if any(letter.isspace() for letter in parent):
            raise RequestError(
                f"KIM needs a temporary folder without blanks in its path, got '{parent}'; name another one in TMPDIR"
            )
        yield scratch
