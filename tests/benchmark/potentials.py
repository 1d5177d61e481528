# SPDX-License-Identifier: LGPL-2.1-or-later
"""A converted model through LAMMPS beside the ASE calculator of the package that it comes from, one thread, in turns.

    .venv/bin/python tests/benchmark/potentials.py SevenNet_0 --family sevennet --source 7net-0 \\
        --family-python ~/sevennet/bin/python [--crystal Si] [--cells 2 3] [--rounds 5] [--device cpu] [--convert] \\
        [--json FILE]

The first argument is the model's folder; with --convert it is made first, by `kim-torchml convert` in the environment
of the family's package. The driver of this checkout and the model are installed into a KIM collection in a temporary
folder, which has the cache of compiled programs too; installing without compiling, and then compiling, are timed.

For each size three processes run NVE dynamics of a crystal, of silicon unless --crystal names another, from the same
start, with images folded: LAMMPS with the program as it is (eager), LAMMPS with it compiled, and ASE with the package's
calculator, in the environment of the package. All stay alive, and compute a few steps in turns, so that what else goes
on in the machine comes to each; the order changes from round to round. LAMMPS makes its neighbour lists anew once in
ten steps, the calculators do in every step. Columns: CPU and wall time of a step, medians over rounds; by how much it
is faster than the calculator, from the CPU times (on a GPU from wall times) of the turns of a round, median and range
over rounds; peak memory of the process; how far the energy of the start is from the calculator's. --cells with nothing
behind it leaves this out.

--nve PS: NVE dynamics of 96 atoms of water, in LAMMPS compiled and with the calculator, from the same start; drift of
the energy, and temperature.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "integration"))

from ase import Atoms, units  # noqa: E402
from ase.build import bulk  # noqa: E402
from kim_collection import KimCollection, export_sources  # noqa: E402
from live_runs import CalculatorRun, LammpsRun, LiveRun, State, Turn  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.progress import track  # noqa: E402
from rich.table import Table  # noqa: E402
from water_nve import TIMESTEP, nve_table, run_both, thermalise, water  # noqa: E402

from kim_torchml.inputs import FILE_FORMATS  # noqa: E402
from kim_torchml.model_files.description import ModelDescription  # noqa: E402
from kim_torchml.model_files.model_folder import read_model_folder  # noqa: E402

# How LAMMPS runs the model, with the word for KIM_TORCHML_COMPILE.
WAYS = {"eager": "never", "compiled": "cached"}
CALCULATOR = "calculator"
_WARMING_UP = 3
# Crystals of the structure of diamond: the edge of the cubic cell, Å, and a step of their dynamics, fs.
CRYSTALS = {"Si": (5.431, 1.0), "C": (3.567, 0.5)}
# Rounding in single precision makes less, and another potential more: eV for each atom, relative to energies above 1.
_SAME = 1e-4


@dataclass(frozen=True)
class Done:
    """A command that has ended well.

    Attributes:
        wall: wall time, s.
        cpu: CPU time of it and of all processes that it has waited for, s.
        peak_mb: peak memory of the largest of them, MB.
        printed: what it has printed.
    """

    wall: float
    cpu: float
    peak_mb: float
    printed: str

    def __str__(self) -> str:
        return f"{self.wall:.1f} s, {self.cpu:.1f} s of CPU, peak {self.peak_mb:.0f} MB"


def measured(command: Sequence[str | Path], environment: Mapping[str, str], folder: Path) -> Done:
    """Run a command, whose progress is seen on standard error; return what it took."""
    with tempfile.TemporaryFile("w+") as printed:
        started = time.perf_counter()
        process = subprocess.Popen([*map(str, command)], env=dict(environment), cwd=folder, stdout=printed)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        printed.seek(0)
        text = printed.read()
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{text[-2000:]}")
    return Done(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, text)


class Benchmark:
    """A model that is installed and compiled, and the calculator that it is compared with.

    Attributes:
        model: what the model's files say of it.
        name: KIM id of the model.
        facts: what the calculator says of itself.
        done: what converting, installing and compiling took.
    """

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        """Convert the model where that is asked for, install and compile it."""
        self._options, self._folder = options, folder
        self._model_folder = options.folder.resolve()
        self.done: dict[str, Done] = {}
        if options.convert:
            self.done["converting"] = self._convert()
        names = [path.name for path in self._model_folder.iterdir()] if self._model_folder.is_dir() else []
        if "model.toml" not in names:
            sys.exit(f"FOLDER must be a converted model's, got {options.folder}; see kim-torchml convert, or --convert")
        self.model: ModelDescription = read_model_folder(self._model_folder, names, FILE_FORMATS).description
        collection = KimCollection(folder / "collection")
        own = {"KIM_TORCHML_CACHE": folder / "cache", "XDG_DATA_HOME": folder / "data"}
        self._environment = collection.environment | {name: str(path) for name, path in own.items()}
        self._environment |= {"KIM_MODEL_EXECUTION_DEVICE": options.device, "KIM_TORCHML_EDGES": "folded"}
        self._check_species()
        # Compiling takes minutes: what is wrong with the calculator should be known before.
        with self.calculator() as calculator:
            self.facts = calculator.facts
        sources = folder / "export"
        sources.mkdir()
        with Console().status("installing the driver"):
            collection.install(export_sources(sources), KIM_TORCHML_PYTHON=sys.executable)
        self.done["installing"] = self._command("install", "--no-compile", str(self._model_folder))
        # The folder may have been given another name.
        self.name = self.done["installing"].printed.split()[0]
        self.done["compiling"] = self._command("compile", self.name)

    @property
    def dtype(self) -> str:
        """The type that was asked for; else that of the model's inputs, which a network may convert."""
        return self._options.dtype or self.model.dtype

    def lammps(self, way: str, atoms: Atoms, timestep: float) -> LammpsRun:
        """Start LAMMPS with the model."""
        environment = self._environment | {"KIM_TORCHML_COMPILE": WAYS[way]}
        return LammpsRun(f"LAMMPS_{way}", self.name, atoms, timestep, environment, self._folder)

    def calculator(self) -> CalculatorRun:
        """Start the package's calculator."""
        options = self._options
        asked = {"device": options.device, "dtype": self.dtype, "head": options.head, "modal": options.modal}
        arguments = [options.family, source_of(options)]
        arguments += [word for name, value in asked.items() if value for word in (f"--{name}", value)]
        return CalculatorRun(CALCULATOR, options.family_python, arguments, self._environment, self._folder)

    def _check_species(self) -> None:
        options = self._options
        wanted = [*([options.crystal] if options.cells else []), *(["H", "O"] if options.nve else [])]
        if missing := [each for each in wanted if each not in self.model.species]:
            sys.exit(
                f"the model must know {', '.join(wanted)}, and does not know {', '.join(missing)}; leave out --nve "
                "without H and O, and name another --crystal, or say --cells with nothing behind it"
            )

    def _command(self, *words: str) -> Done:
        environment = self._environment | {"KIM_TORCHML_COMPILE": "cached"}
        return measured([sys.executable, "-m", "kim_torchml", *words], environment, self._folder)

    def _convert(self) -> Done:
        options = self._options
        command = [options.family_python, "-m", "kim_torchml", "convert", options.family, source_of(options)]
        command += [
            "--output",
            self._model_folder,
            "--name",
            self._model_folder.name,
            *(["--trust"] if options.trust else []),
        ]
        for name in ("dtype", "head", "modal"):
            if value := getattr(options, name):
                command += [f"--{name}", value]
        return measured(command, os.environ | {"OMP_NUM_THREADS": "1"}, self._folder)


def source_of(options: argparse.Namespace) -> str:
    """Return the source, as an absolute path if it is a file."""
    path = Path(options.source).expanduser()
    return str(path.resolve()) if path.exists() else options.source


@dataclass
class Found:
    """What was measured of one size.

    Attributes:
        n_atoms: number of atoms.
        rounds: what a step took, for each round and by the names of the runs.
        start: state of the start, by the names of the runs.
        peak_mb: peak memory, MB, by the names of the runs.
    """

    n_atoms: int
    rounds: list[dict[str, Turn]] = field(default_factory=list)
    start: dict[str, State] = field(default_factory=dict)
    peak_mb: dict[str, float] = field(default_factory=dict)

    def energy_off(self, name: str) -> float:
        """Return how far the energy of the start is from the calculator's, eV for each atom."""
        return abs(self.start[name].potential - self.start[CALCULATOR].potential) / self.n_atoms

    def check_same(self) -> None:
        """End if what is compared is not the same potential, another head of it for instance."""
        for name, state in self.start.items():
            allowed = _SAME * max(1.0, abs(state.potential) / self.n_atoms)
            if not self.energy_off(name) <= allowed:
                sys.exit(
                    f"{name} must give the energy of the package's calculator, and is {self.energy_off(name):.1e} "
                    "eV/atom off; name the source, head and modality that the model was converted from"
                )

    def times_faster(self, name: str, device: str) -> list[float]:
        """Return by how much a run is faster than the calculator, for each round."""
        clock = "cpu" if device == "cpu" else "wall"
        return [getattr(each[CALCULATOR], clock) / getattr(each[name], clock) for each in self.rounds]


def warm_crystal(symbol: str, cells: int) -> Atoms:
    """Return a warm crystal of 8 cells**3 atoms."""
    edge, _ = CRYSTALS[symbol]
    atoms = bulk(symbol, "diamond", a=edge, cubic=True) * (cells, cells, cells)
    atoms.rattle(0.05, seed=3)
    velocities = np.random.default_rng(5).normal(size=(len(atoms), 3))
    velocities *= np.sqrt(units.kB * 300 / atoms.get_masses())[:, None]
    atoms.set_velocities(velocities - velocities.mean(0))
    return atoms


def measure(benchmark: Benchmark, cells: int, options: argparse.Namespace) -> Found:
    """Return what steps of one size take."""
    atoms = warm_crystal(options.crystal, cells)
    _, timestep = CRYSTALS[options.crystal]
    found = Found(len(atoms))
    with ExitStack() as stack:
        calculator = benchmark.calculator()
        stack.enter_context(calculator)
        found.start[calculator.name] = calculator.start(atoms, timestep)
        runs: list[LiveRun] = [calculator]
        for way in WAYS:
            run = benchmark.lammps(way, atoms, timestep)
            stack.enter_context(run)
            found.start[run.name] = run.start()
            check_way(run, way)
            runs.insert(0, run)
        found.check_same()
        for each in runs:
            each.turn(_WARMING_UP)
        for index in track(range(options.rounds), f"{len(atoms)} atoms"):
            order = runs if index % 2 else runs[::-1]
            found.rounds.append({each.name: each.turn(options.steps)[0] for each in order})
        found.peak_mb = {each.name: each.peak_mb() for each in runs}
    return found


def check_way(run: LammpsRun, way: str) -> None:
    """End if LAMMPS does not run the model in the way that is measured, as the line of the first use tells."""
    if (", compiled" in run.stderr()) != (way == "compiled"):
        sys.exit(f"the model must run {way} in {run.name}, and does not:\n{run.stderr()}")


def steps_table(benchmark: Benchmark, found: list[Found], options: argparse.Namespace) -> Table:
    """Return the table of steps."""
    device = options.device
    facts = benchmark.facts
    ours = f"{benchmark.name} ({benchmark.dtype}) in LAMMPS"
    theirs = f"{facts['calculator']} ({facts['dtype']}) of {facts['package']}, torch {facts['torch']}, in ASE"
    table = Table(title=f"{ours} beside {theirs}\n{options.crystal} (diamond), {device}, one thread")
    headings = ["atoms", "", "CPU ms per step", "wall ms", "times faster", "range", "peak MB", "energy off, eV/atom"]
    for heading in headings:
        table.add_column(heading, justify="right" if heading else "left")
    for each in found:
        for name in (*(f"LAMMPS_{way}" for way in WAYS), CALCULATOR):
            turns = [row[name] for row in each.rounds]
            faster = each.times_faster(name, device)
            is_ours = name != CALCULATOR
            table.add_row(
                str(each.n_atoms),
                name.replace("_", " "),
                f"{median(turn.cpu for turn in turns):.1f}",
                f"{median(turn.wall for turn in turns):.1f}",
                f"{median(faster):.2f}" if is_ours else "",
                f"{min(faster):.2f} - {max(faster):.2f}" if is_ours else "",
                f"{each.peak_mb[name]:.0f}",
                f"{each.energy_off(name):.1e}" if is_ours else "",
            )
        table.add_section()
    return table


def run_nve(benchmark: Benchmark, options: argparse.Namespace) -> tuple[Table, dict[str, dict]]:
    """Return the table of the NVE dynamics, and its numbers."""
    atoms = water()
    with benchmark.lammps("compiled", atoms, TIMESTEP) as ours, benchmark.calculator() as theirs:
        with Console().status("relaxing and heating water"):
            warm = thermalise(ours, atoms, options.heating)
        check_way(ours, "compiled")
        return nve_table(run_both(ours, theirs, warm, options.nve), len(atoms))


def versions() -> dict[str, str]:
    """Return the versions of KIM-API and LAMMPS."""
    kim = subprocess.run(["kim-api-collections-management", "--version"], capture_output=True, text=True, check=True)
    lammps = subprocess.run(["lmp", "-h"], capture_output=True, text=True, check=True).stdout.split("Simulator - ")
    return {"KIM-API": kim.stdout.split()[0], "LAMMPS": lammps[1].splitlines()[0]}


def parsed_options() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the model's folder, whose name is its KIM id")
    parser.add_argument("--family", required=True, help="word of the family: sevennet, mace, nequip, ani or chgnet")
    parser.add_argument("--source", required=True, help="what the model was converted from")
    parser.add_argument("--family-python", required=True, type=Path, help="Python of the package's environment")
    parser.add_argument("--cells", nargs="*", type=int, default=[2, 3], help="cubic cells along each edge")
    parser.add_argument("--crystal", choices=CRYSTALS, default="Si", help="element of the crystal (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each size (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=10, help="steps of each turn (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    parser.add_argument("--head", help="head of a network that has several")
    parser.add_argument("--modal", help="modality of a network that has several")
    parser.add_argument("--convert", action="store_true", help="make the folder first, where kim-torchml is installed "
                        "beside the package, or PYTHONPATH names it")  # fmt: skip
    parser.add_argument("--dtype", choices=("float32", "float64"), help="with --convert: type of the model")
    parser.add_argument("--trust", action="store_true", help="with --convert: unpickle the source")
    parser.add_argument("--nve", type=float, default=0.0, metavar="PS", help="length of the dynamics of water, ps")
    parser.add_argument("--heating", type=int, default=200, help="steps with a thermostat before it (%(default)s)")
    parser.add_argument("--json", type=Path, help="file for all numbers")
    options = parser.parse_args()
    if (options.dtype or options.trust) and not options.convert:
        parser.error("--dtype and --trust need --convert")
    if not options.family_python.expanduser().is_file():
        parser.error(f"--family-python must be the Python of an environment, got {options.family_python}")
    # The link of an environment is its Python, and what it leads to is another.
    options.family_python = options.family_python.expanduser().absolute()
    return options


def main() -> None:
    """Print what converting, installing and compiling take, and the tables."""
    options = parsed_options()
    console = Console(width=150)
    written: dict[str, object] = {"versions": versions()}
    with tempfile.TemporaryDirectory() as folder:
        benchmark = Benchmark(options, Path(folder))
        console.print(", ".join(f"{name} {version}" for name, version in written["versions"].items()), highlight=False)
        for what, done in benchmark.done.items():
            console.print(f"{what}: {done}", highlight=False)
            written[what] = asdict(done)
        written["calculator"] = benchmark.facts
        found = [measure(benchmark, cells, options) for cells in options.cells]
        if found:
            console.print(steps_table(benchmark, found, options))
        written["steps"] = [asdict(each) for each in found]
        if options.nve:
            table, written["nve"] = run_nve(benchmark, options)
            console.print(table)
    if options.json:
        options.json.write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    main()
