# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finding out what is installed in KIM's collections."""
