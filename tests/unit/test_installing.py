# SPDX-License-Identifier: LGPL-2.1-or-later
"""`kim-torchml install` and `remove` with a KIM-API that a test makes up: what it is asked, and what is left."""

import re
import stat

import pytest
from click.testing import CliRunner
from fake_machine import refuse_to_write, script
from model_folders import DRIVER, compile_library, edges_files, raw_files, write_folder
from models import Edges1, script_bytes

from kim_torchml.tools.cli import main
from kim_torchml.tools.file_size import file_size
from kim_torchml.tools.installation import install as installing
from kim_torchml.tools.installation.placing import put_in_place
from kim_torchml.tools.kim_collections.libraries import MODEL_LIBRARY
from kim_torchml.tools.request_error import did_you_mean

# A manager that builds nothing: the model's library is the list of what it was given, and its description.
MANAGER = """
models=$(/usr/bin/sed -n "s/^portable-models-dir = //p" "$KIM_API_CONFIGURATION_FILE")
name=${3#./}
/usr/bin/mkdir "$models/$name"
(/usr/bin/find "$name" | /usr/bin/sort; /usr/bin/cat "$name"/model.toml "$name"/CMakeLists.txt) >"$models/$name/library"
/usr/bin/mv "$models/$name/library" "$models/$name/libkim-api-portable-model.so"
echo "$PWD $1 $2 $TMPDIR" >"$HOME/asked"
/usr/bin/cat "$KIM_API_CONFIGURATION_FILE" >>"$HOME/asked"
echo "models: $KIM_API_PORTABLE_MODELS_DIR, drivers: $KIM_API_MODEL_DRIVERS_DIR" >>"$HOME/asked"
"""
FAILING = """
echo "-- Found KIM-API"; echo "CMake Error at CMakeLists.txt:3 (message):"; echo "  no such luck"
echo "See also /build/log."; echo "Aborting!"; exit 1
"""


class Kim:
    """A made-up KIM-API, with the driver in it, and what the commands do with it."""

    def __init__(self, fake, monkeypatch):
        self.fake = fake
        self.home = fake.folder / "home"
        self.temporary = fake.folder / "temporary"
        self.models = fake.folder / "portable_models"
        for folder in (self.home, self.temporary):
            folder.mkdir()
        self.driver = fake.add_driver(version="0.1.0")
        self.answer()
        for name, value in {"PATH": fake.bin, "HOME": self.home, "TMPDIR": self.temporary}.items():
            monkeypatch.setenv(name, str(value))
        monkeypatch.delenv("XDG_DATA_HOME", raising=False)
        monkeypatch.setattr(installing.tempfile, "tempdir", None)
        monkeypatch.chdir(self.home)

    @property
    def library(self):
        return self.models / "My_Model" / MODEL_LIBRARY

    @property
    def store(self):
        return self.home / ".local/share/kim-torchml/models"

    def answer(self, manager=MANAGER, **answers):
        self.fake.add_kim_api(**{"model_drivers": self.driver} | answers)
        script(self.fake.bin / "kim-api-collections-management", manager)

    def install_old(self, where="user", folder=None):
        """Pretend that an older model is installed; return its library."""
        folder = folder or self.models
        old = folder / "My_Model" / MODEL_LIBRARY
        old.parent.mkdir(parents=True)
        old.write_text("old")
        self.answer(portable_models=f"{where} My_Model {folder}")
        return old

    def run(self, *arguments):
        """Run a command; return its exit code, stdout and stderr."""
        result = CliRunner().invoke(main, [str(each) for each in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.output
        # Nothing of it stays behind, whatever has happened.
        assert list(self.temporary.iterdir()) == []
        assert [path for path in self.models.rglob("*") if path.name.startswith(".")] == []
        return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def kim(fake, monkeypatch):
    return Kim(fake, monkeypatch)


@pytest.fixture
def folder(tmp_path):
    """A model's folder with a blank in its path, and what KIM must not copy."""
    folder = write_folder(tmp_path / "my models" / "model", edges_files())
    for name in ("build", "__pycache__", "sub/__pycache__", ".git"):
        (folder / name).mkdir(parents=True)
    (folder / "sub" / "notes").touch()
    return folder


def test_what_kim_is_asked(kim, folder):
    assert kim.run("install", folder) == (
        0,
        f"My_Model is installed in the user collection: {kim.models}/My_Model\n"
        f"driver: {DRIVER}, installed in the user collection (version 0.1.0)\n",
        "",
    )
    given, _, text = kim.library.read_text().partition("format = 2")
    assert given.split() == [
        "My_Model",
        *(f"My_Model/{name}" for name in ("CMakeLists.txt", "model.pt", "model.toml", "sub", "sub/notes")),
    ]
    assert "store" not in text
    asked, *configuration, folders = (kim.home / "asked").read_text().splitlines()
    place, *words, temporary = asked.split()
    assert words == ["install", "user"]
    assert place == temporary.removesuffix("/build")
    assert place.startswith(f"{kim.temporary}/kim-torchml-install-")
    assert configuration == [
        f"model-drivers-dir = {kim.fake.folder}/model_drivers",
        f"portable-models-dir = {place}/models",
        f"simulator-models-dir = {place}/models",
    ]
    assert folders == "models: , drivers: "
    assert stat.S_IMODE(kim.library.parent.stat().st_mode) & 0o555 == 0o555


def test_old_model_is_replaced(kim, folder):
    old = kim.install_old()
    code, output, _ = kim.run("install", folder)
    assert code == 0
    assert "in the user collection, in place of an older one: " in output
    assert old.read_text().startswith("My_Model\n")


def test_old_model_stays_if_kim_fails(kim, folder):
    old = kim.install_old()
    kim.answer(FAILING, portable_models=f"user My_Model {kim.models}")
    code, output, error = kim.run("install", folder, "--store")
    assert (code, output) == (1, "")
    assert error == (
        "  CMake Error at CMakeLists.txt:3 (message):\n    no such luck\n"
        "Error: KIM could not build the model My_Model: CMake Error at CMakeLists.txt:3 (message): no such luck; mend "
        "what its output names (`kim-torchml doctor` checks the tools that it needs)\n"
    )
    assert old.read_text() == "old"
    assert list(kim.store.iterdir()) == []


@pytest.mark.parametrize("manager", ["echo Success!", "exit 7"])
def test_manager_that_gives_no_reason(kim, folder, manager):
    kim.answer(manager)
    code, _, error = kim.run("install", folder)
    assert code == 1
    assert (
        f"could not build the model My_Model: {'Success!' if 'echo' in manager else 'it ended with exit code 7'}"
        in error
    )


def test_to_the_store(kim, folder):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    code, output, error = kim.run("install", folder, "--store")
    assert (code, error) == (0, "")
    (stored,) = kim.store.iterdir()
    assert output.splitlines()[2] == f"model file: in the store, {stored}"
    assert stored.read_bytes() == script_bytes(Edges1)
    given = kim.library.read_text()
    assert "My_Model/model.pt" not in given
    assert 'where = "store"' in given
    assert re.search(r'PARAMETER_FILES "model.toml" +$', given, re.MULTILINE)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_large_files_go_to_the_store_by_default(kim, folder, monkeypatch):
    monkeypatch.setattr(installing, "LARGEST_COMPILED", 100)
    assert "in the store" in kim.run("install", folder)[1]
    code, output, error = kim.run("install", folder, "--no-store")
    assert code == 0
    assert "in the store" not in output
    size = file_size(len(script_bytes(Edges1)))
    assert error.startswith(
        f"warning: the model file has {size}, which KIM-API 2.3.0 compiles as source code; that takes"
    )
    assert error.endswith("; --store avoids that\n")
    kim.answer(version="2.4.1")
    assert kim.run("install", folder)[1:] == (output, "")


def test_format_1_cannot_use_the_store(kim, tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "a model", raw_files())
    script(kim.fake.bin / "kim-api-collections-management", MANAGER.replace('"$name"/model.toml ', ""))
    code, _, error = kim.run("install", folder, "--store")
    assert code == 2
    assert error == (
        f"Error: the model in {folder} has a parameter file (file.param), which cannot say that its model file is in "
        f"the store; run `kim-torchml upgrade '{folder}'` first\n"
    )
    assert not kim.library.exists()
    monkeypatch.setattr(installing, "LARGEST_COMPILED", 100)
    code, _, error = kim.run("install", folder)
    assert code == 0
    assert f"`kim-torchml upgrade '{folder}'` lets it go to the store instead" in error


def test_folder_whose_file_is_in_the_store_already(kim, folder, tmp_path):
    kim.run("install", folder, "--store")
    slim = write_folder(tmp_path / "slim", {"model.toml": edges_files(where="store")["model.toml"]})
    code, output, _ = kim.run("install", slim)
    assert code == 0
    assert "model file: in the store" not in output
    code, _, error = kim.run("install", slim, "--no-store")
    assert code == 2
    assert 'model.toml says where = "store", so that KIM cannot keep the model file; leave out --no-store' in error
    next(kim.store.iterdir()).unlink()
    code, _, error = kim.run("install", slim)
    assert code == 1
    assert "must be in a store of model files, as model.toml says, got none in" in error


def test_store_of_many(kim, folder, tmp_path, monkeypatch):
    """The first folder that the variable names takes the file; whoever runs the model must know of it."""
    shared = tmp_path / "shared"
    shared.mkdir()
    monkeypatch.setenv("KIM_TORCHML_MODEL_PATH", f"{shared}:{tmp_path}")
    code, _, error = kim.run("install", folder, "--store")
    assert code == 0
    assert len(list(shared.iterdir())) == 1
    where = "only where KIM_TORCHML_MODEL_PATH names its folder, as it does here"
    assert error == f"warning: simulators find the model file {where}\n"
    monkeypatch.setenv("KIM_TORCHML_MODEL_PATH", str(tmp_path / "none"))
    code, _, error = kim.run("install", folder, "--store")
    assert code == 1
    assert f"the store of model files {tmp_path}/none cannot be used: there is no such folder; " in error


def test_wrong_folder_is_refused_before_kim_is_called(kim, folder):
    (folder / "model.pt").write_bytes(b"another file")
    code, _, error = kim.run("install", folder)
    assert code == 1
    assert error.startswith("Error: the SHA-256 of model.pt must be ")
    assert error.count("\n") == 1
    assert not (kim.home / "asked").exists()


def test_driver_that_is_not_installed(kim, tmp_path):
    name = "TorchML__MD_173118614730_000"
    code, _, error = kim.run("install", write_folder(tmp_path / "a", edges_files(), driver=name))
    assert code == 1
    assert (
        f"the model My_Model needs the driver {name}, which is not installed; install kim-torchml under that id"
        in error
    )
    assert f"KIM_TORCHML_DRIVER_NAME={name} kim-api-collections-management install --force user ./kim-torchml" in error
    code, _, error = kim.run("install", write_folder(tmp_path / "b", edges_files(), driver="SNAP__MD_1_0"))
    assert error.endswith("is not installed; install it: kim-api-collections-management install user SNAP__MD_1_0\n")
    assert not (kim.home / "asked").exists()


def test_driver_of_others(kim, folder):
    """Another program may have the driver's id: the C++ driver of that name, say."""
    (kim.fake.folder / "model_drivers" / DRIVER / "kim_torchml_shim.so").unlink()
    code, output, error = kim.run("install", folder)
    assert code == 0
    assert f"driver: {DRIVER}, installed in the user collection (not kim-torchml, but another program)" in output
    assert error == f"warning: the driver {DRIVER} is another program than kim-torchml, and may not run this model\n"


def test_driver_of_the_working_directory(kim, folder, tmp_path):
    """KIM's manager works in another folder, and must find it all the same."""
    kim.answer(model_drivers=kim.driver.replace("user", "currentWorkingDirectory"))
    assert kim.run("install", folder)[0] == 0
    assert (kim.home / "asked").read_text().endswith(f"drivers: {kim.fake.folder}/model_drivers\n")


@pytest.mark.parametrize(
    ("where", "word"),
    [("environmentVariable", "environment"), ("system", "system"), ("currentWorkingDirectory", "CWD")],
)
def test_name_that_another_collection_has(kim, folder, where, word):
    old = kim.install_old(where)
    code, _, error = kim.run("install", folder)
    assert code == 2
    assert error == (
        f"Error: My_Model is installed in the {word} collection ({kim.models}/My_Model), and KIM takes a name in one "
        f"collection only; say --collection {word} to replace it, or run `kim-torchml remove My_Model "
        f"--collection {word}` first\n"
    )
    assert old.read_text() == "old"


def test_name_of_a_driver(kim, tmp_path):
    code, _, error = kim.run("install", write_folder(tmp_path / "model", edges_files(), name=DRIVER))
    assert code == 2
    assert f"a model must have another name than a driver, got {DRIVER} (" in error


def test_other_collections(kim, folder, tmp_path):
    for name in ("first", "system"):
        (tmp_path / name).mkdir()
    kim.answer(
        env_portable_models=f"{tmp_path}/first\n{tmp_path}/second", system_portable_models=str(tmp_path / "system")
    )
    for word, place in (("environment", tmp_path / "first"), ("system", tmp_path / "system"), ("CWD", kim.home)):
        code, output, _ = kim.run("install", folder, "--collection", word)
        assert code == 0
        assert f"My_Model is installed in the {word} collection: {place}/My_Model\n" in output
        assert (place / "My_Model" / MODEL_LIBRARY).read_text().startswith("My_Model\n")
        assert [path.name for path in (place / "My_Model").iterdir()] == [MODEL_LIBRARY]


def test_environment_collection_without_a_folder(kim, folder):
    kim.answer(env_portable_models="")
    code, _, error = kim.run("install", folder, "--collection", "environment")
    assert code == 2
    assert "has no place for portable models: KIM_API_PORTABLE_MODELS_DIR names no folder; name one in it" in error
    code, _, error = kim.run("install", folder, "--collection", "users")
    assert code == 2
    assert "'users' is not one of" in error


def test_into_the_folder_of_the_model_itself(kim, monkeypatch, tmp_path):
    """The collection CWD may have the sources where the model is to be."""
    folder = write_folder(tmp_path / "work" / "My_Model", edges_files())
    monkeypatch.chdir(folder.parent)
    assert kim.run("install", "My_Model", "--collection", "CWD")[0] == 0
    assert sorted(path.name for path in folder.iterdir()) == sorted([*edges_files(), "CMakeLists.txt", MODEL_LIBRARY])
    kim.answer(portable_models="currentWorkingDirectory My_Model .")
    code, output, _ = kim.run("remove", "My_Model")
    assert code == 0
    assert "that folder stays, as it holds other files" in output
    assert sorted(path.name for path in folder.iterdir()) == sorted([*edges_files(), "CMakeLists.txt"])


def test_collection_that_cannot_be_written(kim, folder, monkeypatch):
    refuse_to_write(monkeypatch, kim.models)
    code, _, error = kim.run("install", folder)
    assert code == 1
    assert error == (
        f"Error: the user collection cannot be written: '{kim.models}' is not yours to write; choose another "
        "collection with --collection\n"
    )
    kim.models.rmdir()
    assert "must have a folder for portable models, got" in kim.run("install", folder)[2]
    kim.models.mkdir()
    (kim.models / "My_Model").touch()
    assert "must be a folder, got a file" in kim.run("install", folder)[2]
    assert not (kim.home / "asked").exists()


def test_full_collection_keeps_the_old_model(tmp_path, monkeypatch):
    built, target = tmp_path / "built" / "My_Model", tmp_path / "models" / "My_Model"
    for path, text in ((built, "new"), (target, "old")):
        path.mkdir(parents=True)
        (path / MODEL_LIBRARY).write_text(text)

    def fail(*arguments, **others):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("kim_torchml.tools.installation.placing.shutil.copytree", fail)
    with pytest.raises(
        Exception, match=r"cannot write the model into .*: No space left on device; make room there, or"
    ):
        put_in_place(built, target)
    assert [(path.name, path.read_text()) for path in target.iterdir()] == [(MODEL_LIBRARY, "old")]


def test_temporary_folder_with_a_blank(kim, folder, monkeypatch, tmp_path):
    elsewhere = tmp_path / "a blank"
    elsewhere.mkdir()
    monkeypatch.setenv("TMPDIR", str(elsewhere))
    monkeypatch.setattr(installing.tempfile, "tempdir", None)
    code, _, error = kim.run("install", folder)
    assert code == 2
    assert f"without blanks in its path, got '{elsewhere}'; name another one in TMPDIR" in error
    assert list(elsewhere.iterdir()) == []


def test_no_kim_api(kim, folder, monkeypatch):
    monkeypatch.setenv("PATH", "")
    for arguments in (("install", folder), ("remove", "X"), ("store",), ("info", "X")):
        code, output, error = kim.run(*arguments)
        assert (code, output) == (2, "")
        assert "there is no kim-api-collections-management on PATH; install KIM-API, or add" in error
        assert error.count("\n") == 1
    monkeypatch.setenv("PATH", str(kim.fake.bin))
    monkeypatch.setenv("KIM_API_CONFIGURATION_FILE", "/nonexistent")
    assert "must name a configuration file of KIM-API, got '/nonexistent', which is not" in kim.run("store")[2]
    monkeypatch.delenv("KIM_API_CONFIGURATION_FILE")
    kim.answer(config_file_portable_models="")
    assert "KIM-API cannot read or write its configuration file" in kim.run("store")[2]


def test_remove(kim):
    library = kim.install_old()
    assert kim.run("remove", "My_Modle") == (
        2,
        "",
        "Error: no portable model 'My_Modle' is installed in any of KIM's collections; did you mean 'My_Model'?\n",
    )
    code, output, error = kim.run("remove", "My_Model")
    assert (code, error) == (0, "")
    assert output == f"My_Model is removed from the user collection: {kim.models}/My_Model\n"
    assert not library.parent.exists()


def test_remove_from_one_of_two_collections(kim, tmp_path):
    first, second = kim.install_old(), kim.install_old(folder=tmp_path / "more")
    kim.answer(portable_models=f"environmentVariable My_Model {tmp_path}/more\nuser My_Model {kim.models}")
    code, _, error = kim.run("remove", "My_Model")
    assert code == 2
    assert "My_Model is installed in the environment and the user collection; say which with --collection env" in error
    code, _, error = kim.run("remove", "My_Model", "--collection", "system")
    assert code == 2
    assert "My_Model is not installed in the system collection, but in the environment and the user collection" in error
    assert kim.run("remove", "My_Model", "--collection", "user")[0] == 0
    assert (first.exists(), second.exists()) == (False, True)


def test_remove_leaves_the_store(kim, folder, monkeypatch):
    kim.run("install", folder, "--store")
    (stored,) = kim.store.iterdir()
    monkeypatch.undo()
    contents = {"model.toml": edges_files(where="store")["model.toml"]}
    compile_library(kim.library, "My_Model", contents)
    monkeypatch.setenv("PATH", f"{kim.fake.bin}:/usr/bin")
    monkeypatch.setenv("XDG_DATA_HOME", str(kim.home / ".local/share"))
    kim.answer(portable_models=f"user My_Model {kim.models}")
    _, output, _ = kim.run("store")
    assert output == f"{kim.store}\n  {stored.stem}  {file_size(stored.stat().st_size):>9}  My_Model\n"
    code, output, _ = kim.run("remove", "My_Model")
    assert code == 0
    assert f"its model file stays in the store: {stored} (`kim-torchml store --drop-unused` removes such" in output
    assert stored.exists()


def test_store_command(kim, folder, monkeypatch, tmp_path):
    assert kim.run("store") == (0, f"{kim.store}: no model file\n", "")
    assert kim.run("store", "--yes")[0] == 2
    assert kim.run("store", "--drop-unused")[1].endswith("nothing to drop: no file is unused\n")
    kim.run("install", folder, "--store")
    (stored,) = kim.store.iterdir()
    stored.write_bytes(b"truncated")
    code, output, _ = kim.run("store")
    assert code == 0
    assert f"{stored.stem}        9 B  unused (it is damaged: its bytes have another SHA-256)" in output
    # Nobody answers the question.
    code, output, _ = kim.run("store", "--drop-unused")
    assert code == 1
    assert "Remove 1 unused file (9 B)? [y/N]" in output
    assert stored.exists()
    code, output, _ = kim.run("store", "--drop-unused", "--yes")
    assert code == 0
    assert output.endswith("removed 1 unused file (9 B)\n")
    assert not stored.exists()
    monkeypatch.setenv("KIM_TORCHML_MODEL_PATH", f"{tmp_path}/none:{kim.store}")
    code, output, error = kim.run("store")
    assert (code, output) == (1, f"{kim.store}: no model file\n")
    assert (
        error == f"Error: the store of model files {tmp_path}/none cannot be used: there is no such folder; mend that\n"
    )


def test_words_that_are_close():
    assert did_you_mean("si_Model", ["SI_Model", "other"]) == "; did you mean 'SI_Model'?"
    assert did_you_mean("nothing", ["SI_Model"]) == ""


@pytest.mark.parametrize(
    ("n", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (20_140_000, "20.1 MB"), (3e9, "3.0 GB")]
)
def test_sizes(n, text):
    assert file_size(n) == text
