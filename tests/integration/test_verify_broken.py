# SPDX-License-Identifier: LGPL-2.1-or-later
"""Each verification check fails where it must, on a model with one defect, and passes on the same model without it."""

from pathlib import Path

import pytest
from kim_collection import KimCollection
from verify_host import CHECKS, FOUND_BY, Verified, broken, install_broken_models, verify, verify_all


@pytest.fixture(scope="module")
def models(bare_collection: KimCollection, tmp_path_factory: pytest.TempPathFactory) -> KimCollection:
    """The collection with the broken models."""
    install_broken_models(bare_collection, tmp_path_factory.mktemp("broken"))
    return bare_collection


@pytest.fixture(scope="module")
def sound(models: KimCollection, tmp_path_factory: pytest.TempPathFactory) -> Verified:
    return verify(models, tmp_path_factory.mktemp("sound"), broken("SOUND"))


@pytest.fixture(scope="module")
def defective(models: KimCollection, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Verified]:
    """Each defect's own check."""
    runs = {broken(defect): ("--check", check) for defect, check in FOUND_BY.items()}
    return verify_all(models, tmp_path_factory.mktemp("defective"), runs)


def test_sound_model_passes_all(sound: Verified) -> None:
    expected = dict.fromkeys(CHECKS, "P") | {"forces-numerical-derivative": "A"}
    assert sound.grades() == expected
    assert sound.status == 0
    assert "10 of 10 checks passed" in sound.output
    # Two species: each alone, and both.
    assert [row["configuration"] for row in sound.result("objectivity")["details"]["rows"]] == ["Ar", "Kr", "ArKr"]
    assert len(sound.result("dimer-continuity-c1")["details"]["rows"]) == 3
    assert sound.result("thread-safe")["details"]["rows"][2]["wrong"] == 0


@pytest.mark.parametrize("defect", FOUND_BY)
def test_defect_fails_its_check(defective: dict[str, Verified], defect: str) -> None:
    run = defective[broken(defect)]
    assert run.grades() == {FOUND_BY[defect]: "F"}
    assert run.status == 1
    assert f"1 failed: {FOUND_BY[defect]}" in run.output


@pytest.mark.parametrize(
    ("defect", "said"),
    [
        ("WRONG_FORCE_SIGN", "Forces are not minus the energy's derivative; atom "),
        ("DIMER_JUMP", "the energy jumps by 0.0014 eV at 3.3000 Å."),
        ("FORCE_JUMP", "the force jumps by 0.02"),
        ("CUTOFF_JUMP", "at 4.6000 Å, the cutoff."),
        ("SHARED_BUFFER", "results differ from the serial ones: a model for each thread, Python's lock released."),
        ("FORGOTTEN_UNIT", "Wrong in real (A, kcal_mol); si (m, J); cgs (cm, erg); electron (Bohr, Hartree)"),
        ("WRONG_SPECIES", "Kr: stated as supported, but no cluster with it could be computed"),
    ],
)
def test_comment_says_what_is_wrong(defective: dict[str, Verified], defect: str, said: str) -> None:
    assert said in defective[broken(defect)].result(FOUND_BY[defect])["comment"]


def test_leak_is_measured(defective: dict[str, Verified]) -> None:
    """1 KiB in each cycle, and malloc's overhead."""
    assert defective[broken("LEAK")].result("memory-leak")["error"] == pytest.approx(1040, abs=150)


def test_same_seed_gives_the_same_numbers(models: KimCollection, own_folder: Path) -> None:
    runs = [
        verify(models, own_folder / name, broken("INDEX_DEPENDENT"), "--check", "permutation-symmetry", "--seed", seed)
        for name, seed in (("one", "3"), ("two", "3"), ("three", "4"))
    ]
    errors = [run.result("permutation-symmetry")["error"] for run in runs]
    assert errors[0] == errors[1] != errors[2]


def test_model_without_forces(models: KimCollection, own_folder: Path) -> None:
    checks = ("forces-numerical-derivative", "objectivity", "dimer-continuity-c1")
    options = [option for check in checks for option in ("--check", check)]
    run = verify(models, own_folder, broken("WITHOUT_FORCES"), *options)
    assert run.grades() == {"forces-numerical-derivative": "N/A", "dimer-continuity-c1": "P", "objectivity": "P"}
    assert run.status == 0
    assert "2 of 3 checks passed; 1 not applicable" in run.output


def test_crash_is_a_failed_check_and_the_others_run(models: KimCollection, own_folder: Path) -> None:
    """It computes one and two particles only."""
    run = verify(
        models, own_folder, broken("CRASHES"), "--check", "objectivity", "--check", "dimer-continuity-c1",
        "--check", "thread-safe",
    )  # fmt: skip
    assert run.grades() == {"dimer-continuity-c1": "P", "objectivity": "F", "thread-safe": "F"}
    assert "the process crashed (SIGSEGV)" in run.result("objectivity")["comment"]
    assert "the process crashed (SIGSEGV)" in run.result("thread-safe")["comment"]
    assert run.status == 1


def test_hanging_model_is_a_failed_check(models: KimCollection, own_folder: Path) -> None:
    run = verify(
        models, own_folder, broken("HANGS"), "--check", "objectivity", "--check", "dimer-continuity-c1",
        "--timeout", "6",
    )  # fmt: skip
    assert run.grades() == {"dimer-continuity-c1": "P", "objectivity": "F"}
    assert "it took longer than 6 s (--timeout)" in run.result("objectivity")["comment"]


def test_species_can_be_chosen(models: KimCollection, own_folder: Path) -> None:
    """What the model cannot do with Kr does not matter then."""
    run = verify(
        models, own_folder, broken("WRONG_SPECIES"), "--species", "Ar", "--check", "species-supported-as-stated",
        "--check", "inversion-symmetry",
    )  # fmt: skip
    assert run.grades() == {"species-supported-as-stated": "P", "inversion-symmetry": "P"}
    assert run.report is not None
    assert run.report["model"]["checked"] == ["Ar"]
