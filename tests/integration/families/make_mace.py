# SPDX-License-Identifier: LGPL-2.1-or-later
"""Write small networks of MACE for tests, with weights that nobody has trained: run it where mace-torch is installed.

The same seed gives the same files. `large` has the size of published networks and is for measurements.
"""

import argparse
import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

# What mace-torch sets too, but only after parts of e3nn that need it may have been imported.
os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"

import numpy as np
import torch
from e3nn import o3
from mace import modules

_ELEMENTS = (1, 8, 11, 14, 17)
_LARGE_ELEMENTS = 89
# Energies of lone atoms, eV; one for each element of _ELEMENTS.
_LONE = (-1.1, -2.0, -0.2, -0.8, -0.3)
_SEED = 20
_LARGER = 20.0


def _network(
    kind: type[torch.nn.Module] = modules.ScaleShiftMACE, larger: float = _LARGER, **changes: Any
) -> torch.nn.Module:
    """Return a network of two layers, whose energies are larger than those of random weights by a factor."""
    torch.manual_seed(_SEED)
    numbers = changes.get("atomic_numbers", _ELEMENTS)
    asked = {
        "r_max": 4.5,
        "num_bessel": 8,
        "num_polynomial_cutoff": 5,
        "max_ell": 2,
        "interaction_cls": modules.RealAgnosticResidualInteractionBlock,
        "interaction_cls_first": modules.RealAgnosticResidualInteractionBlock,
        "num_interactions": 2,
        "num_elements": len(numbers),
        "hidden_irreps": o3.Irreps("16x0e + 16x1o"),
        "MLP_irreps": o3.Irreps("16x0e"),
        "atomic_energies": np.array(_LONE),
        "avg_num_neighbors": 20.0,
        "atomic_numbers": list(numbers),
        "correlation": 3,
        "gate": torch.nn.functional.silu,
    }
    if kind is modules.ScaleShiftMACE:
        asked |= {"atomic_inter_scale": 0.8, "atomic_inter_shift": 0.1}
    network = kind(**{**asked, **changes})
    with torch.no_grad():
        # Forces of the size that trained networks have.
        network.readouts[0].linear.weight *= larger
        network.readouts[-1].linear_2.weight *= larger
    return network.eval()


def _small() -> torch.nn.Module:
    return _network(pair_repulsion=True)


def _heads() -> torch.nn.Module:
    shifted = np.array([_LONE, [each - 0.3 for each in _LONE]])
    return _network(
        heads=["pbe", "r2scan"], atomic_energies=shifted, atomic_inter_scale=[0.8, 0.9], atomic_inter_shift=[0.1, -0.2]
    )


def _density() -> torch.nn.Module:
    return _network(
        larger=1.0,
        interaction_cls=modules.RealAgnosticDensityResidualInteractionBlock,
        interaction_cls_first=modules.RealAgnosticDensityInteractionBlock,
        pair_repulsion=True,
        distance_transform="Agnesi",
    )


def _plain() -> torch.nn.Module:
    return _network(modules.MACE, interaction_cls_first=modules.RealAgnosticInteractionBlock)


def _nonlinear() -> torch.nn.Module:
    """Return a network built as the multi-head foundation models are."""
    return _network(
        larger=1.0,
        interaction_cls=modules.RealAgnosticResidualNonLinearInteractionBlock,
        interaction_cls_first=modules.RealAgnosticResidualNonLinearInteractionBlock,
        readout_cls=modules.NonLinearBiasReadoutBlock,
        use_agnostic_product=True,
        apply_cutoff=False,
        pair_repulsion=True,
        distance_transform="Agnesi",
        edge_irreps=o3.Irreps("8x0e + 8x1o"),
        use_edge_irreps_first=True,
        heads=["omat", "spice"],
        atomic_energies=np.array([_LONE, _LONE]),
        atomic_inter_scale=[0.8, 0.9],
        atomic_inter_shift=[0.1, -0.2],
    )


def _charges() -> torch.nn.Module:
    """Return a network that needs charges, which cannot be converted."""
    return modules.EnergyDipolesMACE(
        r_max=4.5,
        num_bessel=8,
        num_polynomial_cutoff=5,
        max_ell=2,
        interaction_cls=modules.RealAgnosticResidualInteractionBlock,
        interaction_cls_first=modules.RealAgnosticResidualInteractionBlock,
        num_interactions=2,
        num_elements=len(_ELEMENTS),
        hidden_irreps=o3.Irreps("8x0e + 8x1o"),
        MLP_irreps=o3.Irreps("16x0e"),
        avg_num_neighbors=8.0,
        atomic_numbers=list(_ELEMENTS),
        correlation=2,
        gate=torch.nn.functional.silu,
        atomic_energies=np.array(_LONE),
    )


def _large() -> torch.nn.Module:
    return _network(
        r_max=5.0,
        max_ell=3,
        hidden_irreps=o3.Irreps("128x0e"),
        atomic_numbers=range(1, _LARGE_ELEMENTS + 1),
        atomic_energies=np.linspace(-1.0, -5.0, _LARGE_ELEMENTS),
        pair_repulsion=True,
    )


_MAKERS = {
    "small": (_small, torch.float32),
    "heads": (_heads, torch.float32),
    "density": (_density, torch.float32),
    "plain": (_plain, torch.float64),
    "nonlinear": (_nonlinear, torch.float32),
    "charges": (_charges, torch.float32),
    "large": (_large, torch.float32),
}
_TESTED = tuple(name for name in _MAKERS if name != "large")
# The one that the package also makes a file for LAMMPS of.
_FOR_LAMMPS = "small"


def _write(name: str, folder: Path) -> Path:
    maker, dtype = _MAKERS[name]
    torch.set_default_dtype(dtype)
    path = folder / f"{name}.model"
    torch.save(maker(), path)
    return path


def _for_lammps(path: Path) -> None:
    """Write PATH-lammps.pt as the package's own command does."""
    dtype = str(next(torch.load(path, weights_only=False).parameters()).dtype).removeprefix("torch.")
    command = Path(sys.executable).with_name("mace_create_lammps_model")
    subprocess.run([sys.executable, command, path, "--dtype", dtype], check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    """Write the networks that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(_MAKERS)}; all that tests use if there are none")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    asked.folder.mkdir(parents=True, exist_ok=True)
    for name in asked.names or _TESTED:
        path = _write(name, asked.folder)
        if name == _FOR_LAMMPS:
            _for_lammps(path)


if __name__ == "__main__":
    main()
