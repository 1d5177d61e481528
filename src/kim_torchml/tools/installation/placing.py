# SPDX-License-Identifier: LGPL-2.1-or-later
"""Moving a built model to where a collection has it, so that there is always a whole model: the old or the new one."""

import os
import shlex
import shutil
from pathlib import Path

from kim_torchml.errors import DriverError
from kim_torchml.tools.kim_collections.libraries import MODEL_LIBRARY
from kim_torchml.tools.programs.temporary_folder import temporary_folder

_PREFIX = ".kim-torchml-"


def check_place(target: Path, collection: str) -> None:
    """Check that a model can be put where a collection is to have it, before it is built.

    Args:
        target: The model's folder in the collection; it need not be there.
        collection: The collection's word, for messages.
    Raises:
        DriverError: If the folder, or its parent, is no folder or cannot be written.
    """
    folder = target if target.is_dir() else target.parent
    if os.path.lexists(target) and not target.is_dir():
        raise DriverError(
            f"the model's folder in the {collection} collection must be a folder, got a file ({target}); remove it"
        )
    if not folder.is_dir():
        raise DriverError(
            f"the {collection} collection must have a folder for portable models, got '{folder}', which is none; make "
            f"it: mkdir -p {shlex.quote(str(folder))}"
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        advice = "use sudo, or " if collection == "system" else ""
        raise DriverError(
            f"the {collection} collection cannot be written: '{folder}' is not yours to write; {advice}choose another "
            "collection with --collection"
        )


def put_in_place(built: Path, target: Path) -> None:
    """Put a built model where a collection is to have it.

    A folder that is there keeps what else it holds, such as the model's sources in the collection CWD.

    Args:
        built: Folder that holds what is to be installed.
        target: The model's folder in the collection.
    Raises:
        DriverError: If it cannot be written; then an older model is as it was.
    """
    parent = target if target.is_dir() else target.parent
    try:
        with temporary_folder(_PREFIX, parent) as staging:
            new = Path(shutil.copytree(built, staging / built.name))
            if parent == target.parent:
                new.rename(target)
                return
            names = sorted((path.name for path in new.iterdir()), key=lambda name: name == MODEL_LIBRARY)
            for name in names:
                (new / name).replace(target / name)
    except OSError as error:
        raise DriverError(
            f"cannot write the model into {target}: {error.strerror or error}; make room there, or choose another "
            "collection with --collection"
        ) from error
