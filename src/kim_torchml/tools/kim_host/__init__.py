# SPDX-License-Identifier: LGPL-2.1-or-later
"""A KIM model that is run through kimpy, as a simulator runs it; all tools run models through this code.

`model` creates models and computes with them, `particles` makes KIM's particles of a `structure`, and `units` holds
KIM's units. This needs kimpy and numpy.
"""
