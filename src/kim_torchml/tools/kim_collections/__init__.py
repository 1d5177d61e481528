# SPDX-License-Identifier: LGPL-2.1-or-later
"""KIM's collections: what is installed where."""
