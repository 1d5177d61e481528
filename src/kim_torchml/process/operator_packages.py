# SPDX-License-Identifier: LGPL-2.1-or-later
"""The packages whose operators models may name; the driver imports them, and the doctor looks whether that works.

Nothing here needs torch, because a broken torch may end the process that imports it.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class OperatorPackage:
    """A package that operators come from.

    Attributes:
        module: name that it is imported by.
        distribution: name that pip knows it by.
        requirements: what to give to pip to install it, what it needs first and itself last.
        has_stand_ins: whether operators in pure torch stand in where it is not installed.
    """

    module: str
    distribution: str
    requirements: tuple[str, ...]
    has_stand_ins: bool = False


_PYG_LIB = "git+https://github.com/pyg-team/pyg-lib.git"

# The packages by the namespaces of their operators.
OPERATOR_PACKAGES = {
    "torch_scatter": OperatorPackage("torch_scatter", "torch-scatter", ("torch-scatter",), has_stand_ins=True),
    "torch_sparse": OperatorPackage(
        "torch_sparse", "torch-sparse", ("torch-scatter", "torch-sparse"), has_stand_ins=True
    ),
    "torch_cluster": OperatorPackage("torch_cluster", "torch-cluster", ("torch-cluster",)),
    "torch_spline_conv": OperatorPackage("torch_spline_conv", "torch-spline-conv", ("torch-spline-conv",)),
    "pyg": OperatorPackage("pyg_lib", "pyg-lib", (_PYG_LIB,)),
}
