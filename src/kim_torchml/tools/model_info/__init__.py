# SPDX-License-Identifier: LGPL-2.1-or-later
"""All that a model says of itself, and what opening it as the driver does shows; KIM is not needed for that."""
