# SPDX-License-Identifier: LGPL-2.1-or-later
"""A compute that failed, run again."""
