# SPDX-License-Identifier: LGPL-2.1-or-later
"""SevenNet: checkpoints of the package sevenn, and those that its wheel holds.

The package's network takes edge vectors already, and by the driver's convention: its first index is the atom that a
message goes to. What it computes forces with, and the sum over atoms, are left out.
"""

import importlib.metadata
import importlib.util
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from kim_torchml.errors import DriverError
from kim_torchml.tools.convert.exchanged import ExchangedEntry
from kim_torchml.tools.convert.family import (
    DOUBLE,
    Asked,
    Closeness,
    Family,
    FamilyPackage,
    Isolation,
    Measured,
    Potential,
    check_trusted,
    note_on_authors,
)
from kim_torchml.tools.convert.network_checks import check_runs, floating_type_of
from kim_torchml.tools.convert.pins import ASE, COMMAND, E3NN, TORCH, TORCH_ON_GPUS
from kim_torchml.tools.convert.plain_arrays import PLAIN_ARRAYS
from kim_torchml.tools.convert.sevennet_config import WHAT, config_of, elements_of, modal_of
from kim_torchml.tools.convert.sevennet_weights import PUBLISHED, Published, published_as, published_name
from kim_torchml.tools.convert.source_file import FileKind, SourceFile, damaged, look_at, plain_content
from kim_torchml.tools.package.arguments import with_home
from kim_torchml.tools.programs.temporary_folder import temporary_folder
from kim_torchml.tools.request_error import RequestError, did_you_mean

_SINGLE = Closeness(2e-6, 2e-5, 2e-6)
# Parts of a network that need positions, or make one energy of all atoms' energies; the second is spelt so.
_LEFT_OUT = ("force_output", "reduce_total_enegy")
# What is imported with the package's calculator beside e3nn, ASE and torch.
_PINNED = (
    *("e3nn==0.6.0", "braceexpand==0.1.7", "certifi==2026.10.19.post1", "charset-normalizer==3.5.3"),
    *("cloudpickle==3.1.3", "idna==3.20", "joblib==1.6.0", "narwhals==2.29.0", "pandas==3.1.1", "psutil==7.2.2"),
    *("python-dateutil==4.0.0", "requests==2.34.2", "scikit-learn==1.9.1", "threadpoolctl==3.8.0", "tqdm==4.70.1"),
    *("tzdata==2026.6", "urllib3==2.8.0", "xxhash==4.1.0"),
)


class SevenNetEdges(torch.nn.Module):
    """A network of SevenNet as one of the kind edges."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, species: torch.Tensor, edge_index: torch.Tensor, edge_vectors: torch.Tensor) -> torch.Tensor:
        """Return the energy of each row, shape [n], eV."""
        data: dict[str, torch.Tensor] = {"x": species, "edge_index": edge_index, "edge_vec": edge_vectors}
        return self.network(data)["atomic_energy"].squeeze(1)  # type: ignore[no-any-return]


class OneHot(torch.nn.Module):
    """Makes numbers of species and modalities in double precision; the package's own part makes them in single one."""

    def __init__(self, part: Any) -> None:
        super().__init__()
        self.n_codes: int = part.num_classes
        self.key_in: str = part.key_x
        self.key_out: str = part.key_output
        self.key_again: str = part.key_additional_output or part.key_output
        self.key_kept: str = part.key_save or ""

    def forward(self, data: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Add a row of numbers for each code, of which one is 1."""
        codes = data[self.key_in]
        one_hot = torch.nn.functional.one_hot(codes, self.n_codes).to(torch.float64)
        data[self.key_out] = one_hot
        data[self.key_again] = one_hot
        if self.key_kept:
            data[self.key_kept] = codes
        return data


class SevenNet(Family):
    """Networks of the package sevenn."""

    word = "sevennet"
    title = "SevenNet"
    sources = (
        f"a name of the wheel: {', '.join(name for name, each in PUBLISHED.items() if not each.fetched_from)}",
        "a checkpoint file (.pth)",
    )
    packages = (FamilyPackage("sevenn", "sevenn", "0.13.0"),)
    measured = (Measured("SevenNet-0, float32", _SINGLE, (1.81, 1.69)),)
    isolation = Isolation(
        pinned=(*TORCH, *COMMAND, *E3NN, *_PINNED),
        # What they ask for besides is for training, for accelerators and for graphs of other kinds. sevenn finds
        # neighbours with matscipy where it is there, and slowly where it is not.
        alone=("sevenn==0.13.0", ASE, "torch-geometric==2.8.1", "matscipy==1.3.1"),
        if_needed=TORCH_ON_GPUS,
    )

    def look(self, asked: Asked) -> str:
        """Look at a source; see Family."""
        if asked.head is not None:
            raise RequestError(
                f"`--head` is for networks of MACE, got '{asked.head}'; SevenNet's have modalities: --modal"
            )
        if not asked.path.exists() and (name := published_name(asked.source)):
            # Where the package is not here, the environment that has it looks once more.
            if path := _place_of(PUBLISHED[name]):
                _check_named(asked.source, path)
            elif PUBLISHED[name].fetched_from:
                raise _in_no_wheel(asked.source, PUBLISHED[name])
            return ""
        if not asked.path.exists() and not asked.path.suffix:
            raise RequestError(
                f"`source` must be {WHAT} or one of {', '.join(PUBLISHED)}, got '{asked.source}'"
                f"{did_you_mean(asked.source, PUBLISHED)}; correct it"
            )
        return _reason_to_trust(look_at(asked.path, WHAT))

    def load(self, asked: Asked) -> Potential:
        """Return the network of a checkpoint; see Family."""
        path, published = _file_of(asked)
        if published is not None:
            _check_named(asked.source, path)
        reason = _reason_to_trust(look_at(path, WHAT))
        # Between looking and reading, the file may have changed.
        check_trusted(reason, asked)
        with damaged(path, WHAT):
            content = _unpickled(path) if reason else plain_content(path, WHAT, PLAIN_ARRAYS)
        config = config_of(content, path, partial(_version, "sevenn"))
        modal = modal_of(config, asked.modal)
        with temporary_folder("kim-torchml-convert-") as scratch:
            # The package reads by unpickling: it gets a file of what has been read already.
            plain = scratch / path.name
            _save(content, plain, path)
            known = published or published_as(path)
            potential = _potential(plain, path, config, modal, asked.dtype, known)
            return replace(potential, notes=_notes(published, known))


def _notes(named: Published | None, known: Published | None) -> tuple[str, ...]:
    """Return what is to be said of authors and licence: nothing of a checkpoint that the user has named."""
    if named is not None:
        return ()
    return (note_on_authors(known.about["title"] if known else None),)


def _reason_to_trust(source: SourceFile) -> str:
    path = source.path
    if source.kind is FileKind.TORCHSCRIPT:
        raise DriverError(
            f"`source` must be {WHAT}, got {path}, which is TorchScript, as it is deployed for `pair_style e3gnn`; "
            "give the checkpoint that it was made from"
        )
    if source.kind is FileKind.EXPORTED:
        raise DriverError(f"`source` must be {WHAT}, got {path}, a program of torch.export; see `kim-torchml package`")
    foreign = _foreign(source)
    others = [each for each in foreign if each.split(".")[0] in ("mace", "nequip", "chgnet")]
    if others:
        instead = "run `kim-torchml convert mace` for it" if others[0].startswith("mace.") else "it cannot be converted"
        raise DriverError(f"`source` must be {WHAT}, got {path}, which holds {others[0]}; {instead}")
    return f"{path} holds {foreign[0]}, which unpickling alone can make" if foreign else ""


def _check_named(name: str, path: Path) -> None:
    """Check that a checkpoint that was named need not be unpickled: the name says nothing of the file that is here.

    Raises:
        RequestError: If it must be.
    """
    if reason := _reason_to_trust(look_at(path, WHAT)):
        raise RequestError(
            f"{name} is {path} here, and {reason}; if you trust whoever made that file, give it as `source`, with "
            "--trust"
        )


def _foreign(source: SourceFile) -> list[str]:
    """Return what a checkpoint would call beside what can be read without running code."""
    return [each for each in source.calls if each not in PLAIN_ARRAYS]


def _unpickled(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=False)


def _save(content: Any, plain: Path, path: Path) -> None:
    """Write what was read of a checkpoint to a temporary file.

    Raises:
        DriverError: If it cannot be saved, or there is no room.
    """
    saved = io.BytesIO()
    with damaged(path, WHAT):
        torch.save(content, saved)
    try:
        plain.write_bytes(saved.getbuffer())
    except OSError as error:
        raise DriverError(
            f"cannot write a temporary file in {plain.parent.parent}: {error.strerror or error}; make room there, or "
            "name another folder in TMPDIR"
        ) from error


def _file_of(asked: Asked) -> tuple[Path, Published | None]:
    """Return the checkpoint, and what is known of it where it was named.

    Raises:
        RequestError: If it is a published one that is not here.
    """
    if asked.path.exists():
        return asked.path, None
    published = PUBLISHED[published_name(asked.source) or ""]
    if path := _place_of(published):
        return path, published
    if not published.fetched_from:
        raise RequestError(f"sevenn {_version('sevenn')} does not hold {asked.source}; install sevenn==0.13.0")
    raise _in_no_wheel(asked.source, published)


def _in_no_wheel(name: str, published: Published) -> RequestError:
    """Return the error for published weights that have to be fetched by hand."""
    file = Path(published.file).name
    return RequestError(
        f"{name} is in no wheel: fetch the file {file} from {published.fetched_from}, and run `kim-torchml convert "
        f"sevennet {file}` with the same options"
    )


def _place_of(published: Published) -> Path | None:
    """Return where a published checkpoint is: in the wheel, or where the package itself puts what it fetches."""
    spec = importlib.util.find_spec("sevenn")
    folders = [with_home("~/.cache/sevennet")]
    if spec is not None and spec.origin is not None:
        folders.insert(0, Path(spec.origin).parent / "pretrained_potentials")
    return next((folder / published.file for folder in folders if (folder / published.file).is_file()), None)


def _potential(
    plain: Path, path: Path, config: Mapping[str, Any], modal: str | None, dtype_word: str | None,
    published: Published | None,
) -> Potential:  # fmt: skip
    from sevenn.checkpoint import SevenNetCheckpoint

    with damaged(path, WHAT):
        atomic_numbers = elements_of(config)
        cutoff, layers = float(config["cutoff"]), int(config["num_convolution_layer"])
        checkpoint = SevenNetCheckpoint(plain)
        dtype = getattr(torch, dtype_word) if dtype_word else floating_type_of(checkpoint.model_state_dict.values())
        # What was trained with accelerators is the same network without them, which run on GPUs of one maker alone.
        build = partial(_network, checkpoint, dtype)
        edges = build()
        for name in _LEFT_OUT:
            edges.delete_module_by_key(name)
        edges.key_grad, edges.eval_type_map = None, False
        _exchange_before_convolutions(edges, layers)
        if modal is not None:
            edges.prepare_modal_deploy(modal)
    module = SevenNetEdges(edges).eval()
    check_runs(module, dtype, "sevenn")
    about = dict(published.about) if published else {"title": f"SevenNet of {path.name}"}
    if modal is not None:
        about["title"] = f"{about['title']}, modality {modal}"
    return Potential(
        module=module,
        atomic_numbers=atomic_numbers,
        cutoff=cutoff,
        layers=layers,
        dtype=dtype,
        calculator=partial(_calculator, build(), modal, dtype),
        closeness=DOUBLE if dtype == torch.float64 else _SINGLE,
        script=_scripted,
        exporting=_sizes_not_fixed,
        about=about,
        made_with={each: _version(each) for each in ("sevenn", "e3nn")},
    )


def _network(checkpoint: Any, dtype: torch.dtype) -> Any:
    network = checkpoint.build_model(enable_cueq=False, enable_flash=False, enable_oeq=False)
    network.set_is_batch_data(False)
    network.eval().requires_grad_(False)
    if dtype == torch.float64:
        network.double()
        for name, part in list(network.named_children()):
            if type(part).__name__ == "OnehotEmbedding":
                network.replace_module(name, OneHot(part))
    return network


def _exchange_before_convolutions(network: Any, layers: int) -> None:
    """Let ranks exchange what a layer gathers, but for the first one, whose features depend on species alone."""
    for layer in range(1, layers):
        name = f"{layer}_convolution"
        convolution = network.get_submodule(name)
        network.replace_module(name, ExchangedEntry(convolution, convolution.key_x))


def _scripted(module: torch.nn.Module) -> torch.jit.ScriptModule:
    import e3nn.util.jit

    found: torch.jit.ScriptModule = e3nn.util.jit.script(module)
    return found


@contextmanager
def _sizes_not_fixed() -> Iterator[None]:
    """Let a network be exported for any number of rows: the package counts them by len(), which gives the example's."""
    from sevenn.nn import convolution, linear

    # A name of a module comes before Python's own.
    for module in (convolution, linear):
        module.len = _length
    try:
        yield
    finally:
        for module in (convolution, linear):
            del module.len


def _length(found: Any) -> Any:
    return found.shape[0] if isinstance(found, torch.Tensor) else len(found)


def _calculator(network: Any, modal: str | None, dtype: torch.dtype) -> Any:
    from sevenn.calculator import SevenNetCalculator
    from sevenn.train import dataload

    class InDouble(SevenNetCalculator):  # type: ignore[misc]
        """The package's calculator, which makes single precision of all that it gives its network."""

        def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = ()) -> None:
            """Compute energy, forces and stress in double precision."""
            from sevenn.atom_graph_data import AtomGraphData

            del properties, system_changes
            graph = dataload.unlabeled_atoms_to_graph(atoms, self.cutoff)
            tensors = {key: torch.as_tensor(value, device="cpu") for key, value in graph.items() if key != "data_info"}
            data = AtomGraphData(**tensors)
            if self.modal:
                data["data_modality"] = self.modal
            self.atoms = atoms.copy()
            self.results = self.output_to_results(self.model(data))

    kind = InDouble if dtype == torch.float64 else SevenNetCalculator
    return kind(network, file_type="model_instance", device="cpu", modal=modal)


def _version(package: str) -> str:
    return importlib.metadata.version(package)
