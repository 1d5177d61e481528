# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the user's variables do to models in simulators, which whoever compiles them should know."""

from kim_torchml.errors import DriverError
from kim_torchml.process import settings
from kim_torchml.process.device import choose_device
from kim_torchml.process.rank import find_rank


def why_no_model_opens() -> str:
    """Return why no simulator opens a model with the variables of this process, or an empty string."""
    try:
        settings.compile_word()
        choose_device(settings.execution_device(), find_rank())
    except DriverError as error:
        return str(error)
    return ""


def remarks_on_word() -> list[str]:
    """Return what is to be said of KIM_TORCHML_COMPILE to whoever compiles models, or looks at what was compiled."""
    try:
        word = settings.compile_word()
    except DriverError as error:
        return [f"warning: simulators open no model: {error}"]
    if word == settings.NEVER:
        return [f"note: {settings.COMPILE} is {settings.NEVER}: simulators do not use what is compiled"]
    return []
