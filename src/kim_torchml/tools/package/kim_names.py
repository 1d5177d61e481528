# SPDX-License-Identifier: LGPL-2.1-or-later
"""Names that KIM takes for its items."""

import re

from kim_torchml.errors import DriverError, shortened

_LONGEST = 200


def check_name(name: object, what: str) -> str:
    """Return a name that KIM takes.

    Args:
        name: The name.
        what: What it is called, for the message.
    Raises:
        DriverError: If KIM does not take it.
    Source:
        KIM-API, `add_kim_api_model_library`: item names must be valid C identifiers.
    """
    if isinstance(name, str) and len(name) > _LONGEST:
        raise DriverError(f"`{what}` must have at most {_LONGEST} letters, got {len(name)}; choose a shorter one")
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise DriverError(
            f"`{what}` must be a KIM id, letters, digits and underscores that begin with no digit, got "
            f"'{shortened(str(name), 60)}'; choose one such as MyNetwork_SiC"
        )
    return name
