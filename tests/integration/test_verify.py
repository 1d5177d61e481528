# SPDX-License-Identifier: LGPL-2.1-or-later
"""`kim-torchml verify` on models as they are: this repository's, KIM's, the published ones; and what it prints."""

import re
from pathlib import Path

import kimpy
import pytest
from exported_models import EXAMPLE, example_network, saved
from golden_session import MODELS
from kim_collection import REPOSITORY, KimCollection, PortableModel
from verify_host import CHECKS, Verified, verify, verify_all

GRAPH = "TorchML_Graph_Si"
EXAMPLES = {
    "TorchML_StillingerWeber_Si": "stillinger_weber",
    "TorchML_Descriptor_Si": "descriptor",
    GRAPH: "graph",
    "TorchML_Edges_Si": "edges",
}
# The network of the edges example, which is that of the graph example, as TorchScript.
SCRIPTED = EXAMPLE.scripted
# Of the three that have one network the edges example alone gets the checks that take most of the time: the dimers of
# all have one curve, and memory and threads of TorchScript and of the other kinds are those of test_memory.py,
# test_kimpy_threads.py and the other examples.
ONE_NETWORK = (GRAPH, SCRIPTED)
QUICK = [check for check in CHECKS if check not in ("dimer-continuity-c1", "memory-leak", "thread-safe")]
NOT_UNITS = [check for check in CHECKS if check != "unit-conversion"]
CONVERTS = "Tersoff_LAMMPS_Tersoff_1988T3_Si__MO_"
TABULATED = ("EAM_Dynamo_MendelevSunZhang_2019_CuZr__MO_", "LJ_Truncated_Nguyen_2005_Ar__MO_")
STILLINGER_WEBER = "SW_StillingerWeber_1985_Si__MO_"


def installed(prefix: str) -> str:
    """Return the id of a model of KIM's own, whatever its version."""
    portable = kimpy.collection_item_type.portableModel
    collections = kimpy.collections.create()
    count = collections.cache_list_of_item_names_by_type(portable)
    names = [collections.get_item_name_by_type(index) for index in range(count)]
    found = sorted(name for name in names if name.startswith(prefix))
    if not found:
        pytest.skip(f"no model {prefix}... is installed (Debian and Ubuntu: package openkim-models)")
    return found[-1]


@pytest.fixture(scope="module")
def examples(bare_collection: KimCollection, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Verified]:
    models = []
    for name, folder in EXAMPLES.items():
        files = [path for path in sorted((REPOSITORY / "examples" / folder).iterdir()) if path.suffix != ".py"]
        content = {
            path.name: path.read_bytes() for path in files if path.suffix in (".param", ".pt", ".pt2", ".dat", ".toml")
        }
        models.append(PortableModel(name, content))
    models.append(saved(SCRIPTED, example_network(), "pt"))
    bare_collection.install_models(models, tmp_path_factory.mktemp("examples"))
    runs = {model.name: ("--html", f"{model.name}.html") for model in models if model.name not in ONE_NETWORK}
    return verify_all(bare_collection, tmp_path_factory.mktemp("reports"), runs, COLUMNS="80")


@pytest.fixture(scope="module")
def published(
    bare_collection: KimCollection, shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Verified]:
    models = []
    for name in MODELS:
        files = sorted((shared / "portable_models" / name).iterdir())
        models.append(PortableModel(name, {path.name: path.read_bytes() for path in files}))
    bare_collection.install_models(models, tmp_path_factory.mktemp("published"))
    runs: dict[str, tuple[str, ...]] = dict.fromkeys(MODELS, ())
    return verify_all(bare_collection, tmp_path_factory.mktemp("reports"), runs, KIM_MODEL_ELEMENTS_MAP="1")


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in ONE_NETWORK])
def test_examples_are_graded_a_or_p(examples: dict[str, Verified], name: str) -> None:
    expected = dict.fromkeys(CHECKS, "P") | {"forces-numerical-derivative": "A"}
    assert examples[name].grades() == expected


def test_examples_of_one_network_are_graded_a_or_p(
    bare_collection: KimCollection, examples: dict[str, Verified], own_folder: Path
) -> None:
    del examples
    options = tuple(word for each in QUICK for word in ("--check", each))
    expected = dict.fromkeys(QUICK, "P") | {"forces-numerical-derivative": "A"}
    for run in verify_all(bare_collection, own_folder, dict.fromkeys(ONE_NETWORK, options)).values():
        assert run.grades() == expected


# What is true of these models: a ReLU gives the second one's force a jump, and nothing fades at the third one's cutoff.
@pytest.mark.parametrize(
    ("name", "dimer"),
    [
        ("TorchMLModel1_SW", "Energy, its slope and force are continuous"),
        ("TorchMLModel2_Desc", "the force jumps by"),
        ("TorchMLModel3_Graph", "at 3.0000 Å, the cutoff"),
    ],
)
def test_published_models(published: dict[str, Verified], name: str, dimer: str) -> None:
    run = published[name]
    assert list(run.grades()) == list(CHECKS)
    assert dimer in run.result("dimer-continuity-c1")["comment"]
    others = [check for check in NOT_UNITS if check != "dimer-continuity-c1"]
    assert {check: run.grades()[check] for check in others} == dict.fromkeys(others, "P") | {
        "forces-numerical-derivative": "A"
    }


def test_models_of_kim(bare_collection: KimCollection, own_folder: Path) -> None:
    """Of Stillinger-Weber's driver the version in Debian 12 forgets to convert energies where the length stays in Å."""
    names = installed(STILLINGER_WEBER), installed(CONVERTS)
    runs = verify_all(bare_collection, own_folder, {names[0]: (), names[1]: ("--check", "unit-conversion")})
    grades = runs[names[0]].grades()
    assert list(grades) == list(CHECKS)
    assert {check: grades[check] for check in NOT_UNITS} == dict.fromkeys(NOT_UNITS, "P") | {
        "forces-numerical-derivative": "A"
    }
    rows = {row["configuration"]: row for row in runs[names[0]].result("unit-conversion")["details"]["rows"]}
    for system in ("si (m, J)", "electron (Bohr, Hartree)", "nm, eV (nm, eV)"):
        assert rows[system]["error"] < 1e-8
    assert runs[names[1]].grades() == {"unit-conversion": "P"}


@pytest.mark.parametrize("prefix", TABULATED)
def test_forces_of_tabulated_models(bare_collection: KimCollection, own_folder: Path, prefix: str) -> None:
    """Steps that cross knots of a spline give poor derivatives; atoms too far apart, or too close, give none."""
    name = installed(prefix)
    run = verify(bare_collection, own_folder, name, "--check", "forces-numerical-derivative")
    assert run.grades() == {"forces-numerical-derivative": "A"}
    for row in run.result("forces-numerical-derivative")["details"]["rows"]:
        assert 0.01 < row["greatest force"] < 50.0


def test_table_fits_the_terminal(examples: dict[str, Verified]) -> None:
    for run in examples.values():
        lines = run.output.splitlines()
        assert max(map(len, lines)) <= 80
        for check in CHECKS:
            assert any(line.startswith(check) for line in lines)
        assert re.search(r"^\d+ of 10 checks passed", run.output, re.MULTILINE)


def test_html_report_stands_alone(examples: dict[str, Verified]) -> None:
    for name, run in examples.items():
        page = (run.folder / f"{name}.html").read_text(encoding="utf-8")
        assert not re.search(r"(src|href)=\"(?!data:|#)", page)
        for check in CHECKS:
            assert f'<h2 id="{check}">' in page
        # Dimer curve, error against step, memory, constant energy.
        assert page.count("data:image/svg+xml;base64,") == 4
        assert "Energy conservation" in page


def test_energy_is_conserved(examples: dict[str, Verified]) -> None:
    for run in examples.values():
        assert run.report is not None
        nve = run.report["nve"]
        assert len(nve["times_fs"]) == 401
        assert abs(nve["drift_eV_per_atom_ps"]) < 1e-4
        assert nve["fluctuation_eV_per_atom"] < 1e-4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("Nowhere_Model",), "no model Nowhere_Model is installed"),
        ((GRAPH, "--species", "Ge"), "does not support Ge; it supports Si"),
        ((GRAPH, "--check", "speed"), "there is no check speed; --list shows"),
        ((GRAPH, "--html", "nowhere/report.html"), "there is no folder nowhere"),
    ],
)
def test_nothing_to_check(
    bare_collection: KimCollection, examples: dict[str, Verified], own_folder: Path, arguments: tuple, message: str
) -> None:
    del examples
    run = verify(bare_collection, own_folder, *arguments)
    assert run.status == 2
    assert run.output == ""
    assert run.errors.splitlines()[-1].startswith("Error: ")
    assert message in run.errors


@pytest.fixture(scope="module")
def unreadable(bare_collection: KimCollection, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model that the driver cannot read."""
    model = PortableModel("Unreadable_Model", {"file.param": b"two\n"})
    bare_collection.install_models([model], tmp_path_factory.mktemp("unreadable"))
    return model.name


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_STEP_TASKS_PER_NODE": "1"},
        {"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_LOCAL_RANK": "0", "OMPI_COMM_WORLD_LOCAL_SIZE": "1"},
    ],
    ids=["alone", "Slurm", "Open MPI"],
)
def test_model_that_cannot_be_opened_says_why(
    bare_collection: KimCollection, unreadable: str, own_folder: Path, variables: dict[str, str]
) -> None:
    """Under a launcher the driver puts its rank before the reason, which is no part of it."""
    run = verify(bare_collection, own_folder, unreadable, "--check", "objectivity", **variables)
    assert run.status == 2
    last = run.errors.splitlines()[-1]
    assert last.startswith("Error: ")
    assert "`number of elements` must be" in last
    assert "[kim-torchml" not in last
    assert not (own_folder / "kim.log").exists()
