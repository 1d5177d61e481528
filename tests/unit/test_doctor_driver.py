# SPDX-License-Identifier: LGPL-2.1-or-later
import platform
import subprocess
import sys
import sysconfig

import pytest
from fake_machine import add_package, make_environment, only, refuse_to_write, script

from kim_torchml import __version__
from kim_torchml.tools.doctor import Machine, Status
from kim_torchml.tools.doctor.check_drivers import check_drivers
from kim_torchml.tools.doctor.check_lammps import check_lammps
from kim_torchml.tools.doctor.check_models import check_models

PYTHON = sysconfig.get_python_version()
KIM_INSTALL = "kim-api-collections-management install --force user ./kim-torchml"
# For this environment, whether or not it is active.
INSTALL = f"KIM_TORCHML_PYTHON={sys.executable} {KIM_INSTALL}"


def install_as(name, python=sys.executable):
    return f"KIM_TORCHML_PYTHON={python} KIM_TORCHML_DRIVER_NAME={name} {KIM_INSTALL}"


def driver_of(fake, name="TorchMLModelDriver", **changes):
    """Install a driver with changes to its record; return the finding on it."""
    facts = {"python_executable": sys.executable, "python_version": PYTHON} | changes
    fake.add_kim_api(model_drivers=fake.add_driver(name, **facts))
    return check_drivers(fake.machine())[0]


def test_sound_driver(fake):
    finding = driver_of(fake)
    assert finding.status is Status.OK
    assert f"version {__version__}, user collection, for Python {PYTHON} ({sys.executable})" in finding.found


def test_no_driver(fake):
    fake.add_kim_api()
    finding = only(check_drivers(fake.machine()))
    assert finding.status is Status.PROBLEM
    assert "kim-torchml is not installed in any of KIM's collections" in finding.found
    assert finding.commands == (INSTALL,)


def test_driver_of_someone_else_under_our_id(fake):
    fake.add_kim_api(model_drivers=f"user TorchMLModelDriver {fake.folder}/elsewhere")
    finding = only(check_drivers(fake.machine()))
    assert finding.status is Status.WARNING
    assert f"TorchMLModelDriver is installed ({fake.folder}/elsewhere/TorchMLModelDriver), but" in finding.found
    assert "it is another program" in finding.found
    assert "To remove it and have kim-torchml in its place" in finding.advice
    assert finding.commands == (INSTALL,)


def test_driver_where_only_root_may_write(fake, monkeypatch):
    """KIM's manager removes what has the id, in whatever collection; without sudo it cannot."""
    foreign = fake.folder / "system" / "TorchMLModelDriver"
    foreign.mkdir(parents=True)
    fake.add_kim_api(model_drivers=f"system TorchMLModelDriver {foreign.parent}")
    refuse_to_write(monkeypatch, foreign.parent)
    finding = only(check_drivers(fake.machine()))
    assert finding.commands == ("sudo kim-api-collections-management remove --force TorchMLModelDriver", INSTALL)


def test_driver_for_the_python_that_the_user_has_chosen(fake):
    fake.add_kim_api()
    chosen = make_environment(fake.folder / "of the user")
    fake.environment["KIM_TORCHML_PYTHON"] = str(chosen)
    assert only(check_drivers(fake.machine())).commands == (f"KIM_TORCHML_PYTHON='{chosen}' {KIM_INSTALL}",)
    fake.environment["KIM_TORCHML_PYTHON"] = "/nonexistent/python3"
    assert only(check_drivers(fake.machine())).commands == (INSTALL,)


@pytest.mark.parametrize("record", ["", "{", "[1]"])
def test_driver_whose_record_is_damaged(fake, record):
    fake.add_kim_api(model_drivers=fake.add_driver(record=record))
    finding = only(check_drivers(fake.machine()))
    assert finding.status is Status.PROBLEM
    assert "TorchMLModelDriver/installation.json' is missing or damaged" in finding.found


def test_driver_whose_environment_is_gone(fake):
    finding = driver_of(fake, "TorchML__MD_173118614730_000", python_executable="/nonexistent/bin/python3")
    assert finding.status is Status.PROBLEM
    assert finding.name == "driver TorchML__MD_173118614730_000"
    assert "the Python environment that it was built for is gone: '/nonexistent/bin/python3'" in finding.found
    assert finding.commands == (install_as("TorchML__MD_173118614730_000"),)


def test_driver_whose_environment_was_upgraded(fake):
    finding = driver_of(fake, python_version="3.9")
    assert finding.status is Status.PROBLEM
    assert f"built for Python 3.9, but '{sys.executable}' is now Python {platform.python_version()}" in finding.found


def test_driver_whose_python_does_not_run(fake):
    broken = script(fake.bin / "python3", "kill -SEGV $$")
    finding = driver_of(fake, python_executable=str(broken))
    assert finding.status is Status.PROBLEM
    assert f"('{broken}') does not run: it was ended by signal 11" in finding.found


def test_driver_whose_python_hangs(fake, monkeypatch):
    monkeypatch.setattr("kim_torchml.tools.programs.run_program.TIME_LIMIT", 0.2)
    hangs = script(fake.bin / "python3", "exec /bin/sleep 60")
    finding = driver_of(fake, python_executable=str(hangs))
    assert finding.status is Status.PROBLEM
    assert "does not run: it did not end within 0 s" in finding.found


def test_driver_whose_python_library_is_gone(fake):
    finding = driver_of(fake, python_library="/nonexistent/libpython3.11.so")
    assert finding.status is Status.PROBLEM
    assert "is gone: '/nonexistent/libpython3.11.so'" in finding.found


def test_driver_of_another_version(fake):
    finding = driver_of(fake, version="0.0.9")
    assert finding.status is Status.PROBLEM
    assert f"it is version 0.0.9 ({fake.folder}/model_drivers/TorchMLModelDriver), but" in finding.found
    assert f"this kim_torchml is {__version__}" in finding.found
    assert finding.commands == (INSTALL,)


# As KIM-API 2.3 compiles a model's library.
_MODEL = """
struct language {{ int id; }};
int kim_shared_library_schema_version = {schema};
struct {{ int type; const char *name; struct language language; void (*create)(void); const char *driver; }}
kim_shared_library_schema = {{ 2, "{name}", {{ 1 }}, 0, {driver} }};
"""


def compile_model(fake, name, driver, schema=2):
    """Install a portable model; return KIM's line on it."""
    folder = fake.folder / "portable_models" / name
    folder.mkdir(parents=True)
    source = folder / "model.c"
    source.write_text(_MODEL.format(name=name, driver=f'"{driver}"' if driver else 0, schema=schema))
    library = folder / "libkim-api-portable-model.so"
    subprocess.run(["cc", "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
    return f"user {name} {folder.parent}"


def test_models_with_their_drivers(fake):
    models = [compile_model(fake, "Mine", "TorchMLModelDriver"), compile_model(fake, "Standalone", None)]
    fake.add_kim_api(portable_models="\n".join(models), model_drivers=fake.add_driver())
    finding = only(check_models(fake.machine()))
    assert finding.status is Status.OK
    assert finding.found == "1 for kim-torchml; each of 2 models has the driver it names"


def test_models_without_their_drivers(fake):
    models = [compile_model(fake, f"Mine{k}", "TorchML__MD_173118614730_000") for k in range(5)]
    models += [
        compile_model(fake, "Other", "SNAP__MD_536750310735_000"),
        compile_model(fake, "New", "Unknown", schema=3),
    ]
    fake.add_kim_api(portable_models="\n".join(models), model_drivers=fake.add_driver())
    ours, other = check_models(fake.machine())
    assert ours.status is other.status is Status.PROBLEM
    assert "Mine0, Mine1, Mine2 and 2 more: the driver TorchML__MD_173118614730_000" in ours.found
    assert ours.commands == (install_as("TorchML__MD_173118614730_000"),)
    assert "Other: the driver SNAP__MD_536750310735_000, which it names, is not installed" in other.found
    assert other.commands == ("kim-api-collections-management install user SNAP__MD_536750310735_000",)


def test_model_that_is_damaged(fake):
    line = compile_model(fake, "Damaged", "TorchMLModelDriver")
    (fake.folder / "portable_models/Damaged/libkim-api-portable-model.so").write_bytes(b"not a library")
    fake.add_kim_api(portable_models=line)
    finding = only(check_models(fake.machine()))
    assert finding.status is Status.PROBLEM
    assert finding.name == "model Damaged"
    assert "its library cannot be loaded:" in finding.found
    assert finding.commands == ("kim-api-collections-management remove --force Damaged",)


def test_models_of_the_working_folder_are_not_loaded(fake):
    lines = [compile_model(fake, name, "TorchMLModelDriver") for name in ("Mine", "Found")]
    lines[1] = lines[1].replace("user ", "currentWorkingDirectory ", 1)
    fake.add_kim_api(portable_models="\n".join(lines), model_drivers=fake.add_driver())
    all_well, left_out = check_models(fake.machine())
    assert all_well.found == "1 for kim-torchml; the only model has the driver it names"
    assert (left_out.status, left_out.name) == (Status.SKIPPED, "model Found")
    assert left_out.found == "it lies in the working folder, whose libraries are not loaded, as they could run anything"


def test_model_that_ends_whoever_loads_it(fake):
    lines = [compile_model(fake, f"Mine{k}", "TorchMLModelDriver") for k in range(3)]
    folder = fake.folder / "portable_models" / "Mine1"
    (folder / "model.c").write_text("void abort(void); __attribute__((constructor)) void load(void) { abort(); }")
    library = folder / "libkim-api-portable-model.so"
    subprocess.run(["cc", "-shared", "-fPIC", str(folder / "model.c"), "-o", str(library)], check=True)
    fake.add_kim_api(portable_models="\n".join(lines), model_drivers=fake.add_driver())
    finding = only(check_models(fake.machine()))
    assert finding.status is Status.PROBLEM
    assert finding.name == "model Mine1"
    assert finding.found == "its library cannot be loaded: it was ended by signal 6"


def test_no_lammps(fake):
    finding = only(check_lammps(fake.machine()))
    assert finding.status is Status.SKIPPED
    assert "there is no 'lmp' on PATH" in finding.found
    assert "kim-torchml doctor --lammps NAME" in finding.advice


def test_lammps_by_another_name(fake):
    fake.add_lammps()
    (fake.bin / "lmp").rename(fake.bin / "lmp_serial")
    assert only(check_lammps(fake.machine())).status is Status.SKIPPED
    finding = check_lammps(Machine(fake.environment, "lmp_serial"))[0]
    assert finding.found == f"{fake.bin}/lmp_serial, 29 Sep 2021, with the package KIM"


def test_lammps_that_does_not_start(fake):
    script(fake.bin / "lmp", "echo 'error while loading shared libraries: libfoo.so' >&2", "exit 127")
    finding = only(check_lammps(fake.machine()))
    assert finding.status is Status.PROBLEM
    assert "lmp -h' fails: it ended with exit code 127: error while loading shared libraries" in finding.found


def needs_room(fake):
    """A LAMMPS that writes into its temporary folder from the start, as MPI does."""
    fake.add_lammps()
    (fake.bin / "lmp").rename(fake.bin / "lmp.real")
    script(fake.bin / "lmp", ': >"$TMPDIR/file" || exit 3', f"exec {fake.bin}/lmp.real")


def test_temporary_folder_that_lammps_cannot_write(fake):
    needs_room(fake)
    fake.environment["TMPDIR"] = f"{fake.folder}/gone"
    finding = check_lammps(fake.machine())[0]
    assert finding.status is Status.PROBLEM
    assert finding.found == (
        f"'{fake.bin}/lmp -h' fails, and the temporary folder '{fake.folder}/gone' cannot be written (No such file or "
        "directory)"
    )
    assert "with one in '/tmp' LAMMPS starts" in finding.advice
    assert finding.commands == ("mkdir -p /tmp/kim-torchml-tmp", "export TMPDIR=/tmp/kim-torchml-tmp")
    # The rest is looked at all the same.
    assert len(check_lammps(fake.machine())) > 1


def test_no_temporary_folder_at_all(fake, monkeypatch):
    needs_room(fake)
    fake.environment["TMPDIR"] = f"{fake.folder}/gone"
    monkeypatch.setattr(
        "kim_torchml.tools.doctor.check_lammps.why_no_new_file_in", lambda folder: "No space left on device"
    )
    finding = only(check_lammps(fake.machine()))
    assert finding.status is Status.PROBLEM
    assert "cannot be written (No space left on device); nor can any other that was tried" in finding.found
    assert finding.commands == ()


def test_lammps_that_fails_in_any_temporary_folder(fake):
    script(fake.bin / "lmp", "echo 'libfoo.so is missing' >&2", "exit 127")
    fake.environment["TMPDIR"] = f"{fake.folder}/gone"
    finding = only(check_lammps(fake.machine()))
    assert "lmp -h' fails: it ended with exit code 127: libfoo.so is missing" in finding.found
    assert finding.advice == "Install LAMMPS again:"


def test_lammps_without_kim(fake):
    fake.add_lammps("MANYBODY KIMERA")
    finding = only(check_lammps(fake.machine()))
    assert finding.status is Status.PROBLEM
    assert "lmp was built without the package KIM" in finding.found
    assert "cmake -D PKG_KIM=on" in finding.advice


def test_lammps_with_a_python_of_another_version(fake):
    fake.add_lammps()
    name = "TorchML__MD_173118614730_000"
    fake.add_kim_api(model_drivers=fake.add_driver(name, python_version="3.12", python_executable="/env/bin/python"))
    fake.add_linked_library("/usr/lib/libpython3.11.so.1.0")
    finding = check_lammps(fake.machine())[-1]
    assert finding.status is Status.PROBLEM
    assert "LAMMPS is linked with Python 3.11 (/usr/lib/libpython3.11.so.1.0), but the driver" in finding.found
    assert f"{name} was built for Python 3.12 (/env/bin/python)" in finding.found
    assert finding.commands == (
        "sudo apt-get install python3.11 python3.11-venv python3.11-dev   # Debian, Ubuntu",
        "python3.11 -m venv ~/kim-torchml-3.11",
        "~/kim-torchml-3.11/bin/python -m pip install 'torch>=2.4' numpy",
        install_as(name, "~/kim-torchml-3.11/bin/python"),
    )
    script(fake.bin / "python3.11")
    assert check_lammps(fake.machine())[-1].commands[0].startswith("sudo apt-get install python3.11-dev ")


def test_lammps_with_the_same_python(fake):
    fake.add_lammps()
    fake.add_kim_api(model_drivers=fake.add_driver(python_version="3.11"))
    fake.add_linked_library("/usr/lib/libpython3.11.so.1.0")
    assert [finding.status for finding in check_lammps(fake.machine())] == [Status.OK] * 2


def test_lammps_and_the_driver_both_without_libpython(fake):
    fake.add_lammps()
    fake.add_kim_api(model_drivers=fake.add_driver(python_library=""))
    finding = check_lammps(fake.machine())[-1]
    assert finding.status is Status.PROBLEM
    assert "has no shared library to load" in finding.found
    assert finding.commands == (
        "sudo apt-get install python3 python3-venv python3-dev   # Debian, Ubuntu",
        "/usr/bin/python3 -m venv ~/kim-torchml-system",
        "~/kim-torchml-system/bin/python -m pip install 'torch>=2.4' numpy",
        f"KIM_TORCHML_PYTHON=~/kim-torchml-system/bin/python {KIM_INSTALL}",
    )


def test_lammps_with_another_kim_api(fake):
    fake.add_lammps()
    fake.add_kim_api()
    case = 'case "$1" in *lmp) folder=/conda/lib;; *) folder=/usr/lib;; esac'
    script(fake.bin / "ldd", case, 'echo "\tlibkim-api.so.2 => $folder/libkim-api.so.2 (0x00007f1234567890)"')
    finding = check_lammps(fake.machine())[1]
    assert finding.status is Status.WARNING
    assert "LAMMPS is linked with /conda/lib/libkim-api.so.2, but KIM's tools with /usr/lib" in finding.found


def test_environments_of_drivers_are_looked_at_once(fake):
    python = make_environment(fake.folder / "environment")
    add_package(python, "torch", "2.5.0")
    lines = [
        fake.add_driver(name, python_executable=str(python.with_name(link)))
        for name, link in (("TorchMLModelDriver", "python"), ("TorchML__MD_173118614730_000", "python3"))
    ]
    fake.add_kim_api(model_drivers="\n".join(lines))
    assert len(fake.machine().pythons) == 2
