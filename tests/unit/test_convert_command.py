# SPDX-License-Identifier: LGPL-2.1-or-later
"""`kim-torchml convert`, with a family of these tests' own: its package is a network and a calculator of few lines."""

import re
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.neighborlist import neighbor_list
from click.testing import CliRunner
from saving import contents_of, left_in, opened
from trapped import CUTOFF, Sound, TakesLen

from kim_torchml.model_files.toml_parser import tomllib
from kim_torchml.tools.cli import main
from kim_torchml.tools.convert import families
from kim_torchml.tools.convert.family import (
    DOUBLE,
    Asked,
    Closeness,
    Family,
    FamilyPackage,
    Isolation,
    Measured,
    Potential,
)

ROOT = Path(__file__).parents[2]
README, POTENTIALS = ((ROOT / name).read_text() for name in ("README.md", "docs/potentials.md"))
FILES = ["CMakeLists.txt", "README.md", "kimspec.edn", "model.pt2", "model.toml"]
ABOUT = {
    "title": "A sound network",
    "authors": ["Marie Curie"],
    "doi": "10.1/2",
    "licence": "MIT",
    "trained_on": "none",
}


class KnownSpecies(Sound):
    """A network whose energies depend on the species."""

    def forward(self, species, edge_index, edge_vectors):
        return super().forward(species, edge_index, edge_vectors) * (1.0 + species) - species


class OwnCalculator(Calculator):
    """The calculator of the made-up package: ASE's neighbour list, and autograd by positions and strain."""

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, network, numbers, error=0.0):
        super().__init__()
        self.network, self.numbers, self.error = network, list(numbers), error

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        first, second, shifts = neighbor_list("ijS", atoms, CUTOFF)
        positions = torch.tensor(atoms.positions, dtype=torch.float64, requires_grad=True)
        strain = torch.zeros((3, 3), dtype=torch.float64, requires_grad=True)
        offsets = torch.tensor(shifts @ atoms.cell.array, dtype=torch.float64)
        vectors = positions[second] - positions[first] + offsets
        vectors = vectors + vectors @ (strain + strain.T) / 2
        codes = torch.tensor([self.numbers.index(each) for each in atoms.numbers], dtype=torch.int64)
        energy = self.network(codes, torch.tensor(np.stack([first, second])), vectors).sum()
        gradient, of_strain = torch.autograd.grad(energy, (positions, strain), allow_unused=True)
        forces = np.zeros((len(atoms), 3)) if gradient is None else -gradient.numpy()
        self.results = {"energy": energy.item() + self.error * len(atoms), "forces": forces}
        if all(atoms.pbc):
            self.results["stress"] = (of_strain.numpy() / atoms.get_volume())[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]


class Made(Family):
    """A family whose sources are names alone."""

    word = "made"
    title = "Made"
    sources = ("a name: sound",)
    packages = (FamilyPackage("numpy", "numpy", "1.24"),)
    measured = (Measured("sound, float64", DOUBLE, (1.5, 2.0)), Measured("silence, float64", DOUBLE))
    isolation = Isolation(())

    def __init__(self, kind=KnownSpecies, numbers=(11, 14, 17), error=0.0, reason=""):
        self.kind, self.numbers, self.error, self.reason = kind, numbers, error, reason

    def look(self, asked: Asked) -> str:
        return self.reason

    def load(self, asked: Asked) -> Potential:
        network = self.kind().eval()
        return Potential(
            module=network, atomic_numbers=self.numbers, cutoff=CUTOFF, layers=1, dtype=torch.float64,
            calculator=lambda: OwnCalculator(network, self.numbers, self.error), closeness=DOUBLE,
            script=torch.jit.script, about=ABOUT, made_with={"made": "1.2"}, notes=("a note",),
        )  # fmt: skip


@pytest.fixture
def convert(monkeypatch, tmp_path):
    """Run the command for a family of the tests."""
    monkeypatch.chdir(tmp_path)

    def run(family, *options, output="model", name="My_Model", source="sound"):
        monkeypatch.setitem(families.FAMILIES, family.word, family)
        words = ["convert", family.word, str(source), "--output", output, "--name", name, *options]
        return CliRunner().invoke(main, words)

    return run


def test_the_folder_is_complete_and_was_compared(convert, tmp_path):
    result = convert(Made())
    assert result.exit_code == 0, result.output
    assert left_in(tmp_path) == ["model"]
    assert left_in(tmp_path / "model") == FILES
    said = tomllib.loads((tmp_path / "model" / "model.toml").read_text())
    assert said["model"]["species"] == ["Na", "Si", "Cl"]
    assert said["about"] == ABOUT
    assert said["made_with"]["made"] == "1.2"
    assert opened(tmp_path / "model").influence_distance == CUTOFF
    lines = result.output.splitlines()
    table = [line for line in lines if line.startswith("|")]
    names = [line.split("|")[1].strip() for line in table]
    assert names == [
        "configuration", "-" * 31, "crystal (Si)", "compound (NaCl)", "lone atom (each of 3 species)", "dimer (Na-Cl)",
        "primitive cell (Si)",
    ]  # fmt: skip
    for row in table[2:]:
        assert all(cell.strip() == "-" or float(cell) < 1e-12 for cell in row.split("|")[3:6])
    readme = (tmp_path / "model" / "README.md").read_text()
    assert "## Compared" in readme
    assert "\n".join(table) in readme
    assert "Differences from the calculator of made 1.2, in float64" in readme
    assert "a note" in lines


class OfLowerType(Made):
    """Its network is said to compute in another type than that of its inputs."""

    def load(self, asked: Asked) -> Potential:
        return replace(super().load(asked), computes_in=torch.float32)


def test_the_type_that_a_network_computes_in_is_said(convert, tmp_path):
    result = convert(OfLowerType())
    assert result.exit_code == 0, result.output
    assert "differences from the calculator of made 1.2, in float32, images folded" in result.output
    assert tomllib.loads((tmp_path / "model" / "model.toml").read_text())["model"]["dtype"] == "float64"


def test_a_difference_leaves_nothing(convert, tmp_path):
    result = convert(Made(error=1e-7))
    assert result.exit_code == 1
    expected = (
        r"Error: the model must give what OwnCalculator gives, but the energy of crystal \(Si\) differs by 1\.0e-07 "
        r"eV/atom \(allowed: \d+e-\d+\); nothing was written\. Report this, with the versions of the packages\n"
    )
    assert re.fullmatch(expected, result.output), result.output
    assert left_in(tmp_path) == []


def test_a_wrong_sign_of_the_stress_would_be_found(convert, tmp_path, monkeypatch):
    calculate = OwnCalculator.calculate

    def wrong(self, *arguments, **named):
        calculate(self, *arguments, **named)
        if "stress" in self.results:
            self.results["stress"] = -self.results["stress"]

    monkeypatch.setattr(OwnCalculator, "calculate", wrong)
    result = convert(Made())
    assert result.exit_code == 1
    assert "but the stress of crystal (Si) differs by " in result.output
    assert left_in(tmp_path) == []


def test_what_cannot_be_exported_is_written_where_it_is_asked_for(convert, tmp_path):
    result = convert(Made(TakesLen))
    assert result.exit_code == 1
    assert (
        "the module TakesLen cannot be saved as model.pt2: it can be exported with species.shape[0] == "
        in result.output
    )
    assert left_in(tmp_path) == []
    result = convert(Made(TakesLen), "--format", "pt")
    assert result.exit_code == 0, result.output
    assert left_in(tmp_path / "model") == sorted([*FILES[:3], "model.pt", "model.toml"])


def test_species_that_kim_does_not_know_are_named(convert, tmp_path):
    result = convert(Made(numbers=(0, 14, 119, 6)))
    assert result.exit_code == 0, result.output
    sentence = "species that KIM does not know are left out, those of the atomic numbers 0, 119"
    assert sentence in result.output.splitlines()
    assert tomllib.loads((tmp_path / "model" / "model.toml").read_text())["model"]["species"] == ["Si", "C"]


def test_one_species_has_no_compound_and_trust_is_accepted_where_it_is_not_needed(convert):
    result = convert(Made(numbers=(14,)), "--trust")
    assert result.exit_code == 0, result.output
    assert "compound" not in result.output
    assert "dimer (Si-Si)" in result.output
    assert "note:" not in result.output


def test_trust_is_asked_for_before_anything_is_read(convert, tmp_path):
    family = Made(reason="the source is a pickle")
    family.load = pytest.fail
    result = convert(family)
    assert result.exit_code == 2
    assert result.output == (
        "Error: the source is a pickle, and unpickling runs whatever code its maker has put in; nothing was unpickled: "
        "say --trust if you trust whoever made it\n"
    )
    assert left_in(tmp_path) == []
    family.load = Made(numbers=(14,)).load
    result = convert(family, "--trust")
    assert result.exit_code == 0, result.output
    said = "note: the source is a pickle; it is unpickled, as you trust whoever made it (--trust)"
    assert said in result.output.splitlines()


def test_a_missing_package_is_named(convert, tmp_path):
    family = Made()
    family.packages = (FamilyPackage("no-such-package", "no_such_package", "3.4"),)
    result = convert(family)
    assert result.exit_code == 1
    assert result.output == (
        "Error: converting a source of Made needs no-such-package in the Python environment of this command "
        f"({sys.prefix}), got none; say --isolated for a temporary environment, or run kim-torchml in one of its own "
        "that has no-such-package==3.4\n"
    )
    assert left_in(tmp_path) == []


def test_bad_requests(convert, tmp_path):
    result = convert(Made(), name="My Model")
    assert result.exit_code != 0
    assert "--name must" in result.output
    result = convert(Made(), "--no-compile")
    assert result.exit_code == 2
    assert "--no-compile needs --install, got it alone; give both, or neither" in result.output
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "notes.txt").write_text("mine")
    before = contents_of(tmp_path / "model")
    result = convert(Made())
    assert result.exit_code == 2
    assert (
        "Error: the folder model must be new or empty, got one with files in it; name another folder\n" in result.output
    )
    assert contents_of(tmp_path / "model") == before


def test_where_nothing_can_be_installed_is_known_before_the_conversion(convert, monkeypatch, tmp_path):
    family = Made()
    monkeypatch.setattr(family, "load", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    result = convert(family, "--install")
    assert result.exit_code == 2
    assert "Error: there is no kim-api-collections-management on PATH; install KIM-API, or add" in result.output
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("no_compile", [False, True])
def test_what_was_written_is_installed_and_compiled(convert, monkeypatch, tmp_path, no_compile):
    asked = []

    @click.command()
    @click.pass_context
    def install(context, **options):
        asked.append((options, left_in(tmp_path / "model")))

    # The package has the commands under the names of their modules.
    of_convert, of_install = (import_module(f"kim_torchml.tools.cli.{each}") for each in ("convert", "install"))
    monkeypatch.setattr(of_convert, "_check_can_install", lambda name: None)
    monkeypatch.setattr(of_install, "install", install)
    result = convert(Made(), "--install", *(["--no-compile"] if no_compile else []))
    assert result.exit_code == 0, result.output
    expected = {"folder": Path("model"), "collection": "user", "store": None, "no_compile": no_compile}
    assert asked == [(expected, FILES)]


def test_a_folder_that_cannot_be_written_is_known_before_the_work(convert, tmp_path):
    family = Made()
    family.load = pytest.fail
    # The folder itself could be made, but not the one beside it that holds its files until they are checked.
    result = convert(family, output="n" * 250)
    assert result.exit_code == 1
    assert "cannot write the folder nnn" in result.output
    assert "File name too long" in result.output
    assert left_in(tmp_path) == []


def test_a_folder_that_another_process_has_written_meanwhile(convert, tmp_path):
    family = Made()

    def calculator_of(asked):
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "model.toml").write_text("of another process")
        return Made().load(asked)

    family.load = calculator_of
    result = convert(family)
    assert result.exit_code == 2
    assert "the folder model must be new or empty, got one with files in it; name another folder" in result.output
    assert left_in(tmp_path) == ["model"]
    assert contents_of(tmp_path / "model") == {"model.toml": b"of another process"}


def test_unknown_families_are_refused():
    result = CliRunner().invoke(main, ["convert", "sevenet", "7net-0", "--output", "x", "--name", "X"])
    assert result.exit_code == 2
    assert "Error: `family` must be one of sevennet" in result.output
    assert "got 'sevenet'; did you mean 'sevennet'?; correct it\n" in result.output


def test_the_list_says_what_is_here(convert, monkeypatch):
    monkeypatch.setitem(families.FAMILIES, "made", Made())
    result = CliRunner().invoke(main, ["convert", "--list"])
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert "sevennet: SevenNet" in lines
    assert "  needs: sevenn (not here; tried with 0.13.0; --isolated brings it)" in lines
    assert f"  needs: numpy ({np.__version__} is here; tried with 1.24)" in lines
    assert "  takes: a name: sound" in lines
    close = "  measured: sound, float64: within 1e-10 eV/atom and 1e-10 eV/Å of its package's calculator"
    assert f"{close}; compiled 1.50 and 2.00 times as fast as that (64 and 216 atoms)" in lines
    assert close.replace("sound", "silence") in lines


@pytest.mark.parametrize("family", list(families.FAMILIES.values()), ids=list(families.FAMILIES))
def test_documents_say_what_was_measured_of_a_family(family):
    row = next(line for line in README.splitlines() if line.startswith(f"| [{family.title.replace(' and ', ', ')}]"))
    speeds = POTENTIALS.partition("\n## Speed\n")[2].partition("\n## ")[0]
    for measured in family.measured:
        for number in (measured.within.energy, measured.within.force):
            assert re.search(rf"\b{number:.0e}\b".replace("e-0", "e-"), row)
        for faster in measured.faster:
            assert f"{faster:.2f}" in row
            assert f"| {faster:.2f} x (" in speeds


def test_the_script_of_the_families_tests_knows_all():
    assert f"\nknown=({' '.join(families.FAMILIES)})\n" in (ROOT / "tests" / "families.sh").read_text()


def test_closeness_is_relative_beyond_one():
    from kim_torchml.tools.convert.comparison import Difference

    allowed = Closeness(1e-6, 1e-6, 1e-6)
    found = Difference("a crystal", 2, 5e-6, 0.0, None, Closeness(10.0, 0.0, 0.0))
    assert found.excess(allowed) == ""
    assert "the energy of a crystal differs by 5.0e-06 eV/atom" in replace(found, largest=allowed).excess(allowed)
    assert "the force of a crystal differs by nan eV/Å" in replace(found, force=float("nan")).excess(allowed)


def test_structures_suit_any_elements():
    from kim_torchml.tools.convert.reference_structures import reference_structures

    for species in (["H"], ["H", "O"], ["Og", "Ts"], ["C", "Si"], ["He", "Fe", "Pu"]):
        found = reference_structures(species)
        assert len(found) == (4 if len(species) == 1 else 5)
        for atoms in (each for several in found.values() for each in several):
            assert isinstance(atoms, Atoms)
            assert set(atoms.symbols) <= set(species)
            if len(atoms) > 1:
                assert neighbor_list("d", atoms, 6.0).min() > 0.5


def test_species_that_are_mixed_up_are_found(convert, tmp_path):
    """Those that no crystal, compound or dimer has."""
    family = Made(numbers=(11, 14, 17, 21, 22))
    load = family.load

    def mixed_up(asked):
        potential = load(asked)
        return replace(potential, atomic_numbers=(11, 14, 17, 22, 21))

    family.load = mixed_up
    result = convert(family)
    assert result.exit_code == 1
    assert "but the energy of lone atom (each of 5 species) differs by 9.9e-01 eV/atom" in result.output
    assert left_in(tmp_path) == []
