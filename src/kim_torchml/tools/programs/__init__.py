# SPDX-License-Identifier: LGPL-2.1-or-later
"""Starting, watching and ending other programs."""
