# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the doctor says of variables that break torch, and of those that are on or off."""

import sys

import pytest
from fake_machine import TORCH, add_package, make_environment, only

from kim_torchml.tools.doctor import Status
from kim_torchml.tools.doctor.check_python import check_torch_and_numpy
from kim_torchml.tools.doctor.check_variables import (
    check_cache_variable,
    check_communicator_word,
    check_compile_word,
    check_edges_word,
    check_on_error,
    check_stores,
    check_switches,
)


@pytest.fixture
def python(fake, monkeypatch):
    """The Python of an environment that has torch and numpy, as if it ran this process."""
    python = make_environment(fake.folder / "environment")
    add_package(python, "torch", "2.9.0", TORCH.format(cuda=None, gpus=0))
    add_package(python, "numpy", "2.0.0")
    monkeypatch.setattr(sys, "executable", str(python))
    return python


def test_python_path_of_another_python(fake, python):
    folder = fake.folder / "lib" / "python3.6" / "site-packages"
    (folder / "torch").mkdir(parents=True)
    (folder / "torch" / "__init__.py").write_text("raise ImportError('no module named torch._C')")
    fake.environment |= {"PYTHONPATH": str(folder), "TORCH_HOME": "/somewhere"}
    finding = only(check_torch_and_numpy(fake.machine()))
    assert finding.status is Status.PROBLEM
    assert finding.found == (
        f"torch 2.9.0 cannot be imported in the environment of {python} while PYTHONPATH names '{folder}': "
        "ImportError: no module named torch._C"
    )
    assert finding.commands == ("unset PYTHONPATH",)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import numpy", "ImportError: no module named numpy._core"),
        ("from ctypes import string_at\nstring_at(0)", "it was ended by signal 11"),
    ],
    ids=["error", "crash"],
)
def test_the_guilty_one_of_many_folders(code, reason, fake, python):
    """What came from it may be what torch needs, and the other folders may hold what it needs in turn."""
    before, guilty, after = (fake.folder / (name + 60 * "x") for name in ("before", "guilty", "guilty-after"))
    for folder in (before, guilty, after):
        folder.mkdir()
    (before / "called_by_torch.py").write_text("import broken")
    (guilty / "broken.py").write_text(code)
    (after / "numpy.py").write_text("")
    (guilty / "numpy.py").write_text("raise ImportError('no module named numpy._core')")
    (file,) = (python.parents[1] / "lib").glob("python*/site-packages/torch/__init__.py")
    try_it = "try:\n    import called_by_torch\nexcept ModuleNotFoundError:\n    pass\n"
    file.write_text(try_it + file.read_text())
    fake.environment["PYTHONPATH"] = f"{before}:{guilty}:{after}"
    finding = check_torch_and_numpy(fake.machine())[0]
    assert finding.found.endswith(f" while PYTHONPATH names '{guilty}': {reason}")
    assert finding.advice == (f"Remove it; if you need other folders on PYTHONPATH, take only '{guilty}' out of it:")
    assert finding.commands == ("unset PYTHONPATH",)


def breaking_torch(python, condition):
    """Let torch raise an error where environment variables are as they are."""
    (file,) = (python.parents[1] / "lib").glob("python*/site-packages/torch/__init__.py")
    file.write_text(f"from os import environ\nif {condition}: raise ValueError('Error: bad')\n{file.read_text()}")


def test_two_variables_that_break_torch(fake, python):
    """The removal of one alone does not help."""
    breaking_torch(python, "'TORCH_LOGS' in environ")
    (fake.folder / "sympy.py").write_text("raise ImportError('for another Python')")
    breaking_torch(python, "__import__('importlib.util').util.find_spec('sympy') and __import__('sympy')")
    fake.environment |= {"TORCH_HOME": "/data", "TORCH_LOGS": "", "PYTHONPATH": str(fake.folder), "TORCH_TRACE": "/x"}
    finding = only(check_torch_and_numpy(fake.machine()))
    assert f" while PYTHONPATH names '{fake.folder}' and TORCH_LOGS is set to '': " in finding.found
    assert finding.advice.startswith("Remove them together, because fewer do not help; if you need other ")
    assert finding.commands == ("unset PYTHONPATH TORCH_LOGS",)


def test_variables_that_break_torch_together(fake, python):
    """The removal of either helps, of one that is enough."""
    breaking_torch(python, "{'TORCH_HOME', 'TORCH_LOGS'} <= environ.keys() or 'TORCH_TRACE' in environ")
    fake.environment |= {"TORCH_HOME": "/data", "TORCH_LOGS": "a", "TORCH_TRACE": "/x", "TORCH_X": "1"}
    assert only(check_torch_and_numpy(fake.machine())).commands == ("unset TORCH_TRACE TORCH_HOME",)


def test_a_variable_that_breaks_torch(fake, python):
    broken = "import os\nif 'TORCH_LOGS' in os.environ: raise ValueError('Error: bad logs')\n"
    package = python.parents[1] / "lib"
    (file,) = package.glob("python*/site-packages/torch/__init__.py")
    file.write_text(broken + file.read_text())
    fake.environment |= {"TORCH_LOGS": "", "PYTHONPATH": str(fake.folder)}
    finding = only(check_torch_and_numpy(fake.machine()))
    assert "while TORCH_LOGS is set to '': ValueError: Error: bad logs" in finding.found
    assert finding.commands == ("unset TORCH_LOGS",)


def test_a_torch_that_no_variable_has_broken(fake, python):
    (file,) = (python.parents[1] / "lib").glob("python*/site-packages/torch/__init__.py")
    file.write_text("raise ImportError('libcudart.so.12: cannot open')")
    fake.environment |= {"TORCH_LOGS": "", "PYTHONPATH": str(fake.folder)}
    finding = only(check_torch_and_numpy(fake.machine()))
    assert "while" not in finding.found
    assert "--force-reinstall" in finding.commands[-1]


def test_torchscript_is_switched_off(fake, python):
    (file,) = (python.parents[1] / "lib").glob("python*/site-packages/torch/__init__.py")
    file.write_text(file.read_text().replace("enabled = True", "enabled = False"))
    finding = only(check_torch_and_numpy(fake.machine()))
    assert finding.status is Status.PROBLEM
    assert "TorchScript is switched off in torch 2.9.0" in finding.found
    assert finding.found.endswith(", so no model that is a .pt file can be loaded")
    assert finding.commands == ("unset PYTORCH_JIT",)


def test_the_torch_of_these_tests_without_torchscript(fake):
    """The doctor asks the real torch for it, too."""
    fake.environment["PYTORCH_JIT"] = "0"
    assert "TorchScript is switched off" in check_torch_and_numpy(fake.machine())[0].found


@pytest.mark.parametrize("name", ["KIM_MODEL_ELEMENTS_MAP", "KIM_TORCHML_QUIET", "KIM_TORCHML_PROFILE"])
def test_switches(name, fake):
    fake.environment[name] = "off"
    assert check_switches(fake.machine()) == []
    fake.environment[name] = "nein"
    finding = only(check_switches(fake.machine()))
    assert finding.status is Status.WARNING
    assert f"{name} must be one of 1, true, yes, on, or 0, false, no, off, got 'nein', which counts" in finding.found
    assert finding.commands == (f"export {name}=1", f"unset {name}")


@pytest.mark.parametrize(("value", "status"), [("exit", "ok"), (" Return ", "ok"), ("stop", "problem")])
def test_on_error(value, status, fake):
    assert check_on_error(fake.machine()) == []
    fake.environment["KIM_TORCHML_ON_ERROR"] = value
    finding = only(check_on_error(fake.machine()))
    assert finding.status.value == status
    assert ("it must be exit or return, got 'stop', which counts as return" in finding.found) is (status == "problem")


@pytest.mark.parametrize(("value", "status"), [("never", "ok"), (" NOW ", "ok"), ("always", "problem")])
def test_word_for_compiling(value, status, fake):
    assert check_compile_word(fake.machine()) == []
    fake.environment["KIM_TORCHML_COMPILE"] = value
    finding = only(check_compile_word(fake.machine()))
    assert finding.status.value == status
    assert ("KIM_TORCHML_COMPILE must be never, cached or now, got 'always'" in finding.found) is (status == "problem")
    if status == "problem":
        assert finding.found == (
            "no model can be opened: the environment variable KIM_TORCHML_COMPILE must be never, cached or now, got "
            "'always'"
        )
        assert finding.advice == "Correct it, or remove it:"
        assert finding.commands == ("export KIM_TORCHML_COMPILE=cached", "unset KIM_TORCHML_COMPILE")


@pytest.mark.parametrize(
    ("check", "name", "value", "words"),
    [
        (check_edges_word, "KIM_TORCHML_EDGES", "Folded", "auto, staged, folded or exchange"),
        (check_communicator_word, "KIM_TORCHML_COMMUNICATOR", "World", "auto, world or none"),
    ],
)
def test_words_that_are_one_of_some(check, name, value, words, fake):
    assert check(fake.machine()) == []
    fake.environment[name] = f" {value} "
    assert only(check(fake.machine())).status.value == "ok"
    fake.environment[name] = "never"
    finding = only(check(fake.machine()))
    assert finding.status.value == "problem"
    assert finding.found == f"no model can be opened: the environment variable {name} must be {words}, got 'never'"
    assert finding.commands == (f"export {name}=auto", f"unset {name}")


def test_place_of_the_cache(fake, tmp_path):
    assert check_cache_variable(fake.machine()) == []
    fake.environment["KIM_TORCHML_CACHE"] = str(tmp_path)
    assert check_cache_variable(fake.machine()) == []
    fake.environment["KIM_TORCHML_CACHE"] = "compiled"
    finding = only(check_cache_variable(fake.machine()))
    assert finding.status is Status.PROBLEM
    assert finding.found == "it must be an absolute path, got 'compiled': nothing that was compiled is used"
    assert finding.commands == (
        'export KIM_TORCHML_CACHE="$HOME/kim-torchml-compiled"',
        "unset KIM_TORCHML_CACHE",
    )


def test_stores_that_are_named(fake, tmp_path):
    (tmp_path / "shared").mkdir()
    fake.environment["KIM_TORCHML_MODEL_PATH"] = f"{tmp_path / 'shared'}:{tmp_path / 'gone'}"
    good, bad = check_stores(fake.machine())
    assert (good.status, good.found) == (Status.OK, str(tmp_path / "shared"))
    assert bad.status is Status.PROBLEM
    assert f"model files cannot be taken from '{tmp_path / 'gone'}': there is no such folder" in bad.found


def test_the_users_own_store(fake, tmp_path):
    fake.environment["XDG_DATA_HOME"] = str(tmp_path)
    assert check_stores(fake.machine()) == []
    folder = tmp_path / "kim-torchml" / "models"
    folder.mkdir(parents=True, mode=0o700)
    folder.chmod(0o700)
    assert only(check_stores(fake.machine())).status is Status.OK
    folder.chmod(0o777)
    finding = only(check_stores(fake.machine()))
    assert "others can write there" in finding.found
    assert finding.commands == (f"chmod go-w {folder}",)
