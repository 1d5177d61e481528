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
        (
            "WRONG_FORCE_SIGN",
            "Forces deviate from minus the numerical derivative of the energy by 2e+00, relative; most at",
        ),
        ("DIMER_JUMP", "the energy jumps by 0.0014 eV at 3.3000 Å."),
        ("FORCE_JUMP", "the force jumps by 0.02"),
        ("CUTOFF_JUMP", "at 4.6000 Å, the cutoff."),
        ("ENERGY_KINK", "the slope of the energy jumps by 0.00"),
        ("KINK_WITHOUT_FORCES", "the slope of the energy jumps by 0.00"),
        ("SHARED_BUFFER", "results differ from the serial ones: a model for each thread, Python's lock released."),
        ("FORGOTTEN_UNIT", "Wrong in real (A, kcal_mol); si (m, J); cgs (cm, erg); electron (Bohr, Hartree)"),
        ("FORGOTTEN_UNIT", "energy, forces, particle energies, virial."),
        ("WRONG_VIRIAL_UNIT", "(A, amu_A2_per_ps2): virial."),
        ("WRONG_SPECIES", "Kr: stated as supported, but no cluster with it could be computed"),
        ("LONELY_SPECIES", "Kr: stated as supported, but no cluster with it could be computed"),
    ],
)
def test_comment_says_what_is_wrong(defective: dict[str, Verified], defect: str, said: str) -> None:
    assert said in defective[broken(defect)].result(FOUND_BY[defect])["comment"]


@pytest.mark.parametrize(
    ("defect", "said"),
    [
        ("SMALL_LEAK", "bytes with every create, compute and destroy ({} cycles; allocated memory)."),
        ("LUMPY_LEAK", "bytes, in lumps, with every create, compute and destroy ({} cycles; "),
    ],
)
def test_comment_tells_how_many_cycles_were_watched(defective: dict[str, Verified], defect: str, said: str) -> None:
    """How many there are depends on the machine's speed: the last one that was watched tells."""
    result = defective[broken(defect)].result("memory-leak")
    assert said.format(result["details"]["cycles"][-1] + 1) in result["comment"]


@pytest.mark.parametrize(("defect", "size"), [("LEAK", 1040), ("SMALL_LEAK", 48)])
def test_leak_is_measured(defective: dict[str, Verified], defect: str, size: int) -> None:
    """With malloc's overhead."""
    assert defective[broken(defect)].result("memory-leak")["error"] == pytest.approx(size, abs=8)


def test_model_without_interaction_passes_nothing_that_compares(models: KimCollection, own_folder: Path) -> None:
    """Zeros are equal whatever is done with them."""
    compares = [check for check in CHECKS if check not in ("species-supported-as-stated", "memory-leak")]
    run = verify(
        models, own_folder, broken("NO_INTERACTION"), *(option for check in compares for option in ("--check", check))
    )
    assert run.grades() == dict.fromkeys(compares, "F")
    for check in compares:
        assert "the atoms do not interact: " in run.result(check)["comment"]


@pytest.mark.parametrize("defect", ["NEEDS_FORCES", "NO_MIXTURE"])
def test_what_models_need_not_do(models: KimCollection, own_folder: Path, defect: str) -> None:
    """Energies without forces, or all species together."""
    run = verify(models, own_folder, broken(defect))
    assert run.grades() == dict.fromkeys(CHECKS, "P") | {"forces-numerical-derivative": "A"}


@pytest.mark.parametrize("seed", ["1", "2"])
def test_single_precision_is_no_defect(models: KimCollection, own_folder: Path, seed: str) -> None:
    """The numerical derivative is poor, and says so."""
    checks = [check for check in CHECKS if check not in ("memory-leak", "thread-safe")]
    options = [option for check in checks for option in ("--check", check)]
    run = verify(models, own_folder, broken("SINGLE_PRECISION"), "--seed", seed, *options)
    assert run.grades().pop("forces-numerical-derivative") in "BC"
    assert {grade for check, grade in run.grades().items() if check != "forces-numerical-derivative"} == {"P"}
    assert "within its uncertainty" in run.result("forces-numerical-derivative")["comment"]
    assert "the model rounds, so up to " in run.result("objectivity")["comment"]


def test_what_is_no_number_in_any_units_is_left_out(models: KimCollection, own_folder: Path) -> None:
    run = verify(models, own_folder, broken("ENDLESS_PARTICLE_ENERGY"), "--check", "unit-conversion")
    assert run.grades() == {"unit-conversion": "P"}
    comment = run.result("unit-conversion")["comment"]
    assert comment.endswith("Left out, because they are no numbers in Å and eV either: particle energies.")
    errors = run.result("unit-conversion")["details"]["rows"][0]["errors"]
    assert list(errors) == ["energy", "forces", "influence distance", "virial"]


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
