# SPDX-License-Identifier: LGPL-2.1-or-later
"""ANI: the ensemble ANI-1x, which the wheel of the package torchani holds as numbers and text.

The package's own way to load it looks for a list of files that is empty in the wheel. The readers for the files
themselves work: none of them unpickles.
"""

import importlib.metadata
import importlib.util
import math
from pathlib import Path
from typing import Any

import torch

from kim_torchml.errors import DriverError
from kim_torchml.tools.convert.ani_network import AniEdges, AniEnsemble, AniSymmetryFunctions
from kim_torchml.tools.convert.default_dtype import default_dtype
from kim_torchml.tools.convert.family import (
    ASE_PACKAGE,
    DOUBLE,
    Asked,
    Closeness,
    Family,
    FamilyPackage,
    Isolation,
    Measured,
    Potential,
)
from kim_torchml.tools.convert.network_checks import check_runs
from kim_torchml.tools.convert.pins import ASE, COMMAND, TORCH, TORCH_ON_GPUS
from kim_torchml.tools.convert.source_file import damaged
from kim_torchml.tools.request_error import RequestError, did_you_mean

_SINGLE = Closeness(2e-6, 2e-4, 2e-6)
_NAME = "1x"
# Their folders in the wheel have files of no bytes.
_EMPTY = ("1ccx", "2x")
_FOLDER, _MEMBERS = "ani-1x_8x", 8
_CONSTANTS, _SELF_ENERGIES = "rHCNO-5.2R_16-3.5A_a4-8.params", "sae_linfit.dat"
# The package imports pkg_resources, which newer versions of setuptools do not have.
_SETUPTOOLS = "81.0.0"
_PINNED = (
    *("torchani==2.2.4", f"setuptools=={_SETUPTOOLS}", "certifi==2026.10.19.post1", "charset-normalizer==3.5.3"),
    *("idna==3.20", "importlib-metadata==10.2.0", "lark-parser==0.12.0", "lazy-importer==0.1.0", "requests==2.34.2"),
    *("scipy==1.17.1", "urllib3==2.8.0", "zipp==4.1.2"),
)
# Source: the package torchani 2.2.4 (title, level of theory, papers, licence), and the paper (authors).
_ABOUT: dict[str, Any] = {
    "title": "ANI-1x",
    "authors": ["Justin S. Smith", "Ben Nebgen", "Nicholas Lubbers", "Olexandr Isayev", "Adrian E. Roitberg"],
    "doi": "10.1063/1.5023802",
    "licence": "MIT",
    "description": "Mean of an ensemble of 8 networks for organic molecules of H, C, N and O, with the self energies "
    "of atoms; the package is described in 10.1021/acs.jcim.0c00451",
    "trained_on": "ANI-1x data set, wB97X/6-31G(d)",
}


class Ani(Family):
    """Networks of the package torchani."""

    word = "ani"
    title = "ANI"
    sources = (f"a name of the wheel: {_NAME}",)
    packages = (
        FamilyPackage("torchani", "torchani", "2.2.4"),
        FamilyPackage("setuptools", "pkg_resources", _SETUPTOOLS),
        ASE_PACKAGE,
    )
    measured = (Measured("ANI-1x, float32 (crystals: 1e-5 eV/atom)", _SINGLE, (2.46, 3.96)),)
    isolation = Isolation(
        pinned=(*(each for each in TORCH if not each.startswith("setuptools==")), *COMMAND, *_PINNED),
        alone=(ASE,),
        if_needed=TORCH_ON_GPUS,
    )

    def look(self, asked: Asked) -> str:
        """Look at a source; see Family."""
        for option, value in (("--head", asked.head), ("--modal", asked.modal)):
            if value is not None:
                raise RequestError(f"`{option}` is for networks of other families, got '{value}'; leave it out")
        name = asked.source.lower().removeprefix("ani").removeprefix("-").removesuffix("_8x")
        if name == _NAME:
            return ""
        if name in _EMPTY:
            raise RequestError(
                f"the networks of ANI-{name} are in no wheel: torchani 2.2.4 has empty files in their place; {_NAME} "
                "can be converted"
            )
        if asked.path.exists():
            raise RequestError(
                f"`source` must be {_NAME}, the name of the networks in torchani's wheel, got the file {asked.path}; "
                "name the family that the file is of, or see `kim-torchml package` for a network of your own"
            )
        raise RequestError(
            f"`source` must be {_NAME}, the name of the networks in torchani's wheel, got '{asked.source}'"
            f"{did_you_mean(asked.source, (_NAME,))}; correct it"
        )

    def load(self, asked: Asked) -> Potential:
        """Return the network of the wheel; see Family."""
        folder = _place()
        dtype = getattr(torch, asked.dtype or "float32")
        with damaged(folder, "the ensemble ANI-1x"), default_dtype(torch.float32):
            from ase.data import atomic_numbers

            # The package's own numbers are of single precision, also where it computes in double precision.
            network = _ensemble(folder)
            if dtype == torch.float64:
                network.double()
            module = _edges(network).eval()
            numbers = tuple(atomic_numbers[each] for each in network.species)
        check_runs(module, dtype, "torchani")
        return Potential(
            module=module,
            atomic_numbers=numbers,
            cutoff=network.aev_computer.Rcr,
            layers=1,
            dtype=dtype,
            calculator=network.ase,
            closeness=DOUBLE if dtype == torch.float64 else _SINGLE,
            script=torch.jit.script,
            about=_ABOUT,
            made_with={"torchani": importlib.metadata.version("torchani")},
            notes=(
                f"its energies are the mean of {_MEMBERS} networks; by how much these differ, which tells where they "
                "were not trained, is not part of the model",
            ),
        )


def _place() -> Path:
    """Return the folder of the networks in the installed package.

    Raises:
        DriverError: If it does not hold them.
    """
    spec = importlib.util.find_spec("torchani")
    places = [] if spec is None else [Path(each) for each in spec.submodule_search_locations or ()]
    for each in places:
        folder = each / "resources" / _FOLDER
        if (folder / _CONSTANTS).is_file():
            return folder
    raise DriverError(
        f"torchani must hold the files of ANI-1x, got torchani {importlib.metadata.version('torchani')}, which does "
        "not; install torchani==2.2.4"
    )


def _ensemble(folder: Path) -> Any:
    """Return the package's own ensemble, in single precision."""
    import torchani

    constants = torchani.neurochem.Constants(str(folder / _CONSTANTS))
    shifter, self_energies = torchani.neurochem.load_sae(str(folder / _SELF_ENERGIES), return_dict=True)
    networks = torchani.neurochem.load_model_ensemble(constants.species, str(folder / "train"), _MEMBERS)
    return torchani.models.BuiltinEnsemble(
        torchani.SpeciesConverter(constants.species), torchani.AEVComputer(**constants), networks, shifter,
        constants.species_to_tensor, constants, self_energies, periodic_table_index=False,
    ).eval()  # fmt: skip


def _edges(network: Any) -> AniEdges:
    """Return the package's ensemble as a network of the kind edges."""
    from ase.units import Hartree

    computer = network.aev_computer
    # The package raises the term of an angle to this power.
    squarings = round(math.log2(float(computer.Zeta)))
    if 2**squarings != float(computer.Zeta):
        raise DriverError(f"the exponent zeta must be a power of 2, got {float(computer.Zeta)}; it cannot be converted")
    distances, angular_distances, angles = (
        each.detach().clone().reshape(-1) for each in (computer.ShfR, computer.ShfA, computer.ShfZ)
    )
    functions = AniSymmetryFunctions(
        (computer.Rcr, computer.Rca), (float(computer.EtaR), float(computer.EtaA)), squarings,
        distances, angular_distances, angles, computer.triu_index.clone(),
    )  # fmt: skip
    ensembles = [
        AniEnsemble([[layer for layer in member[symbol] if isinstance(layer, torch.nn.Linear)] for member in
                     network.neural_networks])
        for symbol in network.species
    ]  # fmt: skip
    return AniEdges(functions, ensembles, network.energy_shifter.self_energies.double(), float(Hartree))
