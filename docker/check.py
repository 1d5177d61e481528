# SPDX-License-Identifier: LGPL-2.1-or-later
"""Check that an image, or a clean room made by its steps, holds what docker/Dockerfile promises; a line for each.

`contents` looks at all files and needs root; `use` does what users do, and must not be root:

    docker run --rm --user 0 IMAGE python /opt/kim-torchml/docker/check.py contents
    docker run --rm IMAGE python /opt/kim-torchml/docker/check.py use
"""

import argparse
import functools
import gc
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

DRIVER = "TorchMLModelDriver"
STILLINGER_WEBER = "TorchML_StillingerWeber_Si"
EXAMPLES = (STILLINGER_WEBER, "TorchML_Descriptor_Si", "TorchML_Graph_Si", "TorchML_Edges_Si")
REFERENCE = "SW_StillingerWeber_1985_Si__MO_"
# In Stillinger and Weber's potential each bond of the perfect crystal holds -50 kcal/mol, and an atom has two.
CRYSTAL_ENERGY = -2 * 50 * 4.184 / 96.48533  # eV per atom
LATTICE_CONSTANT = 5.431  # Å
LARGEST = 2500  # MB (10^6 bytes), allowed for an image with torch's build for CPUs

_INPUT = f"""
units metal
atom_style atomic
kim init {{model}} metal
lattice diamond {LATTICE_CONSTANT}
region cell block 0 2 0 2 0 2
create_box 1 cell
create_atoms 1 box
mass 1 28.0855
kim interactions Si
thermo_modify format float %.12g
run 0
print "energy per atom: $(pe/atoms:%.12g)"
"""


class BrokenPromiseError(Exception):
    """Something is not as promised."""


def expect(condition: bool, message: str) -> None:
    """Raise `BrokenPromiseError` unless the condition holds."""
    if not condition:
        raise BrokenPromiseError(message)


def run(*command: str, **variables: str) -> str:
    """Return what a command prints; if it fails, the error shows its last lines."""
    expect(shutil.which(command[0]) is not None, f"there is no program {command[0]} on PATH ({os.environ.get('PATH')})")
    done = subprocess.run(
        command, env=os.environ | variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    expect(done.returncode == 0, f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout[-2000:]}")
    return done.stdout


def promised(instruction: str) -> str:
    """Return the text of the last instruction of a kind, such as USER, in the Dockerfile beside this file."""
    dockerfile = Path(__file__).with_name("Dockerfile").read_text(encoding="utf-8")
    return re.findall(rf"^{instruction} +(.*\S)", dockerfile, re.MULTILINE)[-1]


def installed_models() -> dict[str, list[str]]:
    """Return the names of KIM's items by collection."""
    items: dict[str, list[str]] = {}
    for line in run("kim-api-collections-management", "list").splitlines():
        heading = re.fullmatch(r"(\w+) Collection", line)
        if heading:
            names = items.setdefault(heading[1].lower(), [])
        elif items and line.startswith("\t") and "--empty--" not in line:
            names.append(line.strip())
    return items


@functools.cache
def lammps_energy(model: str, ranks: int = 1) -> float:
    """Return the energy of perfect diamond silicon, 64 atoms, in eV per atom."""
    Path("in.check").write_text(_INPUT.format(model=model), encoding="utf-8")
    parallel = ("mpirun", "--oversubscribe", "-np", str(ranks)) if ranks > 1 else ()
    output = run(*parallel, "lmp", "-in", "in.check", OMP_NUM_THREADS="1")
    found = re.search(r"^energy per atom: (\S+)$", output, re.MULTILINE)
    expect(found is not None, f"no energy in LAMMPS' output for {model}:\n{output[-2000:]}")
    assert found is not None
    return float(found[1])


def reference() -> str:
    """Return the id of KIM's own Stillinger-Weber model."""
    names = [name for names in installed_models().values() for name in names if name.startswith(REFERENCE)]
    expect(bool(names), f"{REFERENCE}.. (openkim-models) is not installed")
    return names[0]


def account() -> str:
    """Check that the user is not root, starts in the promised folder, and may write there and at home."""
    expect(os.getuid() != 0, "the user is root")
    expect(str(Path.cwd()) == promised("WORKDIR"), f"the working folder is {Path.cwd()}, not {promised('WORKDIR')}")
    for folder in (Path.cwd(), Path.home()):
        expect(os.access(folder, os.W_OK), f"{folder} cannot be written")
    return f"user {os.getuid()}, in {Path.cwd()}"


def packages() -> str:
    """Check that the packages can be imported, and torch is of the build that was asked for."""
    for name in ("ase.calculators.kim", "kimpy", "kim_torchml", "torch", "torch_geometric", "jinja2", "matplotlib"):
        import_module(name)
    build = os.environ.get("KIM_TORCHML_EXPECTED_TORCH_BUILD", "")
    expect(
        version("torch").endswith(f"+{build}" if build else ""), f"torch {version('torch')} is not of build {build!r}"
    )
    return ", ".join(f"{name} {version(name)}" for name in ("kim-torchml", "torch", "ase", "kimpy"))


def doctor() -> str:
    """Check that the driver's own diagnosis finds no error."""
    return run("kim-torchml", "doctor", KIM_TORCHML_COMPILE="never").strip().splitlines()[-1]


def entry_point() -> str:
    """Check that the entry point tells what is inside."""
    told = run("bash", str(Path(__file__).with_name("entrypoint.sh")))
    for words in (version("torch"), version("kimpy"), DRIVER, *EXAMPLES, "docker run"):
        expect(words in told, f"the entry point does not name {words}:\n{told}")
    lammps = re.search(r"LAMMPS +(.*20\d\d.*) \(", told)
    expect(lammps is not None, f"the entry point does not tell LAMMPS' version:\n{told}")
    return lammps[1] if lammps else ""


def collection() -> str:
    """Check that the system's collection holds exactly the driver and the examples of ours, and the user's nothing."""
    items = installed_models()
    ours = sorted(name for name in items.get("system", []) if name.startswith("TorchML"))
    expect(ours == sorted((DRIVER, *EXAMPLES)), f"the system's collection holds {ours}, not {(DRIVER, *EXAMPLES)}")
    expect(reference() in items["system"], f"{reference()} is not in the system's collection")
    expect(not items.get("user"), f"the user's collection holds {items.get('user')}")
    return f"{DRIVER}, {', '.join(EXAMPLES)}, {reference()}"


def energies() -> str:
    """Check that LAMMPS finds the crystal's known energy with every model."""
    found = {model: lammps_energy(model) for model in (reference(), *EXAMPLES)}
    for model, energy in found.items():
        # The networks have learnt this energy, with an error; Stillinger and Weber's formula gives it.
        tolerance = 2e-4 if "StillingerWeber" in model else 1e-2
        expect(abs(energy - CRYSTAL_ENERGY) < tolerance, f"{model}: {energy} eV/atom, not {CRYSTAL_ENERGY:.5f}")
    expect(abs(found[STILLINGER_WEBER] - found[reference()]) < 1e-8, f"Stillinger-Weber is not KIM's own: {found}")
    return ", ".join(f"{model} {energy:.6f} eV/atom" for model, energy in found.items())


def parallel() -> str:
    """Check that two MPI ranks find the same energy as one."""
    model = EXAMPLES[-1]
    expect(abs(lammps_energy(model, ranks=2) - lammps_energy(model)) < 1e-8, f"{model} differs under mpirun -np 2")
    return f"{model} with two ranks"


def ase_energy() -> str:
    """Check that ASE finds the same energies as LAMMPS."""
    from ase.build import bulk
    from ase.calculators.kim import KIM

    for model in EXAMPLES:
        atoms = bulk("Si", "diamond", a=LATTICE_CONSTANT, cubic=True)
        atoms.calc = KIM(model)
        difference = atoms.get_potential_energy() / len(atoms) - lammps_energy(model)
        expect(abs(difference) < 1e-6, f"{model} differs between ASE and LAMMPS by {difference} eV/atom")
    # When a model is destroyed, KIM writes to its log in the folder of that moment. This one is still there now.
    del atoms
    gc.collect()
    return "ASE and LAMMPS agree"


def own_model() -> str:
    """Check that a user can install a model of their own."""
    name = "My_StillingerWeber_Si"
    folder = Path(name)
    shutil.copytree(Path(__file__).parents[1] / "examples" / "stillinger_weber", folder)
    cmake = (folder / "CMakeLists.txt").read_text(encoding="utf-8")
    (folder / "CMakeLists.txt").write_text(cmake.replace(STILLINGER_WEBER, name), encoding="utf-8")
    run("kim-api-collections-management", "install", "user", str(folder.resolve()))
    try:
        expect(abs(lammps_energy(name) - CRYSTAL_ENERGY) < 2e-4, f"{name} gives another energy")
    finally:
        run("kim-api-collections-management", "remove", "--force", name)
    return f"{name} installed, run and removed"


def system_files() -> list[tuple[Path, os.stat_result]]:
    """Return all files that belong to the image: those on the root's own file system, each once."""
    device = os.lstat("/").st_dev
    files = {}
    for folder, folders, names in os.walk("/"):
        folders[:] = [name for name in folders if os.lstat(os.path.join(folder, name)).st_dev == device]  # noqa: PTH118
        for name in names:
            path = Path(folder, name)
            status = path.lstat()
            if status.st_dev == device:
                files[status.st_ino] = (path, status)
    return list(files.values())


def size() -> str:
    """Check that the image is no larger than promised."""
    parts = {
        "torch": r".*/site-packages/(torch|torch-.*|functorch|torchgen)/",
        "CUDA": r".*/site-packages/(nvidia|triton|cuda)[^/]*/",
        "other Python packages": r".*/site-packages/",
        "the example models, the driver and their sources": f"/opt/|.*/({DRIVER}|TorchML_[A-Za-z_]+)/",
        "openkim-models": r".*/kim-api/|.*/openkim-models/",
        "Debian or Ubuntu": "/",
    }
    sizes = dict.fromkeys(parts, 0)
    for path, status in system_files():
        sizes[next(part for part, pattern in parts.items() if re.match(pattern, str(path)))] += status.st_size
    total = sum(sizes.values()) // 10**6
    told = ", ".join(f"{part} {size // 10**6} MB" for part, size in sizes.items())
    if os.environ.get("KIM_TORCHML_EXPECTED_TORCH_BUILD") == "cpu":
        expect(total <= LARGEST, f"{total} MB are more than {LARGEST} MB: {told}")
    return f"{total} MB: {told}"


def single_torch() -> str:
    """Check that there is one torch."""
    names = [str(path) for path, _ in system_files() if path.name == "libtorch_cpu.so"]
    expect(len(names) == 1, f"one torch, not {len(names)}: {names}")
    return names[0]


def caches() -> str:
    """Check that no downloaded packages, caches or temporary files are left."""
    left_over = re.compile(
        r"/var/lib/apt/lists/.+_(Packages|Release|InRelease)|/var/cache/apt/archives/.+\.deb|.*/\.cache/|/(var/)?tmp/"
    )
    found = [str(path) for path, _ in system_files() if left_over.match(str(path))]
    expect(not found, f"{len(found)} files are left over: {found[:5]}")
    return "no caches"


CHECKS: dict[str, tuple[Callable[[], str], ...]] = {
    "contents": (size, single_torch, caches),
    "use": (account, packages, doctor, entry_point, collection, energies, parallel, ase_energy, own_model),
}


def main() -> None:
    """Run the checks of one kind; exit with 1 if one fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=CHECKS)
    kind = parser.parse_args().kind
    failures = 0
    start = Path.cwd()
    for check in CHECKS[kind]:
        with tempfile.TemporaryDirectory() as scratch:
            try:
                if check is not account:
                    os.chdir(scratch)
                print(f"ok      {check.__name__}: {check()}", flush=True)
            # The other checks must run, whatever is wrong with the image.
            except Exception as error:
                failures += 1
                print(f"FAILED  {check.__name__}: {error}", flush=True)
            finally:
                os.chdir(start)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
