# SPDX-License-Identifier: LGPL-2.1-or-later
"""Descriptor files: one reader for each family's layout."""
