# SPDX-License-Identifier: LGPL-2.1-or-later
"""TorchScript interatomic potentials for any KIM simulator."""

__version__ = "0.1.0"
