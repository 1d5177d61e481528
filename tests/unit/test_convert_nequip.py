# SPDX-License-Identifier: LGPL-2.1-or-later
"""What `kim-torchml convert nequip` says of a source before its network is made, without the package nequip."""

import importlib.machinery
import importlib.metadata
import importlib.util
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from archives import zip_of
from click.testing import CliRunner
from mace_files import Bomb, pickle_of
from saving import left_in

from kim_torchml.errors import DriverError
from kim_torchml.tools.cli import main
from kim_torchml.tools.convert.family import Asked
from kim_torchml.tools.convert.nequip import NequIP
from kim_torchml.tools.convert.nequip_config import network_of
from kim_torchml.tools.convert.nequip_network import (
    NequIPFacts,
    _load_weights,
    built,
    check_pair_cutoffs,
    energies_alone,
    facts_of,
)
from kim_torchml.tools.request_error import RequestError

ALLEGRO = {
    "_target_": "allegro.model.AllegroModel",
    "seed": 1,
    "model_dtype": "float32",
    "type_names": ["H", "O"],
    "r_max": 4.0,
    "l_max": 1,
    "avg_num_neighbors": np.float64(20.5),
    "per_type_energy_shifts": {"H": -1.0, "O": -2},
    "parity": True,
    "radial_chemical_embed": {"_target_": "allegro.nn.TwoBodyBesselScalarEmbed", "num_bessels": 8},
    "pair_potential": {"_target_": "nequip.nn.pair_potential.ZBL", "units": "metal", "chemical_species": ["H", "O"]},
}
PATH = Path("best.ckpt")
VERSIONS = {"nequip": "0.19.1", "nequip-allegro": "0.8.3"}


def checkpoint(model=None, training="nequip.train.NequIPLightningModule", versions=None, state=None):
    """Return what nequip-train writes, as far as it matters."""
    info = {
        "versions": versions or {"nequip": "0.19.1", "allegro": "0.8.3", "torch": "2.13.0"},
        "training_module": {"_target_": training},
    }
    weights = {"run_stage": torch.zeros(1), "model.sole_model.model.weight": torch.ones(2), **(state or {})}
    return {
        "epoch": 1,
        "hyper_parameters": {"model": ALLEGRO if model is None else model, "info_dict": info},
        "state_dict": weights,
        "callbacks": {"ModelCheckpoint": {"dirpath": "/home/somebody", "best_model_score": torch.ones(())}},
        "optimizer_states": [{"state": {}, "param_groups": [{"lr": 0.1}]}],
    }


def installed(package):
    return VERSIONS[package]


def network(content):
    return network_of(content, PATH, installed)


@pytest.fixture
def nequip(monkeypatch, tmp_path):
    """Run the command for a source of NequIP, whose package seems to be there."""
    find_spec = importlib.util.find_spec

    def found(name, *others):
        return importlib.machinery.ModuleSpec(name, None) if name == "nequip" else find_spec(name, *others)

    monkeypatch.setattr(importlib.util, "find_spec", found)
    monkeypatch.setattr("kim_torchml.tools.convert.nequip._version", installed)
    monkeypatch.chdir(tmp_path)

    def run(source, *options):
        words = ["convert", "nequip", str(source), "--output", "model", "--name", "My_Model", *options]
        return CliRunner().invoke(main, words)

    return run


def saved(content, path):
    torch.save(content, path)
    return path


def holding(change):
    content = checkpoint()
    change(content)
    return content


PLACES = {
    "alone": lambda bomb: bomb,
    "model": lambda bomb: checkpoint(ALLEGRO | {"seed": bomb}),
    "state": lambda bomb: checkpoint(state={"model.sole_model.x": bomb}),
    "callbacks": lambda bomb: holding(lambda content: content["callbacks"].update(bomb=bomb)),
    "array": lambda bomb: checkpoint(ALLEGRO | {"avg_num_neighbors": np.array([bomb], dtype=object)}),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_checkpoint_runs_no_code(nequip, tmp_path, place):
    bomb = tmp_path / "exploded"
    result = nequip(saved(PLACES[place](Bomb(bomb)), tmp_path / "bomb.ckpt"))
    assert result.exit_code == 2, result.output
    assert (
        f"{tmp_path / 'bomb.ckpt'} holds posix.mkdir, which unpickling alone can make, and unpickling" in result.output
    )
    with pytest.raises(RequestError, match="nothing was unpickled: say --trust"):
        NequIP().load(Asked(str(tmp_path / "bomb.ckpt")))
    assert not bomb.exists()
    assert left_in(tmp_path) == ["bomb.ckpt"]


def test_a_package_is_not_opened_without_trust(nequip, tmp_path):
    """What unpickling would do is never looked at: a package brings the code for it."""
    bomb = tmp_path / "exploded"
    code = pickle.dumps(Bomb(bomb))
    entries = [(".data/extern_modules", b"os\n"), ("model/eager_model.pkl", code), ("model/example_data.pkl", code)]
    (tmp_path / "x.nequip.zip").write_bytes(zip_of([(f"x/{name}", content) for name, content in entries]))
    result = nequip("x.nequip.zip")
    assert result.exit_code == 2, result.output
    assert (
        "x.nequip.zip is a package of nequip-package, a pickled network with its own code, and unpickling"
        in result.output
    )
    assert "nothing was unpickled: say --trust if you trust whoever made it" in result.output
    with pytest.raises(RequestError, match="nothing was unpickled"):
        NequIP().load(Asked("x.nequip.zip"))
    assert not bomb.exists()
    assert left_in(tmp_path) == ["x.nequip.zip"]


def test_other_files_run_no_code(nequip, tmp_path):
    bomb = tmp_path / "exploded"
    code = pickle.dumps(Bomb(bomb))
    script = [("x/constants.pkl", code), ("x/data.pkl", code)]
    files = {
        "plain.ckpt": code,
        "compiled.nequip.pth": zip_of([*script, ("x/code/__torch__/nequip/nn/x.py", b"")]),
        "deployed.pth": zip_of([*script, ("x/extra/nequip_version", b"0.6.1")]),
        "other.pth": zip_of([*script, ("x/code/__torch__/mine.py", b"")]),
        "compiled.nequip.pt2": zip_of([("x/data/aotinductor/model/x.so", code), ("x/data.pkl", code)]),
        "exported.pt2": zip_of([("x/models/model.json", b"{}"), ("x/data.pkl", code)]),
        "other.zip": zip_of([("x/.data/extern_modules", b"os"), ("x/model/other.pkl", code)]),
        "broken.ckpt": zip_of([("x/data.pkl", code[: len(code) // 2])]),
    }
    made_from = "run `kim-torchml convert nequip` for the checkpoint or package that it was made from"
    said = {
        "plain.ckpt": "which is no archive of torch.save or is damaged",
        "compiled.nequip.pth": f"TorchScript of a network that nequip-compile has compiled; {made_from}",
        "deployed.pth": "deployed by nequip 0.6 or older, whose networks no newer one reads; train it again",
        "other.pth": "TorchScript of another network",
        "compiled.nequip.pt2": f"native code that nequip-compile makes for one machine; {made_from}",
        "exported.pt2": "a program of torch.export; see `kim-torchml package`",
        "other.zip": "a package of torch without a network of NequIP",
        "broken.ckpt": "cannot be read: ",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        result = nequip(name, "--trust")
        assert result.exit_code == 1, result.output
        assert said[name] in result.output
        assert result.output.count("\n") == 1
        assert not bomb.exists()
    assert left_in(tmp_path) == sorted(files)


def test_sources_of_nequip_that_are_none(nequip, tmp_path):
    result = nequip("nequip.net:mir-group/NequIP-OAM-L:0.1")
    assert result.exit_code == 2
    assert (
        "is in no wheel: fetch its .nequip.zip from www.nequip.net, and run `kim-torchml convert nequip`"
        in result.output
    )
    result = nequip("missing.ckpt")
    assert result.exit_code == 2
    assert "got 'missing.ckpt', which is not there; correct the path" in result.output
    result = nequip(saved({"weights": torch.zeros(2)}, tmp_path / "other.ckpt"))
    assert result.exit_code == 1
    assert "which nequip-train has not written, or a version before 0.7; name another file" in result.output
    for option in ("head", "modal"):
        result = nequip("other.ckpt", f"--{option}", "pbe")
        assert (
            f"`--{option}` must be left out, got 'pbe': networks of NequIP and Allegro have one alone" in result.output
        )
    assert left_in(tmp_path) == ["other.ckpt"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mace.modules.models.MACE", r"holds mace\.modules\.models\.MACE: a network of another family"),
        (
            "nequip.integrations.lammps_mliap.lmp_mliap_wrapper.NequIPLAMMPSMLIAPWrapper",
            r"a pickle of nequip\.integrations\.\S+ for ML-IAP in LAMMPS; run `kim-torchml convert nequip` for the",
        ),
    ],
)
def test_other_pickles_are_named(name, said, tmp_path):
    with pytest.raises(DriverError, match=said):
        NequIP().look(Asked(str(pickle_of(tmp_path / "x.ckpt", name))))


def test_a_network_is_what_its_configuration_says():
    found = network(checkpoint())
    assert found.builder == "allegro.model.AllegroModel"
    assert found.arguments == {key: value for key, value in ALLEGRO.items() if key != "_target_"}
    assert type(found.arguments["avg_num_neighbors"]) is float
    assert list(found.weights) == ["model.weight"]
    assert found.modifiers == ()
    assert found.averages is None


def test_a_modified_network_is_modified_again():
    shifts = {"modifier": "modify_PerTypeScaleShift", "shifts": {"H": -3.0}}
    modifiers = [{"modifier": "enable_OpenEquivariance"}, shifts, {"modifier": "enable_TritonContracter"}]
    found = network(checkpoint({"_target_": "nequip.model.modify", "model": ALLEGRO, "modifiers": modifiers}))
    assert found.builder == "allegro.model.AllegroModel"
    assert found.modifiers == (shifts,)


def within(**changes):
    return checkpoint({**ALLEGRO, **changes})


def of_embedding(**changes):
    return within(radial_chemical_embed={**ALLEGRO["radial_chemical_embed"], **changes})


TO_RUN = {"_target_": "os.mkdir", "path": "exploded"}
REFUSED = {
    "a function": (checkpoint(TO_RUN), "must be a builder of nequip or allegro .*, got 'os.mkdir'; nothing was called"),
    "no function": (checkpoint({"seed": 1}), "must be a builder of nequip or allegro .*, got NoneType"),
    "a function of the package": (
        checkpoint({"_target_": "nequip.model.saved_models.load_utils.load_saved_model"}), "must be a builder of",
    ),
    "another file": (
        checkpoint({"_target_": "nequip.model.ModelFromPackage", "package_path": "/x.nequip.zip"}),
        r"begins with the network of another file \(ModelFromPackage\), which is not read; if you trust whoever",
    ),
    "another file, modified": (
        checkpoint({
            "_target_": "nequip.model.modify", "modifiers": [],
            "model": {"_target_": "nequip.model.ModelFromCheckpoint", "checkpoint_path": "/x.ckpt"},
        }),
        r"begins with the network of another file \(ModelFromCheckpoint\)",
    ),
    "a part": (within(pair_potential=TO_RUN), r"`pair_potential\._target_` of .* must be ZBL, .*'os\.mkdir'"),
    "a part of another place": (
        within(pair_potential=ALLEGRO["radial_chemical_embed"]), r"must be ZBL, .* got 'allegro\.nn\.TwoBodyBessel"
    ),
    "a part of a part": (
        of_embedding(num_bessels=TO_RUN), r"`radial_chemical_embed\.num_bessels\._target_` .* no part of a network"
    ),
    "a part in a list": (within(per_type_energy_shifts=[[TO_RUN]]), r"`per_type_energy_shifts\._target_` of "),
    "a part of no name": (of_embedding(_target_=3), "must be TwoBodyBesselScalarEmbed, .*, got int"),
    "a partial call": (of_embedding(_partial_=True), "must be arguments by name, got '_partial_'"),
    "arguments of the call": (of_embedding(_args_=["/x"]), "must be arguments by name, got '_args_'"),
    "a name that is none": (within(x={3: 4}), "must be arguments by name, got int"),
    "what stands for a file": (
        of_embedding(num_bessels="${cutoff_radius_from_package:/x.nequip.zip}"),
        r"must be what was put in .*, got '\$\{cutoff_radius_from_package:/x\.nequip\.zip\}', which may stand for",
    ),
    "a tensor": (within(r_max=torch.ones(1)), "`r_max` .* must be numbers and texts, got Tensor"),
    "a modifier": (
        checkpoint({"_target_": "nequip.model.modify", "model": ALLEGRO, "modifiers": [{"modifier": "share_memory"}]}),
        "must modify its network by modify_PerTypeScaleShift, .*, got 'share_memory'",
    ),
    "a modifier that is called": (
        checkpoint({"_target_": "nequip.model.modify", "model": ALLEGRO, "modifiers": [TO_RUN]}),
        r"`modifiers\._target_` of .* must be no part of a network at all, got 'os\.mkdir'",
    ),
    "modified models": (
        checkpoint({"_target_": "nequip.model.modify", "model": ALLEGRO, "modifiers": {"a": []}}),
        "must modify one network by a list, got another form",
    ),
    "another training": (checkpoint(training="mine.Training"), "must be trained by .*'mine.Training'"),
    "its name elsewhere": (checkpoint(training="mine.EMALightningModule"), "must be trained by one of"),
    "schedule-free": (
        checkpoint(training="nequip.train.ScheduleFreeLightningModule"), "which may keep its weights otherwise; if you",
    ),
    "several models": (
        checkpoint(state={"model.second.weight": torch.ones(1)}),
        r"must hold the weights of one network, got also 'model\.second\.weight'",
    ),
    "no weights": (checkpoint(state={"model.sole_model.model.weight": 1.0}), "of one network, got other things"),
    "exchanged averages": (
        checkpoint(
            training="nequip.train.EMALightningModule",
            state={"ema._extra_state": {"is_holding_ema_weights": False}, "ema.ema_weight_0": torch.ones(1)},
        ),
        r"must hold averaged weights \(EMALightningModule\) that were not exchanged",
    ),
    "a newer version": (
        checkpoint(versions={"nequip": "0.20.0"}), "was made by nequip 0.20.0, and this is nequip 0.19.1; install"
    ),
    "a newer Allegro": (checkpoint(versions={"nequip": "0.19.1", "allegro": "0.9.0"}), "by nequip-allegro 0.9.0"),
    "no version": (checkpoint(versions={"torch": "2"}), "must say by which version of nequip it was made, got 'None'"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_listed_is_refused(what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content, said = REFUSED[what]
    with pytest.raises(DriverError, match=said) as raised:
        network(content)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 500
    assert left_in(tmp_path) == []


def test_configurations_without_end_are_damaged_files(nequip, tmp_path):
    endless = []
    endless.append(endless)
    result = nequip(saved(within(per_type_energy_shifts=endless), tmp_path / "endless.ckpt"))
    assert result.exit_code == 1
    assert "endless.ckpt cannot be read: maximum recursion depth exceeded" in result.output


def test_allegro_is_asked_for_where_it_is_missing():
    with pytest.raises(DriverError, match=r"the network is one of Allegro, and nequip-allegro is not installed here"):
        built(network(checkpoint()), None)


def test_a_version_of_allegro_matters_where_it_is_installed():
    def without_allegro(package):
        if package == "nequip-allegro":
            raise importlib.metadata.PackageNotFoundError(package)
        return "0.19.1"

    content = checkpoint(versions={"nequip": "0.19.1", "allegro": "9.0"})
    assert network_of(content, PATH, without_allegro).arguments["r_max"] == 4.0


class Weighted(torch.nn.Module):
    """Has a parameter, a constant that is rounded, and one that is not."""

    def __init__(self, dtype):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(2, dtype=dtype, device="cpu"))
        self.register_buffer("third", torch.tensor(1 / 3, dtype=dtype, device="cpu"))
        self.register_buffer("shift", torch.zeros(1, dtype=torch.float64, device="cpu"))


def described(averages=None):
    state = {
        f"model.sole_model.{name}": value
        for name, value in {
            "weight": torch.tensor([1.5, 2.5], dtype=torch.float32),
            "third": torch.tensor(1 / 3, dtype=torch.float32),
            "shift": torch.tensor([-7.25], dtype=torch.float64),
        }.items()
    }
    training = "NequIPLightningModule"
    if averages is not None:
        training = "EMALightningModule"
        state |= {f"ema.ema_weight_{index}": each for index, each in enumerate(averages)}
        state["ema._extra_state"] = {"is_holding_ema_weights": True}
    content = checkpoint(training=f"nequip.train.{training}", state=state)
    del content["state_dict"]["model.sole_model.model.weight"]
    return network(content)


def test_averaged_weights_take_the_place_of_the_others():
    found = Weighted(torch.float32)
    _load_weights(found, described(), changes=False)
    assert found.weight.tolist() == [1.5, 2.5]
    _load_weights(found, described([torch.tensor([3.0, 4.0])]), changes=False)
    assert found.weight.tolist() == [3.0, 4.0]
    for wrong in ([torch.ones(3)], [torch.ones(2), torch.ones(2)], [torch.ones(1)]):
        with pytest.raises(ValueError, match="its averaged weights are not those of its network"):
            _load_weights(found, described(wrong), changes=False)


def test_a_network_of_another_type_has_constants_of_its_own():
    found = Weighted(torch.float64)
    _load_weights(found, described(), changes=True)
    assert found.weight.tolist() == [1.5, 2.5]
    assert found.third.item() == 1 / 3
    assert found.shift.tolist() == [-7.25]


class ConvNetLayer(torch.nn.Module):
    """Bears the name by which layers of NequIP are counted."""


class ForceStressOutput(torch.nn.Module):
    """Bears the name of what computes forces."""

    def __init__(self, func):
        super().__init__()
        self.func = func


class PairEnergies(torch.nn.Module):
    """Energies of edges within the cutoffs of pairs, and of each edge beyond them the same."""

    def __init__(self, cutoffs, beyond):
        super().__init__()
        self.cutoffs, self.beyond = cutoffs, beyond

    def forward(self, data):
        species, (centres, neighbours), vectors = data["atom_types"], data["edge_index"], data["edge_vectors"]
        x = vectors.norm(dim=1) / self.cutoffs[species[centres], species[neighbours]]
        edges = torch.where(x < 1.0, (1.0 - x) ** 3, 0.0) + self.beyond * torch.sigmoid(x)
        data["atomic_energy"] = torch.zeros(len(data["pos"]), 1, dtype=torch.float64).index_add(
            0, centres, edges[:, None]
        )
        return data


class GraphNetwork(torch.nn.Module):
    """Called as a network of nequip is."""

    def __init__(self, beyond=0.0, layers=0, **metadata):
        super().__init__()
        cutoffs = torch.tensor([[2.0, 3.0], [3.5, 4.0]], dtype=torch.float64)
        self.layers = torch.nn.ModuleList(ConvNetLayer() for _ in range(layers))
        self.model = ForceStressOutput(PairEnergies(cutoffs, beyond))
        of_pairs = " ".join(map(str, cutoffs.reshape(-1).tolist()))
        given = {"type_names": "O H", "r_max": "5.0", "model_dtype": "float64", "per_edge_type_cutoff": of_pairs}
        self.metadata = given | metadata

    def forward(self, data):
        return self.model(data)


def test_what_a_network_says_of_itself():
    facts = facts_of(GraphNetwork(layers=3), PATH)
    assert facts.atomic_numbers == (8, 1)
    assert facts.cutoff == 4.0
    assert facts.layers == 3
    assert not facts.is_allegro
    assert facts_of(GraphNetwork(layers=1, per_edge_type_cutoff=""), PATH).cutoff == 5.0
    with pytest.raises(DriverError, match="of which it is not known how far its messages go"):
        facts_of(GraphNetwork(), PATH)


@pytest.mark.parametrize("names", ["C1 C2", "H H", "Water H"])
def test_types_that_are_no_elements(names):
    with pytest.raises(
        RequestError, match=f"must be symbols of elements, each once, .* got {', '.join(names.split())};"
    ):
        facts_of(GraphNetwork(layers=1, type_names=names), PATH)


@pytest.mark.parametrize(("beyond", "is_refused"), [(0.0, False), (1e-6, True)])
def test_neighbours_beyond_the_cutoff_of_their_pair_count_for_nothing(beyond, is_refused):
    given = GraphNetwork(beyond, layers=1)
    facts: NequIPFacts = facts_of(given, PATH)
    module = energies_alone(given)
    if not is_refused:
        check_pair_cutoffs(module, facts)
        return
    with pytest.raises(
        DriverError, match=r"beyond the cutoff of their pair of elements for none, got \S+ eV from them"
    ):
        check_pair_cutoffs(module, facts)
