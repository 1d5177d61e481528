# SPDX-License-Identifier: LGPL-2.1-or-later
"""Operators of packages, such as torch_scatter, that TorchScript files may name.

A model scripted where these packages were installed names their operators even if it never calls them, and does not
load without them. Where torch_scatter or torch_sparse is missing, pure-torch operators stand in.
"""

from kim_torchml.engines.torchscript.operators.registry import provide_operators

__all__ = ["provide_operators"]
