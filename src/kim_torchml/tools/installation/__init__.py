# SPDX-License-Identifier: LGPL-2.1-or-later
"""Installing portable models into KIM's collections, and removing them."""
