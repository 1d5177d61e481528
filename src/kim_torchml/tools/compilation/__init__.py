# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compiling models for this machine before they are run, and looking after what was compiled."""
