# SPDX-License-Identifier: LGPL-2.1-or-later
"""`kim_torchml.save_model` of what is wrong: one sentence, and nothing is left behind."""

import pytest
import torch
from defective import CountingImages, FailingAlone, LosingDigits, WrongForces
from misbehaving import Detached, FourInputs
from models import Edges1, Edges3, Graph4, PairWithForces
from saving import contents_of, left_in, save, stated_of
from torch import Tensor

import kim_torchml
from kim_torchml.errors import DriverError
from kim_torchml.tools.package import unfinished_folder


class OtherwiseScripted(Edges1):
    """Has another energy where TorchScript runs it."""

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        r = edge_vectors.square().sum(1).sqrt()
        factors = self.weight * (1.0 - (r / 2.5).square()).pow(3)
        if torch.jit.is_scripting():
            factors = 1.0001 * factors
        return torch.zeros_like(species, dtype=r.dtype).index_add(0, edge_index[0], factors)


class OtherwiseWithManyRows(Edges1):
    """Has another energy where there are more rows than in the driver's probes: images are rows."""

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        r = edge_vectors.square().sum(1).sqrt()
        factors = self.weight * (1.0 - (r / 2.5).square()).pow(3)
        energies = torch.zeros_like(species, dtype=r.dtype).index_add(0, edge_index[0], factors)
        return energies * (1.0 + 1e-6 * float(species.size(0) > 18))


class NotScriptable(Edges1):
    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        return sum(x for x in edge_vectors.square().sum(1)) + species


class FailingWithoutEdges(Edges1):
    """Takes an atom alone for what it is, but not several of them."""

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        r = edge_vectors.square().sum(1).sqrt()
        factors = self.weight * (1.0 - (r / 2.5).square()).pow(3)
        if species.size(0) > 1:
            factors = factors + 0.0 * r.max()
        return torch.zeros_like(species, dtype=r.dtype).index_add(0, edge_index[0], factors)


DISAGREEMENTS = [
    (OtherwiseScripted, {"kind": "edges", "file_format": "pt"}, r"^the energies of the model in model\.pt, .* must be "
     r"those of the module OtherwiseScripted for the same tensors, got \S+ eV instead of \S+ eV; look for what the "
     "model file does"),
    (OtherwiseWithManyRows, {"kind": "edges"}, "must be those of the module OtherwiseWithManyRows for a"),
    (Edges3, {"layers": 2}, r"^the energy of the model in model\.pt2? must depend on nothing beyond 2 x cutoff, "
     "as `layers` says, got a change by"),
    (CountingImages, {"kind": "graph", "energy": "total"}, "where particles that do not contribute are added out of"),
    (WrongForces, {"returns_forces": True}, r"^the forces of the model in model\.pt must be minus the derivative of "
     r"its energy, got a difference of \S+ eV/Å beside a largest force of \S+ eV/Å; look for"),
    (LosingDigits, {"kind": "edges", "dtype": "float32"}, "index_add_"),
    (FailingAlone, {"kind": "edges"}, r"^the model must compute particles without neighbours, as simulations come "
     r"across them, but for an atom of Si alone the model in model\.pt2? raised an error.*max"),
    (FailingWithoutEdges, {"kind": "edges"}, "but for 4 particles out of each other's cutoff the model in"),
    (Detached, {}, r"^the energy of the model in model\.pt must depend on coordinates through autograd"),
    (NotScriptable, {"kind": "edges", "file_format": "pt"}, "^the module NotScriptable must be one that TorchScript "
     "can compile, got: "),
    (FourInputs, {}, r"^the model in model\.pt must take 5 inputs, as was said \(kind = \"none\"\), but its "
     "forward takes 4; correct what was said, or the model$"),
    (Graph4, {}, r"must be \"per particle\", as was said, got one number; correct `energy`, or the model"),
    (PairWithForces, {"returns_forces": False}, r"must return one tensor, .*, as was said \(returns_forces = false\)"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "changes", "said"), DISAGREEMENTS, ids=[each[0].__name__ for each in DISAGREEMENTS])
def test_a_model_that_disagrees_is_not_written(kind, changes, said, tmp_path):
    with pytest.raises(DriverError, match=said):
        save(kind, tmp_path / "model", **changes)
    assert left_in(tmp_path) == []


WRONG = [
    ({"name": "1st"}, "`name` must be a KIM id, letters, digits and underscores that begin with no digit, got '1st'; "),
    ({"name": "a-b"}, "`name` must be a KIM id, .* got 'a-b'"),
    ({"name": None}, "`name` must be a KIM id, .* got 'None'"),
    ({"driver": "a b"}, "`driver` must be a KIM id, .* got 'a b'"),
    ({"name": "a" * 201}, "`name` must have at most 200 letters, got 201; choose a shorter one"),
    ({"kind": "edge"}, '`kind` must be "none", "descriptor", "graph" or "edges", got \'edge\'; name one of them'),
    ({"kind": None}, '`kind` must be "none", .*, got None'),
    ({"kind": "none"}, "`layers` must be left out for the kind none, got 3; remove it"),
    ({"kind": "descriptor"}, '`descriptor` must be given for the kind descriptor, got none; give one such as "SOAP"'),
    ({"kind": "descriptor", "descriptor": "SOAP"}, "`descriptor_file` must be given for the kind descriptor, got none"),
    ({"kind": "descriptor", "descriptor": 3, "descriptor_file": "a"}, "`descriptor` must be a text, got 3"),
    ({"species": "SiC"}, r'`species` must be .* got "SiC"; correct the symbol; did you mean \'Si\'\?'),
    ({"species": [14]}, r'`species` must be a list of texts, got \[14\]; give one such as \["Si", "C"\]'),
    ({"species": []}, r"`species` must be a list of texts, got \[\]"),
    ({"species": None}, "`species` must be a list of texts, got None"),
    ({"species": ["Si", "Si"]}, "`species` must be different from each other"),
    ({"cutoff": -1.0}, "`cutoff` must be a number from .*, got -1.0; give the model's cutoff"),
    ({"cutoff": float("nan")}, "`cutoff` must be a number from .* got nan"),
    ({"cutoff": "5"}, "`cutoff` must be a number, got '5'; give one"),
    ({"cutoff": True}, "`cutoff` must be a number, got True"),
    ({"cutoff": 10**400}, "`cutoff` must be a number of few digits, got one of many"),
    ({"layers": 0}, "`layers` must be a whole number from 1 to 1000, got 0"),
    ({"layers": 1.5}, "`layers` must be a whole number, got 1.5"),
    ({"layers": 10**5000}, "`layers` must be a whole number of few digits, got one of many"),
    ({"species_as": "numbers"}, '`species_as` must be "codes" or "atomic numbers", got \'numbers\'; name one of them'),
    ({"energy": "each"}, '`energy` must be "per particle" or "total", got \'each\''),
    ({"energy": "total"}, '`energy` must be "per particle" for the kind edges, got "total"'),
    ({"returns_forces": True}, "`returns_forces` must be false for the kind edges, got true"),
    ({"dtype": "int"}, '`dtype` must be "float64", .* got \'int\''),
    ({"dtype": torch.int32}, "`dtype` must be .* got 'int32'"),
    ({"descriptor": "SOAP"}, "`descriptor` must be left out for the kind edges, got 'SOAP'; leave it out"),
    ({"descriptor_file": "none.dat"}, "`descriptor_file` must be left out for the kind edges, got 'none.dat'"),
    ({"descriptor_file": 3}, "`descriptor_file` must be a path, got 3; give one"),
    ({"kind": "descriptor", "layers": 1, "descriptor": "SOAP", "descriptor_file": "none.dat"},
     "cannot read the descriptor's file none.dat: .*; correct the path"),
    ({"parameters": {"none": "x"}}, r"`parameters` of the model in model\.pt2? must name dense .* got 'none': nothing"),
    ({"parameters": {"weight": 3}}, "`parameters` must be texts by name, got 3 for 'weight'"),
    ({"parameters": "w"}, "`parameters` must be a dictionary, got 'w'; give one such as "),
    ({"parameters": ["w"]}, r"`parameters` must be a dictionary, got \['w'\]; give one such as "),
    ({"limits": {}}, "`limits` must say smallest_distance or most_neighbours, got neither"),
    ({"limits": {"stop": True}}, "`limits` must say smallest_distance or most_neighbours, got neither"),
    ({"limits": ["stop"]}, r"`limits` must be a dictionary, got \['stop'\]; give one such as "),
    ({"limits": {"distance": 1}}, "the keys of `limits` must be among smallest_distance, .*, got 'distance'"),
    ({"limits": {"smallest_distance": "1"}}, r"`limits\['smallest_distance'\]` must be a number, got '1'"),
    ({"limits": {"smallest_distance": 9}}, r"`limits\['smallest_distance'\]` must be a number from 0.001 to"),
    ({"limits": {"most_neighbours": 0}}, r"`limits\['most_neighbours'\]` must be a whole number from 1"),
    ({"about": ["title"]}, r"`about` must be a dictionary, got \['title'\]; give one such as "),
    ({"about": {"license": "MIT"}}, "the keys of `about` must be among .*, got 'license'"),
    ({"about": {"title": 3}}, r"`about\['title'\]` must be a text, got 3"),
    ({"about": {"title": ["a", "b"]}}, r"`about\['title'\]` must be a text, got"),
    ({"about": {"title": " "}}, r"`about\['title'\]` must be a text, got ' '; give one such as .*, or leave it out"),
    ({"about": {"title": "a\ud800b"}}, "what is said of a model must be text in Unicode, got .*; correct it"),
    ({"about": {"description": 401 * "a. "}}, "each text about a model must have at most 400 dots, got 401; "),
    ({"about": {"authors": [""]}}, r"`about\['authors'\]` must be a list of texts, got \[''\]"),
    ({"about": {"doi": "arXiv:1"}}, r"`about\['doi'\]` must be a DOI, got 'arXiv:1'; give one such as \"10"),
    ({"made_with": {"x": 2.0}}, r"`made_with\['x'\]` must be a text, got 2.0"),
    ({"made_with": {"x": ""}}, r"`made_with\['x'\]` must be a text, got ''"),
    ({"made_with": "x"}, "`made_with` must be a dictionary, got 'x'; give one such as "),
    ({"replace": "no"}, "`replace` must be True or False, got 'no'"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "said"), WRONG, ids=["-".join(each[0]) for each in WRONG])
def test_what_makes_no_sense_is_one_sentence(changes, said, tmp_path):
    with pytest.raises(DriverError, match=f"^{said}") as raised:
        save(Edges3, tmp_path / "model", **changes)
    # There is no such file yet, and its author has written none.
    assert "(file model.toml" not in str(raised.value)
    assert "in [" not in str(raised.value)
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("folder", [None, 3, b"model", "", "a\0b"], ids=repr)
def test_a_folder_has_a_path(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DriverError, match=r"^`folder` must be a path, got .*; give one$"):
        save(Edges3, folder)
    assert left_in(tmp_path) == []


def test_a_module_is_a_module(tmp_path):
    with pytest.raises(
        DriverError, match=r"^`module` must be a torch\.nn\.Module, got function; give the network itself$"
    ):
        kim_torchml.save_model(lambda x: x, tmp_path / "model", **stated_of(Edges3))


@pytest.mark.parametrize(("wrap", "attribute"), [(torch.compile, "_orig_mod"), (torch.nn.DataParallel, "module")])
def test_a_module_is_not_what_is_around_it(wrap, attribute, tmp_path):
    module = Edges3()
    wrapped = wrap(module)
    assert getattr(wrapped, attribute) is module
    with pytest.raises(
        DriverError, match=rf"^`module` must be .* got the \w+ around it; give its attribute `{attribute}`"
    ):
        kim_torchml.save_model(wrapped, tmp_path / "model", **stated_of(Edges3))


def test_torchscript_that_is_switched_off(tmp_path):
    torch.jit._state.disable()
    try:
        with pytest.raises(DriverError, match="is TorchScript, which is switched off in this process by"):
            save(Edges3, tmp_path / "model", file_format="pt")
    finally:
        torch.jit._state.enable()
    assert left_in(tmp_path) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"descriptor": "Nope"}, r"`descriptor` must be one .*, got 'Nope'; correct the name, or update"),
        (
            {"cutoff": 3.5},
            r"`cutoff` must be 3\.5 Å, the model's, where it is largest, got '4\.5' \(file descriptor\.dat",
        ),
        ({"species": ["C"]}, r"`species` must be one of the model's, C, got 'Si' \(file .*; correct that or the file$"),
    ],
)
def test_a_descriptor_that_does_not_fit(changes, said, tmp_path, request):
    source = request.config.rootpath / "examples" / "descriptor"
    stated = {"name": "A", "kind": "descriptor", "species": ["Si"], "cutoff": 4.5, "descriptor": "SymmetryFunctions"}
    with pytest.raises(DriverError, match=f"^{said}"):
        kim_torchml.save_model(
            torch.jit.load(source / "descriptor.pt"), tmp_path / "model", **stated | changes,
            descriptor_file=source / "descriptor.dat",
        )  # fmt: skip


def test_an_interrupt_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("kim_torchml.tools.package.written_model.check_first", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save(Edges3, tmp_path / "model")
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("at", range(1, 9))
def test_a_failure_while_files_are_replaced_puts_the_old_ones_back(at, tmp_path, monkeypatch):
    """Eight renames let four files take the place of four."""
    folder = tmp_path / "model"
    save(Edges1, folder)
    (folder / "README.md").unlink()
    before = contents_of(folder)
    moves, move = [], unfinished_folder._move

    def failing(origin, place, moved):
        moves.append(origin)
        if len(moves) == at:
            raise OSError(28, "No space left on device")
        move(origin, place, moved)

    monkeypatch.setattr(unfinished_folder, "_move", failing)
    with pytest.raises(DriverError, match=r"^cannot write the folder .*: No space left on device; make room there"):
        save(Edges3, folder, replace=True)
    assert contents_of(folder) == before
    assert left_in(tmp_path) == ["model"]


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    def refuses(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkdtemp", refuses)
    with pytest.raises(
        DriverError, match=r"^cannot write the folder .*/model: Permission denied; make room there, or name"
    ):
        save(Edges3, tmp_path / "model")


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"returns_forces": "no"}, "returns_forces"),
        ({"limits": {"smallest_distance": 0.7, "stop": "false"}}, r"limits\['stop'\]"),
    ],
)
def test_texts_are_no_flags(tmp_path, changes, what):
    with pytest.raises(DriverError, match=rf"^`{what}` must be True or False, got '(no|false)'; give one of them$"):
        save(Edges1, tmp_path / "model", **changes)
