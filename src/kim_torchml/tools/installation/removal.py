# SPDX-License-Identifier: LGPL-2.1-or-later
"""Removing an installed model."""

from contextlib import suppress

from kim_torchml.errors import DriverError
from kim_torchml.tools.kim_collections.kim_api import Item
from kim_torchml.tools.kim_collections.libraries import MODEL_LIBRARY


def remove_model(item: Item) -> bool:
    """Remove an installed portable model: its library, and its folder if that is empty then.

    KIM's manager would remove the folder with all that it holds, in the collection CWD perhaps the model's sources.

    Returns:
        Whether the folder is gone too.
    Raises:
        DriverError: If it cannot be removed; then it is as it was.
    """
    try:
        (item.folder / MODEL_LIBRARY).unlink()
    except OSError as error:
        advice = "use sudo" if item.where == "system" else "give yourself the right to write there"
        raise DriverError(
            f"cannot remove the model {item.name} from {item.folder}: {error.strerror or error}; {advice}"
        ) from error
    with suppress(OSError):
        item.folder.rmdir()
    return not item.folder.exists()
