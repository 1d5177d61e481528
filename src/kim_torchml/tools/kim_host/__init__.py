# SPDX-License-Identifier: LGPL-2.1-or-later
"""A model run through kimpy, as a simulator would."""
