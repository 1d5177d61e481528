# SPDX-License-Identifier: LGPL-2.1-or-later
"""MACE: `.model` files of the package mace-torch, and the `-lammps.pt` files that it makes for `pair_style mace`."""

import zipfile
from pathlib import Path

from kim_torchml.engines.torchscript.archive import inspect_archive
from kim_torchml.errors import DriverError
from kim_torchml.tools.convert.family import Asked, Family, FamilyPackage, Isolation, Measured, Potential, check_trusted
from kim_torchml.tools.convert.mace_edges import SINGLE
from kim_torchml.tools.convert.mace_weights import PUBLISHED_MACE
from kim_torchml.tools.convert.pins import ASE, COMMAND, E3NN, TORCH, TORCH_ON_GPUS
from kim_torchml.tools.convert.source_file import FileKind, SourceFile, look_at
from kim_torchml.tools.request_error import RequestError, did_you_mean

_WHAT = "a network of MACE"
# What is imported with the package's calculator beside e3nn, ASE and torch.
_PINNED = (
    *("e3nn==0.4.4", "contourpy==1.3.3", "cycler==0.12.1", "fonttools==4.68.0", "h5py==3.16.0", "kiwisolver==1.5.1"),
    *("lightning-utilities==0.15.3", "lmdb==3.0.0", "matplotlib==3.11.2", "matscipy==1.3.1", "orjson==3.13.0"),
    *("pandas==3.1.1", "pillow==13.0.0", "pyparsing==3.3.3", "python-dateutil==4.0.0", "torch-ema==0.3"),
    *("torchmetrics==1.9.0", "tzdata==2026.6", ASE),
)

# Where a -lammps.pt keeps the code of the class around its network.
_LAMMPS_CODE = "/code/__torch__/mace/calculators/lammps_mace"
_MACE_CODE = "/code/__torch__/mace/"
# Packages whose names stand in a pickle that is of MACE.
_OWN = ("mace", "e3nn", "torch", "numpy", "collections", "builtins", "opt_einsum_fx")
_OTHER_FAMILIES = ("sevenn", "nequip", "chgnet")
_NETWORKS = ("mace.modules.models.MACE", "mace.modules.models.ScaleShiftMACE")
_CHEBYSHEV = "mace.modules.radial.ChebychevBasis"
_BEYOND = {
    "EnergyDipolesMACE": "charges, and gives dipoles",
    "AtomicDipolesMACE": "charges, and gives dipoles but no energy",
    "AtomicDielectricMACE": "charges, and gives dipoles and polarisabilities but no energy",
    "MACELES": "the long-range electrostatics of all atoms (Latent Ewald Summation)",
    "PolarMACE": "charges, spin and the long-range electrostatics of all atoms",
    "MagneticMACE": "magnetic moments",
    "GenericJointEmbedding": "values of the whole structure or of each atom, such as total charge and spin",
}
_TO_E3NN = {
    "cuequivariance": "mace_cueq_to_e3nn {} --output_model {}",
    "cuequivariance_torch": "mace_cueq_to_e3nn {} --output_model {}",
    "openequivariance": "python -m mace.cli.convert_oeq_e3nn {} --output_model {}",
}


class Mace(Family):
    """Networks of the package mace-torch."""

    word = "mace"
    title = "MACE"
    sources = (
        "a network as mace_run_train writes it (.model), which is a pickle: --trust; --head where it has several",
        "what mace_create_lammps_model has made of one (-lammps.pt), with torch and ASE alone, as TorchScript",
        "a name of published weights, such as medium-mpa-0: no wheel holds them, and it says which file to fetch",
    )
    packages = (FamilyPackage("mace-torch", "mace", "0.3.16"),)
    measured = (Measured("MACE of 128 channels, float32", SINGLE, (1.61, 1.81)),)
    isolation = Isolation(
        pinned=(*TORCH, *COMMAND, *E3NN, *_PINNED),
        # It asks for packages that training alone imports, one of which has no wheel.
        alone=("mace-torch==0.3.16",),
        if_needed=TORCH_ON_GPUS,
    )

    def needs(self, asked: Asked) -> tuple[FamilyPackage, ...]:
        """Return the packages that converting a source needs; see Family."""
        return () if look_at(asked.path, _WHAT).kind is FileKind.TORCHSCRIPT else self.packages

    def look(self, asked: Asked) -> str:
        """Look at a source; see Family."""
        if asked.modal is not None:
            raise RequestError(f"`--modal` is for networks of SevenNet, got '{asked.modal}'; MACE's have heads: --head")
        if not asked.path.exists():
            _check_name(asked.source)
        source = look_at(asked.path, _WHAT)
        if source.kind is FileKind.PICKLE:
            return _reason_to_trust(source)
        if source.kind is FileKind.EXPORTED:
            raise DriverError(
                f"`source` must be {_WHAT}, got {source.path}, a program of torch.export; see `kim-torchml package`"
            )
        _check_torchscript(asked)
        return ""

    def load(self, asked: Asked) -> Potential:
        """Return the network of a source; see Family."""
        source = look_at(asked.path, _WHAT)
        if source.kind is FileKind.TORCHSCRIPT:
            from kim_torchml.tools.convert.mace_lammps import potential_of_lammps_file

            return potential_of_lammps_file(asked, _WHAT)
        # Between looking and reading, the file may have changed.
        check_trusted(_reason_to_trust(source), asked)
        from kim_torchml.tools.convert.mace_model import potential_of_model

        return potential_of_model(asked, _WHAT)


def _check_name(source: str) -> None:
    """Check that a source that is no file is not the name of published weights: nothing is fetched.

    Raises:
        RequestError: If it is, or a name that is not known.
    """
    published = PUBLISHED_MACE.get(source.lower())
    if published is not None and published.beyond:
        raise RequestError(
            f"{published.about['title']} needs {published.beyond} beside species and edges, which the kind edges does "
            "not have; it cannot be converted"
        )
    if published is not None:
        licence = f", licence {published.licence}" if published.licence else ""
        raise RequestError(
            f"{source} is in no wheel: fetch the file {published.file} from {published.fetched_from}{licence}; then "
            f"run `kim-torchml convert mace {published.file} --trust` with the same options"
        )
    if not Path(source).suffix:
        raise RequestError(
            f"`source` must be the file of {_WHAT} or one of {', '.join(PUBLISHED_MACE)}, got '{source}'"
            f"{did_you_mean(source, PUBLISHED_MACE)}; correct it"
        )


def _reason_to_trust(source: SourceFile) -> str:
    """Return why a pickle needs trust.

    Raises:
        DriverError: If the names in it show that it cannot be converted.
    """
    path, names = source.path, {each.rpartition(".")[2]: each for each in source.calls}
    packages = {each.split(".")[0]: each for each in source.calls}
    for each in ("LAMMPS_MLIAP_MACE", "LAMMPS_MACE"):
        if each in names:
            raise DriverError(
                f"`source` must be {_WHAT}, got {path}, a pickle of {each} that was made of one for LAMMPS; give the "
                ".model that it was made from, or its -lammps.pt"
            )
    for name, needed in _BEYOND.items():
        if names.get(name, "").startswith("mace."):
            raise DriverError(
                f"{path} holds {names[name]}, which needs {needed}: the kind edges has species and edges alone; it "
                "cannot be converted"
            )
    for package, command in _TO_E3NN.items():
        if package in packages:
            written = f"{path.stem}-e3nn.model"
            raise DriverError(
                f"{path} holds {packages[package]}, whose weights lie otherwise than e3nn's; run "
                f"`{command.format(path, written)}` where {package} is installed, and convert {written}"
            )
    if lora := [each for each in source.calls if each.startswith("mace.modules.lora.")]:
        raise DriverError(
            f"{path} holds {lora[0]}, a network with LoRA adapters; merge them with mace.modules.lora."
            "merge_lora_weights, save it again with torch.save, and convert that"
        )
    if family := next((each for each in _OTHER_FAMILIES if each in packages), ""):
        raise DriverError(
            f"`source` must be {_WHAT}, got {path}, which holds {packages[family]}: a network of another family"
        )
    if _CHEBYSHEV in source.calls:
        raise DriverError(
            f"{path} holds {_CHEBYSHEV}, of which torch has no derivative: forces are wrong in mace-torch too; "
            "it cannot be converted"
        )
    _check_network(source)
    foreign = [each for each in source.calls if each.split(".")[0] not in _OWN]
    beside = f" that calls {foreign[0]}, which no network of MACE needs" if foreign else ", as every .model is"
    return f"{path} is a pickle{beside}"


def _check_network(source: SourceFile) -> None:
    if any(each in source.calls for each in _NETWORKS):
        return
    others = [each for each in source.calls if each.startswith("mace.modules.models.")]
    if others:
        raise DriverError(
            f"`source` must be {_WHAT} of the class MACE or ScaleShiftMACE, got {source.path}, which holds "
            f"{others[0]}; it cannot be converted"
        )
    raise DriverError(
        f"`source` must be {_WHAT}, got {source.path}, which holds none, such as a checkpoint of a training run or a "
        "file of another family; give the .model that mace_run_train has written"
    )


def _check_torchscript(asked: Asked) -> None:
    """Check what can be seen of a TorchScript file without loading it.

    Raises:
        DriverError: If it is not made for `pair_style mace`, or what it holds is not allowed.
    """
    path = asked.path
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if not any(_LAMMPS_CODE in each for each in names):
        of = "a network of MACE that is not made for LAMMPS" if any(_MACE_CODE in each for each in names) else "none"
        raise DriverError(
            f"`source` must be {_WHAT}: a .model, or the -lammps.pt that mace_create_lammps_model makes of it; got "
            f"{path}, TorchScript of {of}"
        )
    inspect_archive(path.read_bytes(), str(path))
    if asked.file_format == "pt2":
        raise RequestError(
            f"`--format` must be pt for {path}, which is TorchScript already, got 'pt2'; leave it out, or convert the "
            ".model that it was made from"
        )
