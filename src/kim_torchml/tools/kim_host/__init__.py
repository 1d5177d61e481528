# SPDX-License-Identifier: LGPL-2.1-or-later
"""A KIM model that is run through kimpy, as a simulator runs it: the one way in which these tools do so.

`model` creates models and computes with them, `particles` makes KIM's particles of a structure, `outputs` and `units`
hold KIM's names. Needs kimpy and numpy.
"""
