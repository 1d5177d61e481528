# SPDX-License-Identifier: LGPL-2.1-or-later
"""A model's CMakeLists.txt, written."""

import json
from collections.abc import Sequence

_TEXT = """\
cmake_minimum_required(VERSION 3.10)

list(APPEND CMAKE_PREFIX_PATH $ENV{{KIM_API_CMAKE_PREFIX_DIR}})
find_package(KIM-API-ITEMS 2.2 REQUIRED CONFIG)

kim_api_items_setup_before_project(ITEM_TYPE "portableModel")
project({name})
kim_api_items_setup_after_project(ITEM_TYPE "portableModel")

add_kim_api_model_library(
  NAME            ${{PROJECT_NAME}}
  DRIVER_NAME     "{driver}"
  PARAMETER_FILES {files}
  )
"""


def cmake_lists_text(name: str, driver: str, files: Sequence[str]) -> str:
    """Return the text for a model.

    Args:
        name: KIM id of the model.
        driver: KIM id of its driver.
        files: Names of the files that KIM hands to the driver.
    """
    return _TEXT.format(name=name, driver=driver, files=" ".join(map(json.dumps, files)))
