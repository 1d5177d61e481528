# SPDX-License-Identifier: LGPL-2.1-or-later
"""Model files as programs that can be called: one folder for each file format."""
