# SPDX-License-Identifier: LGPL-2.1-or-later
"""Behler and Parrinello's atom-centred symmetry functions."""
