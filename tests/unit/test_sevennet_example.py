# SPDX-License-Identifier: LGPL-2.1-or-later
"""The example of SevenNet: its options, its verdict and tables, and when it converts again."""

import io
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from ase.units import GPa
from rich.console import Console

from kim_torchml.tools.convert.sevennet import _SINGLE

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "sevennet"
README = (EXAMPLE / "README.md").read_text()


@pytest.fixture
def example(monkeypatch):
    """Return a function that gives the names of a module of the example; nothing of it stays imported."""
    monkeypatch.syspath_prepend(str(EXAMPLE))
    before = set(sys.modules)
    yield lambda name: __import__(name)
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and Path(sys.modules[name].__file__).parent == EXAMPLE:
            del sys.modules[name]


@pytest.fixture
def results(example):
    return example("results")


def result(results, atoms=4, shift=0.0):
    forces = np.linspace(-1.0, 1.0, 3 * atoms).reshape(atoms, 3)
    return results.Result(-5.0 * atoms + shift, forces, np.array([-3.0, -6.0, -9.0, 1.0, 2.0, 3.0]) * GPa)


@pytest.fixture
def compared(results):
    """A structure for which both simulators give what the package gives."""
    names = (results.LAMMPS, results.ASE, results.PACKAGE)
    times = dict(zip(names, ([250.0, 200.0, 900.0], [240.0] * 3, [600.0] * 3), strict=True))
    return results.Compared("Si", {name: result(results) for name in names}, times)


def curve(results, shift=0.0, lattice_constant=5.4, bulk_modulus=90.0):
    """Return energies near a minimum, of an equation of state that is a parabola in the strain."""
    edges = lattice_constant * np.linspace(0.99, 1.01, 9)
    volumes, least = edges**3 / 8, lattice_constant**3 / 8
    energies = -5.0 + shift + 0.5 * bulk_modulus * GPa * (volumes - least) ** 2 / least
    return results.Curve(volumes, energies, 8)


@pytest.fixture
def curves(results):
    return {results.LAMMPS: curve(results), results.PACKAGE: curve(results)}


def printed(table, width=80):
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    return console.file.getvalue()


def test_the_limits_are_those_of_converting(results):
    assert {"energy": _SINGLE.energy, "forces": _SINGLE.force, "pressure": _SINGLE.stress} == results.LIMITS
    assert set(results.UNITS) == set(results.LIMITS)


def test_equal_results_are_well(results, compared, curves):
    assert results.excesses([compared], curves) == []
    assert compared.n_atoms == 4
    assert compared.results[results.ASE].pressure == pytest.approx(6.0)


def with_result(compared, simulator, **changes):
    changed = replace(compared.results[simulator], **changes)
    return replace(compared, results=compared.results | {simulator: changed})


def changed_by(values, difference):
    """Return a copy in which the last value is another."""
    values = np.array(values)
    values[..., -1] += difference
    return values


CHANGES = [
    ("LAMMPS", "energy", 4 * 3e-6, r"the energy of Si in LAMMPS differs by 3\.0e-06 eV/atom from .*2e-06 eV/atom\)"),
    ("ASE", "forces", -3e-5, r"the forces of Si in ASE differ by 3\.0e-05 eV/Å from .*2e-05 eV/Å\)"),
    ("LAMMPS", "stress", 3e-6, r"the pressure of Si in LAMMPS differs by 3\.0e-06 eV/Å³ from .*2e-06 eV/Å³\)"),
]


@pytest.mark.parametrize(("simulator", "what", "difference", "sentence"), CHANGES)
def test_a_large_difference_is_a_sentence(results, compared, curves, simulator, what, difference, sentence):
    value = getattr(compared.results[simulator], what)
    value = value + difference if what == "energy" else changed_by(value, difference)
    (found,) = results.excesses([with_result(compared, simulator, **{what: value})], curves)
    assert re.fullmatch(sentence, found)


@pytest.mark.parametrize(("simulator", "what", "difference", "sentence"), CHANGES)
def test_a_small_difference_is_well(results, compared, curves, simulator, what, difference, sentence):
    value = getattr(compared.results[simulator], what)
    value = value + 0.6 * difference if what == "energy" else changed_by(value, 0.6 * difference)
    assert results.excesses([with_result(compared, simulator, **{what: value})], curves) == []


def test_no_number_is_no_small_difference(results, compared, curves):
    (found,) = results.excesses([with_result(compared, "ASE", energy=float("nan"))], curves)
    assert "the energy of Si in ASE differs by nan" in found


def test_another_equation_of_state_is_a_sentence(results, compared, curves):
    (found,) = results.excesses([compared], curves | {results.LAMMPS: curve(results, shift=3e-6)})
    assert found.startswith("an energy of the equation of state in LAMMPS differs by 3.0e-06 eV/atom")


def test_the_fit_finds_lattice_constant_and_bulk_modulus(results):
    found = curve(results, lattice_constant=5.43, bulk_modulus=98.0)
    assert found.lattice_constant == pytest.approx(5.43, abs=1e-4)
    assert found.bulk_modulus == pytest.approx(98.0, rel=0.02)
    np.testing.assert_allclose(found.fitted(found.volumes), found.energies, rtol=0, atol=1e-4)


def test_the_table_of_structures(results, compared, example):
    forces = compared.results[results.ASE].forces
    wrong = with_result(compared, results.ASE, forces=changed_by(forces, 1e-3))
    text = printed(example("comparison_table").structure_table([wrong], 5, 3))
    cells = {row[0]: row[1] for row in re.findall(r"^│ (.*\S) +│ +(.*\S) │$", text, re.MULTILINE)}
    assert cells["energy, SevenNet's own (eV/atom)"] == "-5.000000"
    assert cells["pressure (GPa)"] == "6.000"
    assert cells["LAMMPS: forces, difference (eV/Å)"] == "0.0e+00"
    assert cells["ASE: forces, difference (eV/Å)"] == "1.0e-03"
    # The best of its turns, in which nothing else ran.
    assert cells["LAMMPS: time (ms/step)"] == "200"
    assert cells["LAMMPS: speed-up over SevenNet's own"] == "3.0 x"
    assert cells["ASE: speed-up over SevenNet's own"] == "2.5 x"
    assert "Si (4)" in text
    assert "3 turns of 5 steps" in text


def test_the_table_of_the_equation_of_state(results, curves, example):
    curves |= {results.LAMMPS: curve(results, shift=1e-6)}
    text = printed(example("comparison_table").curve_table(curves))
    rows = {row.split("│")[1].strip(): row.split("│")[2:5] for row in text.splitlines() if row.startswith("│")}
    here, own, difference = (float(cell) for cell in rows["least energy (eV/atom)"])
    assert here == pytest.approx(own, abs=2e-6)
    assert own == pytest.approx(-5.0, abs=1e-5)
    assert difference == pytest.approx(1e-6, rel=0.01)
    assert rows["largest difference (eV/atom)"][2].strip() == "1.0e-06"
    assert "9 volumes" in text


def test_tables_fit_a_terminal(results, compared, curves, example):
    """Each row is one line: nothing is broken or cut."""
    tables = example("comparison_table")
    many = [replace(compared, name=name) for name in ("Si", "NaCl", "water")]
    for table in (tables.structure_table(many, 10, 3), tables.curve_table(curves)):
        text = printed(table)
        assert "…" not in text
        assert len([line for line in text.splitlines() if line.startswith("│")]) == table.row_count


def test_the_picture_is_drawn(results, compared, curves, example, tmp_path):
    path = tmp_path / "new" / "picture.png"
    example("comparison_picture").draw([compared], curves, path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_structures_are_those_of_the_table(example):
    structures = {name: make() for name, make in example("compared_structures").STRUCTURES.items()}
    assert {name: len(atoms) for name, atoms in structures.items()} == {"Si": 64, "NaCl": 64, "water": 96}
    for atoms in structures.values():
        # LAMMPS' box is along x, y, z.
        np.testing.assert_array_equal(atoms.cell.array, np.diag(atoms.cell.lengths()))
        distances = atoms.get_all_distances(mic=True)
        assert distances[~np.eye(len(atoms), dtype=bool)].min() > 0.9
    water = structures["water"]
    density = water.get_masses().sum() / water.get_volume() * 1.66053907
    assert density == pytest.approx(1.0, abs=0.01)


def test_a_calculator_answers_a_request(example):
    """Another calculator, which needs no trained potential, stands in."""
    atoms = Atoms("Cu4", positions=np.array([[0, 0, 0], [0, 1.9, 1.9], [1.9, 0, 1.9], [1.9, 1.9, 0]], dtype=float))
    request = {"symbols": ["Cu"] * 4, "positions": atoms.positions.tolist(), "cell": (3.6 * np.eye(3)).tolist()}
    found = example("calculator_process").answer(request | {"steps": 2, "time_step": 0.5}, EMT())
    atoms.cell, atoms.pbc, atoms.calc = 3.6 * np.eye(3), True, EMT()
    assert found["energy"] == pytest.approx(atoms.get_potential_energy(), rel=1e-12)
    np.testing.assert_allclose(found["forces"], atoms.get_forces(), atol=1e-12)
    np.testing.assert_allclose(found["stress"], atoms.get_stress(), atol=1e-12)
    assert found["milliseconds"] > 0
    json.dumps(found)


def test_a_calculator_that_ends_is_an_error_with_its_last_lines(example, tmp_path):
    process = example("calculators").CalculatorProcess
    said = r"the calculator has ended; the end of .*log\.txt:\n(.*\n)*.*Error"
    with (
        process(Path(sys.executable), "sevennet", "no_such_weights", tmp_path / "log.txt") as calculator,
        pytest.raises(RuntimeError, match=said),
    ):
        calculator.compute(Atoms("Cu", cell=[3, 3, 3], pbc=True))


def test_it_converts_again_where_packages_or_sources_have_changed(example, tmp_path):
    state_of = example("prepare").state_of
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    (packages / "kim_torchml").mkdir(parents=True)
    (packages / "kim_torchml" / "a.py").write_text("a = 1\n")
    (packages / "sevenn-0.13.0.dist-info").mkdir()
    first = state_of(tmp_path)
    (packages / "kim_torchml" / "a.pyc").write_text("")
    assert state_of(tmp_path) == first
    (packages / "kim_torchml" / "a.py").write_text("a = 2\n")
    second = state_of(tmp_path)
    (packages / "sevenn-0.13.0.dist-info").rename(packages / "sevenn-0.13.1.dist-info")
    assert len({first, second, state_of(tmp_path)}) == 3


@pytest.fixture
def converter(example, tmp_path):
    """Return the folder of an environment whose Python stands for `kim-torchml convert`, which it counts."""
    python = tmp_path / "environment" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(
        '#!/bin/sh\necho "$@" >>"$(dirname "$0")/calls"\n[ -z "$FAILS" ] || exit 1\n'
        'while [ "$1" != --output ]; do shift; done\nmkdir "$2"\n'
    )
    python.chmod(0o755)
    return python.parents[1]


def test_it_converts_once(example, converter, tmp_path, monkeypatch):
    convert, console = example("prepare").convert, Console(file=io.StringIO())
    folder = convert(converter, tmp_path, console)
    assert folder.is_dir()
    assert convert(converter, tmp_path, console) == folder
    (call,) = (converter / "bin" / "calls").read_text().splitlines()
    assert call == f"-I -m kim_torchml convert sevennet 7net-0 --output {folder} --name SevenNet_0"
    (converter / "lib" / "python3.11" / "site-packages" / "new-1.0.dist-info").mkdir(parents=True)
    monkeypatch.setenv("FAILS", "1")
    with pytest.raises(RuntimeError, match=r"this failed, as it says above: .* convert sevennet 7net-0"):
        convert(converter, tmp_path, console)
    # What failed is tried again.
    monkeypatch.delenv("FAILS")
    convert(converter, tmp_path, console)
    assert len((converter / "bin" / "calls").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (["--steps", "0"], 2, "--steps must be 1 or more, got 0"),
        (["--cells", "2"], 2, "unrecognized arguments: --cells"),
        (["--help"], 0, "usage: bash examples/run.sh --family sevennet "),
    ],
)
def test_options(example, monkeypatch, capfd, options, status, said):
    monkeypatch.setattr(sys, "argv", ["compare.py", *options])
    with pytest.raises(SystemExit) as ended:
        example("compare").main()
    assert ended.value.code == status
    assert said in "".join(capfd.readouterr())


def test_without_run_sh_there_is_no_environment(example, monkeypatch, capfd, tmp_path):
    monkeypatch.setattr(sys, "argv", ["compare.py", "--output", str(tmp_path / "build")])
    monkeypatch.setenv("KIM_TORCHML_FAMILIES", str(tmp_path))
    with pytest.raises(
        SystemExit, match=r"error: there is no environment of the package in .*; run `bash examples/run"
    ):
        example("compare").main()
    assert not (tmp_path / "build").exists()


@pytest.mark.parametrize(
    ("found", "status", "said"),
    [
        (["the energy of Si in ASE differs"], 1, "the energy of Si in ASE differs\n"),
        ([], None, "all differences are as small as they must be (2e-06 eV/atom, 2e-05 eV/Å, 2e-06 eV/Å³)\n"),
    ],
)
def test_the_exit_code_says_whether_all_is_well(example, monkeypatch, capfd, found, status, said):
    compare = example("compare")
    monkeypatch.setattr(sys, "argv", ["compare.py"])
    monkeypatch.setattr(compare, "run", lambda options, console: found)
    code = None
    try:
        compare.main()
    except SystemExit as ended:
        code = ended.code
    assert code == status
    assert capfd.readouterr().out == said


def test_the_table_of_the_readme_has_the_rows_that_are_printed(results, compared, curves, example):
    tables = example("comparison_table")
    for table in (tables.structure_table([compared], 5, 3), tables.curve_table(curves)):
        for heading in table.columns[0].cells:
            assert f"│ {heading} " in README
