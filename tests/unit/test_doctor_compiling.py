# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the doctor says of compiling; a script stands for the one that compiles a small program."""

import json
import os
import sys
from pathlib import Path

import pytest
from fake_machine import TORCH, add_package, make_environment, only, script

from kim_torchml.tools.doctor import Status, check_compiling
from kim_torchml.tools.doctor.check_compiling import check_cache, check_compiler
from kim_torchml.tools.doctor.check_compiling import check_compiling as check_small_program

VERSION = "g++ (Debian 12.2.0) 12.2.0"
NEVER = "export KIM_TORCHML_COMPILE=never"
ELSEWHERE = 'export KIM_TORCHML_CACHE="$HOME/kim-torchml-compiled"'


@pytest.fixture
def cache(fake):
    """The place of the cache, where nothing is yet."""
    fake.environment["KIM_TORCHML_CACHE"] = str(fake.folder / "cache")
    return fake.folder / "cache"


@pytest.fixture
def python(fake, cache, monkeypatch):
    """The Python of an environment that has torch and numpy, as if it ran this process, beside a compiler."""
    python = make_environment(fake.folder / "environment")
    add_package(python, "torch", "2.9.0", TORCH.format(cuda=None, gpus=0))
    add_package(python, "numpy", "2.0.0")
    monkeypatch.setattr(sys, "executable", str(python))
    script(fake.bin / "g++", f"echo '{VERSION}'", "echo 'Copyright'")
    return python


@pytest.fixture
def answers(fake, monkeypatch):
    """Return a function that lets Python code stand for what compiles a small program."""

    def function(code):
        probe = fake.folder / "probe.py"
        probe.write_text(code)
        monkeypatch.setattr(check_compiling, "_PROBE", probe)

    return function


def saying(**facts):
    return f"print('torch says hello')\nprint({json.dumps(facts)!r})"


def checked(machine):
    """All findings of the group."""
    return [*check_compiler(machine), *check_cache(machine), *check_small_program(machine)]


def test_compiler(fake, python):
    finding = only(check_compiler(fake.machine()))
    assert (finding.status, finding.found) == (Status.OK, f"{fake.bin}/g++, {VERSION}")


def test_no_compiler(fake, python):
    (fake.bin / "g++").unlink()
    finding = only(check_compiler(fake.machine()))
    assert finding.status is Status.WARNING
    assert finding.found == (
        "there is no g++ on PATH, so that nothing can be compiled: models that are .pt2 files run uncompiled"
    )
    assert finding.commands == ("sudo apt-get install g++   # Debian, Ubuntu",)
    finding = only(check_small_program(fake.machine()))
    assert (finding.status, finding.found) == (
        Status.SKIPPED, "needs a C++ compiler; what is in the cache is run without one"
    )  # fmt: skip


def test_compiler_that_the_user_has_named(fake, python):
    script(fake.bin / "clang++", "echo clang version 19")
    fake.environment["CXX"] = "clang++"
    assert only(check_compiler(fake.machine())).found == f"{fake.bin}/clang++, clang version 19"
    # Torch takes it for one word.
    fake.environment["CXX"] = "ccache g++"
    finding = only(check_compiler(fake.machine()))
    assert finding.status is Status.WARNING
    assert finding.found.startswith("CXX is 'ccache g++', which is no program, so that nothing can be compiled: ")
    assert finding.commands == ("unset CXX",)


def test_compiler_that_does_not_run(fake, python):
    script(fake.bin / "g++", "echo 'libstdc++.so.6: cannot open' >&2", "exit 127")
    finding = only(check_compiler(fake.machine()))
    assert finding.status is Status.WARNING
    assert "g++ does not run, so that nothing can be compiled: it ended with exit code 127: libstdc++" in finding.found


def test_cache_that_is_not_there_yet(fake, cache):
    finding = only(check_cache(fake.machine()))
    assert (finding.status, finding.found) == (
        Status.OK, f"{cache}, which is made when the first model is compiled"
    )  # fmt: skip
    assert not cache.exists()


def test_cache_with_programs(fake, cache):
    for number in range(2):
        (cache / f"{number:064}").mkdir(parents=True)
        (cache / f"{number:064}" / "program.so").write_bytes(bytes(1_250_000))
        (cache / f"{number:064}.lock").touch()
    cache.chmod(0o700)
    finding = only(check_cache(fake.machine()))
    assert (finding.status, finding.found) == (Status.OK, f"{cache}, 2 compiled, 2.5 MB")


@pytest.mark.parametrize("mode", [0o770, 0o702])
def test_cache_that_others_can_write(fake, python, cache, mode):
    cache.mkdir()
    cache.chmod(mode)
    finding = only(check_cache(fake.machine()))
    assert finding.status is Status.PROBLEM
    assert finding.found == f"what is in '{cache}' is not run: others can write there, and could put programs there"
    assert finding.advice.startswith("Make it yours alone; what others may have put there should go, ")
    assert finding.commands == (f"chmod 700 {cache}", "kim-torchml cache --clear")
    skipped = only(check_small_program(fake.machine()))
    assert (skipped.status, skipped.found) == (Status.SKIPPED, "needs a cache that can be used")
    # The first command mends it.
    cache.chmod(0o700)
    assert only(check_cache(fake.machine())).status is Status.OK


def test_cache_among_the_files_of_others(fake, python, cache):
    """Without their rights in it, programs of others would fail."""
    cache.mkdir()
    cache.chmod(0o1777)
    finding = only(check_cache(fake.machine()))
    assert finding.status is Status.PROBLEM
    assert finding.found == f"what is in '{cache}' is not run: others can write there, and could put programs there"
    assert (finding.advice, finding.commands) == ("Name another folder:", (ELSEWHERE,))


def test_cache_that_the_compiler_cannot_take(fake, python):
    folder = fake.folder / "my cache"
    fake.environment |= {"KIM_TORCHML_CACHE": str(folder), "HOME": "/home/me"}
    finding = only(check_cache(fake.machine()))
    assert finding.status is Status.WARNING
    assert finding.found == (
        "nothing can be compiled in it: the compiler's command line cannot take a path with a blank, a quote or a "
        f"backslash, got ' ' in '{folder}'"
    )
    assert (finding.advice, finding.commands) == ("Name another folder:", (ELSEWHERE,))
    # Another folder there would be no better.
    fake.environment["HOME"] = "/home/my self"
    assert only(check_cache(fake.machine())).commands == ("export KIM_TORCHML_CACHE=/a/folder/of/yours",)
    skipped = only(check_small_program(fake.machine()))
    assert (skipped.status, skipped.found) == (Status.SKIPPED, "needs a cache that can be used")


def test_cache_that_is_a_link(fake, cache):
    (fake.folder / "elsewhere").mkdir(mode=0o700)
    cache.symlink_to("elsewhere")
    finding = only(check_cache(fake.machine()))
    assert finding.status is Status.PROBLEM
    assert finding.found.endswith("is not run: it must be a folder, not a link or a file")
    assert finding.commands == (ELSEWHERE,)


def test_cache_of_another_user(fake, cache, monkeypatch):
    cache.mkdir(mode=0o700)
    uid = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: uid + 1)
    finding = only(check_cache(fake.machine()))
    assert finding.status is Status.PROBLEM
    assert finding.found.endswith("is not run: it must belong to you")


def test_cache_below_a_file(fake):
    (fake.folder / "file").touch()
    fake.environment["KIM_TORCHML_CACHE"] = str(fake.folder / "file" / "cache")
    finding = only(check_cache(fake.machine()))
    assert finding.status is Status.PROBLEM
    assert finding.found.endswith("file/cache' is not run: it cannot be read (Not a directory)")
    assert finding.commands == (ELSEWHERE,)


def test_cache_that_cannot_be_written(fake, cache, monkeypatch):
    """As on a full disk."""

    def why_not(folder):
        return "No space left on device" if folder == cache else ""

    monkeypatch.setattr(check_compiling, "why_no_files_in", why_not)
    finding = only(check_cache(fake.machine()))
    assert finding.status is Status.WARNING
    assert finding.found == f"'{cache}' cannot be written, so that nothing can be added: No space left on device"
    assert finding.commands == (ELSEWHERE,)


def test_cache_where_nothing_can_be_run(fake, cache, monkeypatch):
    cache.mkdir(mode=0o700)
    monkeypatch.setattr(check_compiling, "holds_programs", lambda folder: False)
    finding = only(check_cache(fake.machine()))
    assert finding.status is Status.WARNING
    assert "is on a file system mounted noexec, so that nothing in it can be run" in finding.found


def test_user_without_a_home(fake, monkeypatch):
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    finding = only(check_cache(fake.machine()))
    assert finding.status is Status.WARNING
    assert "it has no place, so that nothing can be compiled: this user must have a home folder" in finding.found
    assert finding.commands == ('export KIM_TORCHML_CACHE="$PWD/kim-torchml-compiled"',)


def test_place_that_is_no_absolute_path(fake, python):
    """The check of the variable says what to do."""
    fake.environment["KIM_TORCHML_CACHE"] = "compiled"
    compiler, cache, program = checked(fake.machine())
    assert compiler.status is Status.OK
    assert (cache.status, cache.found) == (Status.SKIPPED, "needs an absolute path in KIM_TORCHML_CACHE")
    assert program.status is Status.SKIPPED


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("Never", "KIM_TORCHML_COMPILE is never: models that are .pt2 files run uncompiled"),
        ("always", "needs a word that KIM_TORCHML_COMPILE may be"),
    ],
)
def test_nothing_is_checked_where_nothing_is_compiled(word, found, fake, python, answers):
    answers("raise RuntimeError('this must not run')")
    fake.environment["KIM_TORCHML_COMPILE"] = word
    finding = only(checked(fake.machine()))
    assert (finding.name, finding.status, finding.found) == ("compiling", Status.SKIPPED, found)


def test_small_program(fake, python, answers):
    answers(saying(is_new=True, device="cpu", seconds=23.4))
    machine, said = fake.machine(), []
    machine.say = said.append
    finding = only(check_small_program(machine))
    assert (finding.status, finding.found) == (
        Status.OK, f"a small program was compiled and run in 23 s for cpu (torch 2.9.0, {python})"
    )  # fmt: skip
    assert said == ["compiling a small program: half a minute, or more"]
    answers(saying(is_new=False, device="cuda:0", seconds=1.2))
    finding = only(check_small_program(machine))
    assert finding.found == f"a small program that is in the cache was run for cuda:0 (torch 2.9.0, {python})"


def test_small_program_in_the_environment_of_each_driver(fake, python, answers):
    answers(saying(is_new=True, device="cpu", seconds=23.4))
    other = make_environment(fake.folder / "of a driver")
    add_package(other, "torch", "2.13.0+cpu", TORCH.format(cuda=None, gpus=0))
    add_package(other, "numpy", "2.0.0")
    fake.add_kim_api(model_drivers=fake.add_driver(python_executable=str(other)))
    found = [finding.found for finding in check_small_program(fake.machine())]
    assert [each.partition(" (")[2] for each in found] == [f"torch 2.9.0, {python})", f"torch 2.13.0+cpu, {other})"]


def test_what_the_small_program_is_given(fake, python, answers):
    """The user's variables, but for the one that keeps Python from starting, and the folder of this package."""
    fake.environment |= {"PYTHONHOME": "/nowhere", "KIM_TORCHML_COMPILE": "now"}
    say = "print(json.dumps({'is_new': False, 'device': sys.argv[1], 'seconds': 1.0, 'failed': dict(os.environ)}))"
    answers(f"import json, os, sys\n{say.replace(chr(34), chr(39))}")
    finding = only(check_small_program(fake.machine()))
    assert f"'KIM_TORCHML_CACHE': '{fake.folder / 'cache'}'" in finding.found
    assert "'KIM_TORCHML_COMPILE': 'now'" in finding.found
    assert "PYTHONHOME" not in finding.found


FAILURES = [
    (saying(failed="sizes in it depend on values", seconds=1.0), "sizes in it depend on values"),
    ("raise RuntimeError('no AVX')", "it ended with exit code 1: RuntimeError: no AVX"),
    ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "it was ended by signal 4"),
    ("print('nothing of use')", "it printed nothing"),
    ("import time; time.sleep(60)", "it did not end within 1 s"),
]


@pytest.mark.parametrize(("code", "reason"), FAILURES, ids=["explained", "error", "signal", "no answer", "hangs"])
def test_small_program_that_fails(code, reason, fake, python, answers, monkeypatch):
    """Models run all the same."""
    monkeypatch.setattr(check_compiling, "_TIME_LIMIT", 1.0 if "sleep" in code else 60.0)
    answers(code)
    finding = only(check_small_program(fake.machine()))
    assert finding.status is Status.WARNING
    assert finding.found == f"a small program could not be compiled and run (torch 2.9.0, {python}): {reason}"
    assert finding.advice == "Until that is mended models that are .pt2 files run uncompiled; to leave it at that:"
    assert finding.commands == (NEVER,)


def test_no_room_for_temporary_files(fake, python, answers, monkeypatch):
    def full(prefix):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(check_compiling, "temporary_folder", full)
    answers("raise RuntimeError('this must not run')")
    finding = only(check_small_program(fake.machine()))
    assert finding.status is Status.WARNING
    assert finding.found.endswith(": there is no room for temporary files (No space left on device)")


@pytest.mark.parametrize("missing", ["torch", "numpy"])
def test_environment_without_what_it_needs(missing, fake, cache, answers, monkeypatch):
    answers("raise RuntimeError('this must not run')")
    script(fake.bin / "g++", f"echo '{VERSION}'")
    python = make_environment(fake.folder / "environment")
    monkeypatch.setattr(sys, "executable", str(python))
    if missing == "numpy":
        add_package(python, "torch", "2.9.0", TORCH.format(cuda=None, gpus=0))
    finding = only(check_small_program(fake.machine()))
    assert (finding.status, finding.found) == (Status.SKIPPED, f"needs {missing} in the environment of {python}")


def test_torch_that_cannot_write_a_program(fake, python, answers):
    answers("raise RuntimeError('this must not run')")
    for folder in Path(python.parents[1], "lib").glob("python*/site-packages/torch-2.9.0.dist-info"):
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.8.0\n")
    finding = only(check_small_program(fake.machine()))
    assert (finding.status, finding.found) == (
        Status.SKIPPED, f"writing a small program to compile needs torch 2.9, got 2.8.0 ({python})"
    )  # fmt: skip
