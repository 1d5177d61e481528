# SPDX-License-Identifier: LGPL-2.1-or-later
"""The one exception that users of the driver see."""


class DriverError(Exception):
    """Something the user can put right; its one string says what is wrong and what to do."""

    # The shim, which cannot import this class for another version of the package, knows it by this name.
    is_kim_torchml_error = True
