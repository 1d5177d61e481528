# SPDX-License-Identifier: LGPL-2.1-or-later
"""`kim-torchml verify` as a user runs it, and the deliberately broken models that it is tested with."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from kim_collection import HERE, KimCollection

COMMAND = Path(sys.executable).parent / "kim-torchml"
CHECKS = (
    "species-supported-as-stated",
    "periodicity-support",
    "permutation-symmetry",
    "forces-numerical-derivative",
    "dimer-continuity-c1",
    "objectivity",
    "inversion-symmetry",
    "memory-leak",
    "thread-safe",
    "unit-conversion",
)
# Defect of broken_model.cpp: the check that must find it.
FOUND_BY = {
    "WRONG_FORCE_SIGN": "forces-numerical-derivative",
    "DIMER_JUMP": "dimer-continuity-c1",
    "FORCE_JUMP": "dimer-continuity-c1",
    "CUTOFF_JUMP": "dimer-continuity-c1",
    "ENERGY_KINK": "dimer-continuity-c1",
    "KINK_WITHOUT_FORCES": "dimer-continuity-c1",
    "DIRECTION_DEPENDENT": "objectivity",
    "NOT_INVERSION_SYMMETRIC": "inversion-symmetry",
    "INDEX_DEPENDENT": "permutation-symmetry",
    "NOT_PERIODIC": "periodicity-support",
    "LEAK": "memory-leak",
    "SMALL_LEAK": "memory-leak",
    "LUMPY_LEAK": "memory-leak",
    "SHARED_BUFFER": "thread-safe",
    "FORGOTTEN_UNIT": "unit-conversion",
    "WRONG_VIRIAL_UNIT": "unit-conversion",
    "WRONG_SPECIES": "species-supported-as-stated",
    "LONELY_SPECIES": "species-supported-as-stated",
}
OTHERS = (
    *("SOUND", "NO_INTERACTION", "WITHOUT_FORCES", "SINGLE_PRECISION", "NEEDS_FORCES", "NO_MIXTURE"),
    *("ENDLESS_PARTICLE_ENERGY", "CRASHES", "HANGS"),
)


def broken(defect: str) -> str:
    """Return the KIM id of the model with a defect."""
    return f"Broken_{defect}"


@dataclass(frozen=True)
class Verified:
    """One run of the command.

    Attributes:
        folder: Where it ran.
        status: Exit status.
        output: Standard output.
        errors: Standard error.
        report: What --json wrote; None if it wrote nothing.
    """

    folder: Path
    status: int
    output: str
    errors: str
    report: dict | None

    def result(self, check: str) -> dict:
        """Return the result of one check."""
        assert self.report is not None, self.errors
        (found,) = (result for result in self.report["results"] if result["name"] == check)
        return found

    def grades(self) -> dict[str, str]:
        """Return the grade of each check."""
        assert self.report is not None, self.errors
        return {result["name"]: result["grade"] for result in self.report["results"]}


def verify(collection: KimCollection, folder: Path, model: str, *options: str, **variables: str) -> Verified:
    """Run the command on a model, in a folder of the test's."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{model}.json"
    done = subprocess.run(
        [COMMAND, "verify", model, "--json", path, *options],
        cwd=folder,
        env=collection.environment | {"KIM_TORCHML_QUIET": "1"} | variables,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    report = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    return Verified(folder, done.returncode, done.stdout, done.stderr, report)


def verify_all(
    collection: KimCollection, folder: Path, runs: dict[str, tuple[str, ...]], **variables: str
) -> dict[str, Verified]:
    """Run the command on several models, two at a time; runs: the options for each."""
    with ThreadPoolExecutor(2) as pool:
        started = {
            model: pool.submit(verify, collection, folder / model, model, *options, **variables)
            for model, options in runs.items()
        }
        return {model: run.result() for model, run in started.items()}


def install_broken_models(collection: KimCollection, build: Path) -> None:
    """Build the models of broken_model/ and install them."""
    defects = ";".join([*FOUND_BY, *OTHERS])
    collection.cmake(HERE / "broken_model", build, f"-DDEFECTS={defects}")
