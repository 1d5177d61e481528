# SPDX-License-Identifier: LGPL-2.1-or-later
"""The stores of model files that this process searches."""

import os
from collections.abc import Mapping

from kim_torchml.errors import DriverError
from kim_torchml.model_files.store import Store
from kim_torchml.process import settings


def stores_of_process(environment: Mapping[str, str] = os.environ) -> list[Store]:
    """Return the stores that KIM_TORCHML_MODEL_PATH names, in its order, or else the user's own.

    There is none where nothing is named and the user has no home folder.
    """
    named = [Store(folder) for folder in settings.model_path(environment)]
    try:
        return named or [Store(settings.user_data_folder(environment) / "models", is_private=True)]
    except DriverError:
        # Most models need no store.
        return []
