# SPDX-License-Identifier: LGPL-2.1-or-later
"""Write small networks of CHGNet for tests, with weights that nobody has trained: run it where chgnet is installed.

They are what the wheel's weights are not: of two or three layers, with other normalisations, wider or fewer parts. The
same seed gives the same files, which the package's Trainer writes.
"""

import argparse
import contextlib
import io
from pathlib import Path
from typing import Any

import torch

from kim_torchml.tools.convert.chgnet_package import import_package

_SEED = 22
# Forces of the size that trained networks have.
_LARGER = 20.0
_SMALL = {
    **{f"{part}_fea_dim": 16 for part in ("atom", "bond", "angle")},
    "atom_conv_hidden_dim": 16,
    "bond_conv_hidden_dim": 16,
    "num_radial": 7,
    "num_angular": 5,
    "n_conv": 2,
    "mlp_hidden_dims": (16, 16),
    "atom_graph_cutoff": 4.5,
    "bond_graph_cutoff": 3,
}
_NETWORKS: dict[str, dict[str, Any]] = {
    "small": {},
    # Each of these has parts that the others do not have.
    "layers": {
        "n_conv": 3,
        "conv_norm": "layer",
        "gMLP_norm": "batch",
        "readout_norm": None,
        "atom_conv_hidden_dim": (12, 20),
        "angle_layer_hidden_dim": 8,
        "composition_model": "MP-r2SCAN",
        "learnable_rbf": False,
        "final_mlp": "gated",
        "mlp_hidden_dims": [16, 16],
        "non_linearity": "tanh",
    },
    "biased": {"n_conv": 3, "mlp_out_bias": True, "gMLP_norm": None, "update_angle": False, "composition_model": None},
    "no_bonds": {"update_bond": False, "cutoff_coeff": 5, "bond_fea_dim": 12, "is_intensive": False,
                 "composition_model": None},
    # These cannot be converted.
    "averaged": {"mlp_first": False},
    "extensive": {"is_intensive": False},
}  # fmt: skip


def _write(path: Path, changes: dict[str, Any]) -> None:
    package = import_package()
    from chgnet.trainer import Trainer

    torch.manual_seed(_SEED)
    network = package.CHGNet(**{**_SMALL, **changes})
    with torch.no_grad():
        readout = getattr(network.mlp, "layers", network.mlp)
        readout[-1].weight *= _LARGER
        for each in network.modules():
            if isinstance(each, torch.nn.BatchNorm1d | torch.nn.LayerNorm):
                each.weight.uniform_(0.8, 1.2)
                each.bias.uniform_(-0.2, 0.2)
            if isinstance(each, torch.nn.BatchNorm1d):
                each.running_mean.uniform_(-0.2, 0.2)
                each.running_var.uniform_(0.8, 1.2)
    Trainer(model=network, targets="efs", use_device="cpu").save(str(path))


def main() -> None:
    """Write the networks that are asked for, or all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*")
    asked = parser.parse_args()
    asked.folder.mkdir(exist_ok=True)
    with contextlib.redirect_stdout(io.StringIO()):
        for name in asked.names or _NETWORKS:
            _write(asked.folder / f"{name}.pth.tar", _NETWORKS[name])


if __name__ == "__main__":
    main()
