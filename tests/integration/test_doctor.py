# SPDX-License-Identifier: LGPL-2.1-or-later
"""`kim-torchml doctor` on a real installation: all is well, and then one thing is not."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_models as tiny
import torch
from kim_collection import DRIVER, KimCollection, export_sources

from kim_torchml.process.oldest_versions import OLDEST_EXPORTING_TORCH, is_older

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def run_doctor(collection: KimCollection, **variables: str) -> tuple[int, str, dict[str, dict]]:
    """Return the exit code, what was printed, and the findings by name; nothing is compiled unless variables ask."""
    command = "from kim_torchml.tools.cli import main; main(['doctor', '--json', 'findings.json'])"
    # This process may write KIM's log into its own folder meanwhile, when it lets go of a model.
    folder = Path("doctor")
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", command],
        cwd=folder,
        env=collection.environment | {"KIM_TORCHML_COMPILE": "never"} | variables,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.stderr == ""
    findings = json.loads((folder / "findings.json").read_text())["findings"]
    return done.returncode, done.stdout, {finding["name"]: finding for finding in findings}


@pytest.mark.every_system
def test_all_is_well(collection: KimCollection) -> None:
    code, printed, findings = run_doctor(collection)
    assert code == 0, printed
    assert "No problem found" in printed
    assert findings.pop("compiling")["found"].startswith("KIM_TORCHML_COMPILE is never: ")
    assert {finding["status"] for finding in findings.values()} <= {"ok", "warning"}
    driver = findings[f"driver {DRIVER}"]["found"]
    assert f"for Python {PYTHON} ({sys.prefix}/bin/python" in driver
    assert findings["configuration"]["found"] == collection.environment["KIM_API_CONFIGURATION_FILE"]
    assert int(findings["models"]["found"].split()[0]) >= len(tiny.sound_models())
    assert f"{PYTHON} (" in findings["LAMMPS' Python"]["found"]
    # It leaves nothing behind, not even KIM's log.
    assert [path.name for path in Path("doctor").iterdir()] == ["findings.json"]


@pytest.mark.every_system
def test_a_small_program_is_compiled_once(collection: KimCollection, own_folder: Path) -> None:
    """The second doctor takes it from the cache. An older torch writes no program."""
    cache = own_folder / "cache"
    variables = {"KIM_TORCHML_COMPILE": "cached", "KIM_TORCHML_CACHE": str(cache), "TMPDIR": str(own_folder / "tmp")}
    (own_folder / "tmp").mkdir()
    code, printed, findings = run_doctor(collection, **variables)
    assert code == 0, printed
    assert findings["compiler"]["status"] == "ok"
    if is_older(torch.__version__, OLDEST_EXPORTING_TORCH):
        assert findings["compiling"]["status"] == "skipped"
        return
    assert re.match(r"a small program was compiled and run in \d+ s for cpu \(torch ", findings["compiling"]["found"])
    code, printed, findings = run_doctor(collection, **variables)
    assert code == 0, printed
    assert findings["compiling"]["status"] == "ok", printed
    assert findings["compiling"]["found"].startswith("a small program that is in the cache was run for cpu (torch ")
    assert findings["cache of compiled models"]["found"].startswith(f"{cache}, 1 compiled, ")
    assert len(list(cache.iterdir())) == 2, "something beside the entry and its lock was left"
    assert list((own_folder / "tmp").iterdir()) == []


@pytest.mark.every_system
def test_record_says_what_the_driver_was_built_for(collection: KimCollection) -> None:
    record = json.loads((collection.drivers / DRIVER / "installation.json").read_text())
    assert record["driver"] == DRIVER
    assert record["python_version"] == PYTHON
    assert Path(record["python_executable"]).samefile(sys.executable)
    assert Path(record["python_library"]).name.startswith(f"libpython{PYTHON}.so")
    assert record["torch_version"].split(".")[0] == "2"
    assert record["kim_api_version"].startswith("2.")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (
            {"python_version": "3.9"},
            f"it was built for Python 3.9, but '{sys.prefix}/bin/python3' is now Python {PYTHON}",
        ),
        ({"version": "0.0.9"}, "it is version 0.0.9"),
        ({"python_executable": "/nonexistent/python3"}, "is gone: '/nonexistent/python3' cannot be run"),
    ],
)
def test_driver_that_does_not_fit_any_more(collection: KimCollection, change: dict[str, str], found: str) -> None:
    path = collection.drivers / DRIVER / "installation.json"
    sound = path.read_text()
    try:
        path.write_text(json.dumps(json.loads(sound) | change))
        code, printed, findings = run_doctor(collection)
    finally:
        path.write_text(sound)
    assert code == 1
    assert findings[f"driver {DRIVER}"]["status"] == "problem"
    assert found in findings[f"driver {DRIVER}"]["found"]
    assert "1 problem" in printed or "python_version" in change


@pytest.mark.every_system
def test_printed_commands_install_the_driver(own_folder: Path, bare_python: Path) -> None:
    """Without an active environment, where `python3` on PATH has no torch; first nothing, then another's driver."""
    collection = KimCollection(own_folder / "collection")
    search = f"{bare_python.parent}:{collection.environment['PATH']}"
    _, _, findings = run_doctor(collection, PATH=search)
    commands = findings["driver"]["commands"]
    foreign = collection.drivers / DRIVER
    foreign.mkdir()
    (foreign / "libkim-api-model-driver.so").write_bytes(foreign_driver(own_folder))
    code, printed, findings = run_doctor(collection, PATH=search)
    assert code == 0, printed
    assert f"{DRIVER} is installed ({foreign}), but it is another program" in findings["driver"]["found"]
    assert findings["driver"]["commands"] == commands
    export_sources(own_folder / "kim-torchml")
    for command in commands:
        subprocess.run(["sh", "-c", command], env=collection.environment | {"PATH": search}, check=True, timeout=300)
    (own_folder / "kim.log").unlink(missing_ok=True)
    code, printed, findings = run_doctor(collection, PATH=search)
    assert code == 0, printed
    assert f"for Python {PYTHON} ({sys.executable})" in findings[f"driver {DRIVER}"]["found"]


def foreign_driver(folder: Path) -> bytes:
    """Compile what KIM takes for a model driver; return the library."""
    source, library = folder / "foreign.c", folder / "foreign.so"
    source.write_text(
        f'''
int kim_shared_library_schema_version = 2;
struct {{ int type; const char *name; struct {{ int id; }} language; void (*create)(void); const char *driver; }}
kim_shared_library_schema = {{ 3, "{DRIVER}", {{ 1 }}, 0, 0 }};
'''
    )
    subprocess.run(["cc", "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
    return library.read_bytes()


def test_configuration_file_that_kim_cannot_read(collection: KimCollection, own_folder: Path) -> None:
    broken = own_folder / "configuration"
    broken.write_text("nonsense\n")
    code, _, findings = run_doctor(collection, KIM_API_CONFIGURATION_FILE=str(broken))
    assert code == 1
    assert f"KIM cannot read its configuration file '{broken}'" in findings["configuration"]["found"]
    assert findings["models"]["status"] == "skipped"
    assert findings["configuration"]["commands"] == ["unset KIM_API_CONFIGURATION_FILE"]


def test_collection_folder_that_cannot_be_made(own_folder: Path) -> None:
    collection = KimCollection(own_folder / "collection")
    configuration = Path(collection.environment["KIM_API_CONFIGURATION_FILE"])
    (own_folder / "file").touch()
    configuration.write_text(configuration.read_text().replace(str(collection.drivers), f"{own_folder}/file/drivers"))
    variables = {"HOME": str(own_folder)}
    code, _, findings = run_doctor(collection, **variables)
    assert code == 1
    script = "\n".join(findings["user model drivers"]["commands"])
    subprocess.run(["sh", "-ec", script], env=collection.environment | variables, check=True)
    _, _, findings = run_doctor(collection, **variables)
    assert findings["user model drivers"]["status"] == "ok"
    assert findings["user model drivers"]["found"] == f"{own_folder}/kim-model-drivers"


def test_models_of_a_driver_that_is_not_installed(collection: KimCollection, own_folder: Path) -> None:
    """As KLIFF's exports where kim-torchml was installed by its own id only."""
    other = "TorchML__MD_173118614730_001"
    model = tiny.raw("Tiny_Orphan", tiny.RawModel(), driver=other)
    # KIM's manager refuses such a model; one whose driver is removed later stays.
    collection.install_models([model], own_folder / "build")
    try:
        code, _, findings = run_doctor(collection)
    finally:
        collection.manage("remove", "--force", model.name)
    assert code == 1
    assert findings["models"]["found"] == f"Tiny_Orphan: the driver {other}, which it names, is not installed"
    assert (
        f"KIM_TORCHML_DRIVER_NAME={other} kim-api-collections-management install" in findings["models"]["commands"][0]
    )
