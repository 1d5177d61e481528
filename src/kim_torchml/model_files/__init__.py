# SPDX-License-Identifier: LGPL-2.1-or-later
"""A model's folder: its files read into one description, and checked."""
