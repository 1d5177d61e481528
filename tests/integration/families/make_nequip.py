# SPDX-License-Identifier: LGPL-2.1-or-later
"""Write small networks of NequIP and Allegro for tests: run it where nequip and nequip-allegro are installed.

The package's own commands train and package them, with the same seed each time, for two steps on numbers that mean
nothing. `large_nequip` and `large_allegro` have the size of networks that people train, and are for measurements.
"""

import argparse
import logging
import os
import shutil
import sys
import tempfile
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from hydra.core.global_hydra import GlobalHydra
from nequip.scripts import package, train
from omegaconf import OmegaConf

_ELEMENTS = ("H", "O", "Na", "Si", "Cl")
# Energies of lone atoms, eV, and the scale of the others.
_LONE, _SCALES = (-1.1, -2.0, -0.2, -0.8, -0.3), (2.0, 3.0, 2.5, 4.0, 3.5)
_CUTOFF = 4.5
_PLAIN, _AVERAGED = "nequip.train.NequIPLightningModule", "nequip.train.EMALightningModule"
_ZBL = {"_target_": "nequip.nn.pair_potential.ZBL", "units": "metal", "chemical_species": list(_ELEMENTS)}
# Å, by the elements at the centre and of the neighbour; what is left out has the cutoff of the network.
_OF_PAIRS = {"H": 2.5, "Na": {"Cl": 3.8, "Na": 4.2}, "Si": {"Si": 4.0, "O": 3.0}}
_BESSEL = {"_target_": "allegro.nn.TwoBodyBesselScalarEmbed", "num_bessels": 6}
_SPLINE = {"_target_": "allegro.nn.TwoBodySplineScalarEmbed", "num_splines": 10, "spline_span": 6}


def _network(builder: str, **changes: Any) -> dict[str, Any]:
    given = {
        "_target_": builder,
        "seed": 20,
        "model_dtype": "float32",
        "type_names": list(_ELEMENTS),
        "r_max": _CUTOFF,
        "l_max": 2,
        "num_layers": 2,
        "avg_num_neighbors": 20.0,
        "per_type_energy_scales": dict(zip(_ELEMENTS, _SCALES, strict=True)),
        "per_type_energy_shifts": dict(zip(_ELEMENTS, _LONE, strict=True)),
    }
    return given | changes


def _nequip(**changes: Any) -> dict[str, Any]:
    return _network("nequip.model.NequIPGNNModel", **{"num_features": 8, "radial_mlp_width": 16, **changes})


def _allegro(**changes: Any) -> dict[str, Any]:
    sizes = {"radial_chemical_embed": _BESSEL, "num_scalar_features": 16, "num_tensor_features": 4}
    return _network("allegro.model.AllegroModel", **{"model_dtype": "float64", **sizes, **changes})


def _modified() -> dict[str, Any]:
    """Return a network whose energies of lone atoms were changed, as for another level of theory."""
    network = _nequip(
        _target_="nequip.model.FullNequIPGNNModel", model_dtype="float64", per_edge_type_cutoff=_OF_PAIRS,
        irreps_edge_sh="1x0e+1x1o", type_embed_num_features=8, radial_mlp_depth=[1, 1], radial_mlp_width=[16, 16],
        feature_irreps_hidden=["8x0e+8x1o", "8x0e"], num_bessels=6, polynomial_cutoff_p=5,
        pair_potential=_ZBL,
    )  # fmt: skip
    for name in ("l_max", "num_layers", "num_features"):
        del network[name]
    shifts = {"modifier": "modify_PerTypeScaleShift", "shifts": {"Si": -4.0, "O": -1.5}}
    return {
        "_target_": "nequip.model.modify",
        "modifiers": [shifts, {"modifier": "enable_ForceStressOutput"}],
        "model": network,
    }


_MAKERS: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "small": (lambda: _nequip(pair_potential=_ZBL, avg_num_neighbors="${training_data_stats:num_neighbors_mean}"),
              _AVERAGED),
    "modified": (_modified, _PLAIN),
    "allegro": (_allegro, _PLAIN),
    "pairs": (lambda: _allegro(model_dtype="float32", radial_chemical_embed=_SPLINE, pair_potential=_ZBL,
                               per_edge_type_cutoff=_OF_PAIRS), _AVERAGED),
    "softplus": (lambda: _allegro(l_max=1, num_layers=1, per_edge_type_cutoff=_OF_PAIRS,
                                  scalar_embed_mlp_nonlinearity="softplus"), _PLAIN),
    "large_nequip": (lambda: _nequip(num_layers=4, num_features=32, radial_mlp_width=64, r_max=5.0, parity=False),
                     _PLAIN),
    "large_allegro": (lambda: _allegro(num_scalar_features=64, num_tensor_features=64, r_max=5.0), _PLAIN),
}  # fmt: skip
_TESTED = tuple(name for name in _MAKERS if not name.startswith("large"))
_PACKAGED = ("small",)


def _write_frames(path: Path) -> None:
    """Write configurations with energies and forces that mean nothing."""
    random = np.random.default_rng(4)
    frames = []
    for _ in range(4):
        places = np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)[:25] * 2.7
        places = places + random.normal(scale=0.2, size=(25, 3))
        atoms = Atoms(_ELEMENTS * 5, positions=places, cell=[8.1] * 3, pbc=True)
        forces = random.normal(size=(25, 3))
        atoms.calc = SinglePointCalculator(atoms, energy=float(random.normal(-25.0)), forces=forces)
        frames.append(atoms)
    write(path, frames)


def _configuration(network: dict[str, Any], training: str, folder: Path) -> dict[str, Any]:
    """Return what nequip-train takes."""
    coefficients = {"total_energy": 1.0, "forces": 1.0}
    loader = {"_target_": "torch.utils.data.DataLoader", "batch_size": 1}
    species = {"model_type_names": list(_ELEMENTS), "chemical_species_to_atom_type_map": {e: e for e in _ELEMENTS}}
    transforms = "nequip.data.transforms"
    return {
        "run": ["train"],
        "data": {
            "_target_": "nequip.data.datamodule.ASEDataModule",
            "seed": 1,
            "split_dataset": {"file_path": str(folder / "frames.xyz"), "train": 2, "val": 2},
            "transforms": [
                {"_target_": f"{transforms}.ChemicalSpeciesToAtomTypeMapper", **species},
                {"_target_": f"{transforms}.NeighborListTransform", "r_max": _CUTOFF},
            ],
            "train_dataloader": loader,
            "val_dataloader": loader,
            "stats_manager": {
                "_target_": "nequip.data.CommonDataStatisticsManager",
                "dataloader_kwargs": {"batch_size": 2},
                "type_names": list(_ELEMENTS),
            },
        },
        "trainer": {
            "_target_": "lightning.Trainer",
            "accelerator": "cpu",
            "max_epochs": 1,
            "logger": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "default_root_dir": str(folder),
            "callbacks": [
                {"_target_": "lightning.pytorch.callbacks.ModelCheckpoint", "dirpath": str(folder), "filename": "best"}
            ],
        },
        "training_module": {
            "_target_": training,
            **({"ema_decay": 0.5} if training == _AVERAGED else {}),
            "loss": {"_target_": "nequip.train.EnergyForceLoss", "per_atom_energy": True, "coeffs": coefficients},
            "val_metrics": {"_target_": "nequip.train.EnergyForceMetrics", "coeffs": {"forces_mae": 1.0}},
            "optimizer": {"_target_": "torch.optim.Adam", "lr": 0.003},
            "model": network,
        },
    }


def _train(name: str, output: Path) -> Path:
    """Write NAME.ckpt as nequip-train writes it."""
    maker, training = _MAKERS[name]
    path = output / f"{name}.ckpt"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _write_frames(folder / "frames.xyz")
        (folder / "small.yaml").write_text(yaml.dump(_configuration(maker(), training, folder)))
        places = [f"hydra.run.dir={folder}", "hydra.output_subdir=null", "hydra/job_logging=disabled"]
        # The command takes what it is to do from there, and is made to run once in a process.
        sys.argv = ["nequip-train", "-cp", str(folder), "-cn", "small", *places]
        GlobalHydra.instance().clear()
        OmegaConf.clear_resolver("training_data_stats")
        train.main()
        shutil.copyfile(folder / "best.ckpt", path)
        if name in _PACKAGED:
            # The package takes an example out of the training data.
            package.main(["build", str(path), str(output / f"{name}.nequip.zip")])
    return path


def main() -> None:
    """Write the networks that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(_MAKERS)}; all that tests use if there are none")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    asked.folder.mkdir(parents=True, exist_ok=True)
    os.environ["HYDRA_FULL_ERROR"] = "1"
    # It makes an accelerator known that tests do not have, and needs one more package for it.
    sys.modules["nequip.utils.xpu"] = types.ModuleType("nequip.utils.xpu")
    for name in asked.names or _TESTED:
        _train(name, asked.folder.absolute())


if __name__ == "__main__":
    main()
