# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who started Python in this process: where a host did, process-wide settings are not the driver's to make."""

# Whether the driver started Python.
is_ours = False
