# SPDX-License-Identifier: LGPL-2.1-or-later
"""The cache of compiled programs: who may write there, entries that appear as a whole, and what is damaged."""

import dataclasses
import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from kim_torchml.engines.exported.compiled.cache import Cache
from kim_torchml.engines.exported.compiled.entry import FACTS, CacheEntry
from kim_torchml.engines.exported.compiled.key import Key
from kim_torchml.engines.exported.compiled.request import Facts
from kim_torchml.errors import DriverError
from kim_torchml.process import settings
from kim_torchml.process.cache_folder import why_nothing_compiles_in

KEY = Key("0" * 64, "float64", 2, "cpu", "AVX2", "2.13.0+cpu abc", "linux x86_64")
FOUND = Facts("program.so", "float64", {1: 2.5, 2: 1.5, 4: 0.9}, 61.0)


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache")


def filled(cache, key=KEY, content=b"native code", facts=FOUND):
    with cache.locked(key, wait=lambda seconds: None), cache.unfinished() as folder:
        (folder / facts.library).write_bytes(content)
        return cache.publish(folder, key, "My_Model", facts)


def test_what_was_published_is_found(cache):
    assert cache.find(KEY) == (None, "")
    published = filled(cache)
    found, problem = cache.find(KEY)
    assert problem == ""
    assert found == published
    assert (found.name, found.facts, found.key) == ("My_Model", FOUND, KEY)
    assert found.library.read_bytes() == b"native code"
    assert cache.folder.stat().st_mode & 0o777 == 0o700
    # Nothing but the entry and its lock is left.
    assert sorted(path.name for path in cache.folder.iterdir()) == [KEY.digest, f"{KEY.digest}.lock"]


@pytest.mark.parametrize("field", [each.name for each in dataclasses.fields(Key)])
def test_a_key_that_differs_in_one_thing_is_another(field, cache):
    other = dataclasses.replace(KEY, **{field: 99 if isinstance(getattr(KEY, field), int) else "other"})
    assert other.digest != KEY.digest
    filled(cache)
    found, _ = cache.find(other)
    assert found is None


def test_an_entry_under_another_key_is_not_used(cache):
    """Somebody may have copied folders."""
    filled(cache)
    other = dataclasses.replace(KEY, torch="2.14.0")
    (cache.folder / KEY.digest).rename(cache.folder / other.digest)
    found, problem = cache.find(other)
    assert found is None
    assert "is not used: it is of another program; run `kim-torchml compile --force` with" in problem


def change(entry, **changes):
    """Change facts, and let the digest of them be right."""
    found = CacheEntry.from_json(entry, (entry / FACTS).read_text())
    (entry / FACTS).write_text(dataclasses.replace(found, **changes).to_json())


def without_facts(entry):
    (entry / FACTS).unlink()


def with_no_json(entry):
    (entry / FACTS).write_text("{")


def with_other_types(entry):
    (entry / FACTS).write_text(json.dumps({"key": 3}))


def with_other_facts(entry):
    text = (entry / FACTS).read_text()
    (entry / FACTS).write_text(text.replace('"energies": "float64"', '"energies": "float32"'))


def with_changed_code(entry):
    (entry / "program.so").write_bytes(b"other code")


def without_code(entry):
    (entry / "program.so").unlink()


def with_a_link(entry):
    (entry / "program.so").unlink()
    (entry / "program.so").symlink_to("/bin/sh")


def with_code_that_others_can_write(entry):
    (entry / "program.so").chmod(0o666)


def in_a_folder_that_others_can_write(entry):
    entry.chmod(0o777)


def behind_a_link(entry):
    entry.rename(entry.with_name("elsewhere"))
    entry.symlink_to("elsewhere")


def with_a_file_elsewhere(entry):
    change(entry, digests={"../../evil.so": "0" * 64, "program.so": "0" * 64})


def with_no_digest_of_the_library(entry):
    change(entry, digests={})


DAMAGES = [
    (without_facts, "it has no entry.json"),
    (with_no_json, "its entry.json is damaged"),
    (with_other_types, "its entry.json is damaged"),
    (with_other_facts, r"its entry.json is damaged (its digest is another)"),
    (with_changed_code, "its file program.so is damaged"),
    (without_code, "its file program.so cannot be read"),
    (with_a_link, "its file program.so is none"),
    (with_code_that_others_can_write, "others can write program.so"),
    (in_a_folder_that_others_can_write, "others can write "),
    (behind_a_link, "it is a link"),
    (with_a_file_elsewhere, "its entry.json names a file elsewhere"),
    (with_no_digest_of_the_library, "its entry.json is damaged"),
]


@pytest.mark.parametrize(("damage", "said"), DAMAGES, ids=[each[0].__name__ for each in DAMAGES])
def test_a_damaged_entry_is_not_used_and_can_be_made_anew(damage, said, cache):
    filled(cache)
    damage(cache.folder / KEY.digest)
    found, problem = cache.find(KEY)
    assert found is None
    assert said in problem
    assert [each[2] != "" for each in cache.entries()] == [True]
    filled(cache, content=b"new code")
    found, problem = cache.find(KEY)
    assert problem == ""
    assert (found.folder / "program.so").read_bytes() == b"new code"


def writable_for_the_group(folder):
    folder.mkdir()
    folder.chmod(0o770)


def writable_for_all(folder):
    folder.mkdir()
    folder.chmod(0o707)


def for_temporary_files(folder):
    folder.mkdir()
    folder.chmod(0o1777)


def with_other_things(folder):
    writable_for_the_group(folder)
    (folder / "notes.txt").touch()


def a_link(folder):
    (folder.parent / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to("elsewhere")


def a_file(folder):
    folder.write_text("")


_OTHERS = "others can write there, and could put programs there; "
_SHARED = f"{_OTHERS}it is not for compiled programs alone: run `export KIM_TORCHML_CACHE=~/kim-torchml-compiled`, or"
PLACES = [
    (writable_for_the_group, f"{_OTHERS}run `chmod 700 "),
    (writable_for_all, f"{_OTHERS}run `chmod 700 "),
    (for_temporary_files, _SHARED),
    (with_other_things, _SHARED),
    (a_link, "it must be a folder, not a link or a file; run `rm "),
    (a_file, "it must be a folder, not a link or a file"),
]


@pytest.mark.parametrize(("make", "said"), PLACES, ids=[each[0].__name__ for each in PLACES])
def test_a_place_that_others_can_change_is_not_used(make, said, cache):
    make(cache.folder)
    found, problem = cache.find(KEY)
    assert found is None
    assert said in problem
    with pytest.raises(DriverError, match=r"^the cache of compiled programs .* cannot be used: "):
        filled(cache)


def test_rights_of_a_place_are_mended_where_it_holds_compiled_programs_alone(cache):
    filled(cache)
    cache.keep_report(KEY, "what g++ said")
    with cache.unfinished():
        cache.folder.chmod(0o777)
        assert f"{_OTHERS}run `chmod 700 {cache.folder}`" in cache.find(KEY)[1]


def test_a_place_that_is_a_disk_of_its_own(cache, monkeypatch):
    writable_for_all(cache.folder)
    monkeypatch.setattr(Path, "is_mount", lambda path: path == cache.folder)
    assert _SHARED in cache.find(KEY)[1]


@pytest.mark.parametrize("name", ["my cache", "it's", 'a"quote', "back\\slash", "tab\tulator"])
def test_a_path_that_the_command_line_of_a_compiler_cannot_take(name, tmp_path):
    assert re.fullmatch(
        r"the compiler's command line cannot take a path with a blank, a quote or a backslash, got '[\s\"'\\]' in '.*'",
        why_nothing_compiles_in(tmp_path / name),
    )


def test_a_path_of_other_characters_is_fine():
    """A small program was compiled in such a folder."""
    assert why_nothing_compiles_in(Path("/a$b;c&d(e)*f[g]#h%i,j=k:l@m~né{o}`p!q|r<s>t^")) == ""


def test_a_place_that_its_user_cannot_look_into(cache, monkeypatch):
    """As root, who may run these tests, one can."""
    filled(cache)
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: access(path, mode) and path != cache.folder)
    found, problem = cache.find(KEY)
    assert found is None
    assert f"you cannot look into it; run `chmod 700 {cache.folder}`" in problem
    assert cache.entries() == []


def test_the_place_of_another_user(cache, monkeypatch):
    filled(cache)
    uid = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: uid + 1)
    found, problem = cache.find(KEY)
    assert found is None
    assert "it must belong to you; run `export KIM_TORCHML_CACHE=~/kim-torchml-compiled`" in problem


def test_a_full_disk_leaves_nothing_half_written(cache, monkeypatch):
    def full(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DriverError, match=r"^cannot write into the cache .*: No space left on device; make room there"):
        filled(cache)
    assert cache.find(KEY) == (None, "")
    assert [path.name for path in cache.folder.iterdir()] == [f"{KEY.digest}.lock"]


KILLED = """
import sys, time
from kim_torchml.engines.exported.compiled.cache import Cache
from pathlib import Path
with Cache(Path(sys.argv[1])).unfinished() as folder:
    (folder / "program.so").write_bytes(b"half")
    print("ready", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_process_leaves_is_no_entry_and_is_removed(cache, monkeypatch):
    process = subprocess.Popen([sys.executable, "-c", KILLED, cache.folder], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "ready\n"
        with monkeypatch.context() as patch:
            patch.setattr("kim_torchml.engines.exported.compiled.cache._YOUNG", -1.0)
            assert cache.remove_unfinished() == [], "a process at work was disturbed"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert cache.entries() == []
    (folder,) = cache.unfinished_folders()
    assert cache.remove_unfinished() == [], "it may have been made just now"
    monkeypatch.setattr("kim_torchml.engines.exported.compiled.cache._YOUNG", -1.0)
    assert cache.remove_unfinished() == [folder]
    assert list(cache.folder.iterdir()) == []


def test_one_alone_holds_the_lock_and_the_other_is_told_how_long_it_waits(cache):
    waited, order = [], []
    begun = threading.Event()

    def first():
        with cache.locked(KEY, wait=lambda seconds: None):
            begun.set()
            time.sleep(0.5)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    begun.wait()
    with cache.locked(KEY, wait=waited.append):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]
    assert waited
    assert waited == sorted(waited)


def test_removing_an_entry(cache):
    entry = filled(cache)
    cache.remove(entry.folder)
    assert cache.find(KEY) == (None, "")
    with pytest.raises(DriverError, match=r"^cannot remove "):
        cache.remove(entry.folder)


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv(settings.CACHE, raising=False)
    assert settings.cache_folder() == tmp_path / ".cache" / "kim-torchml" / "compiled"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert settings.cache_folder() == tmp_path / ".cache" / "kim-torchml" / "compiled"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert settings.cache_folder() == tmp_path / "xdg" / "kim-torchml" / "compiled"
    monkeypatch.setenv(settings.CACHE, "~/own")
    assert settings.cache_folder() == tmp_path / "own"
    monkeypatch.setenv(settings.CACHE, "own")
    with pytest.raises(DriverError, match=r"^the environment variable KIM_TORCHML_CACHE must be an absolute path, got"):
        settings.cache_folder()


@pytest.mark.parametrize(("text", "word"), [("", "cached"), ("cached", "cached"), ("NEVER", "never"), (" now ", "now")])
def test_words_for_compiling(text, word, monkeypatch):
    monkeypatch.setenv(settings.COMPILE, text)
    assert settings.compile_word() == word


def test_another_word_for_compiling(monkeypatch):
    monkeypatch.setenv(settings.COMPILE, "always")
    with pytest.raises(DriverError, match="KIM_TORCHML_COMPILE must be never, cached or now, got 'always'; correct or"):
        settings.compile_word()


@pytest.mark.parametrize(("threads", "expected"), [(1, 2.5), (2, 1.5), (3, 1.5), (4, 0.9), (64, 0.9)])
def test_how_much_faster_it_is_depends_on_the_number_of_threads(threads, expected, cache):
    assert filled(cache).speed_up_with(threads) == expected


def test_an_entry_for_another_torch_is_told_of(cache, monkeypatch):
    """Whoever has changed the torch wonders why the model has become slow."""
    filled(cache)
    assert cache.find(dataclasses.replace(KEY, torch="2.14.0+cpu def", model="1" * 64)) == (None, "")
    monkeypatch.setattr("kim_torchml.engines.exported.compiled.key._torch", lambda: "2.14.0+cpu def")
    found, problem = cache.find(dataclasses.replace(KEY, torch="2.14.0+cpu def"))
    assert found is None
    assert problem.startswith(
        "what was compiled of it is made with torch 2.13.0+cpu; run `kim-torchml compile --force` "
    )


def test_what_failed_is_kept_until_it_is_removed_or_has_been_compiled(cache):
    cache.folder.mkdir(mode=0o700)
    path = cache.keep_report(KEY, "what g++ said")
    assert path.read_text() == "what g++ said"
    filled(cache)
    assert not path.exists()
    path, other = cache.keep_report(KEY, "what g++ said"), cache.folder / "server.log"
    other.touch()
    cache.remove_reports()
    assert not path.exists()
    assert other.exists()


def test_a_file_system_without_locks(cache, monkeypatch):
    def without(file, operation):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", without)
    with pytest.raises(DriverError, match=r"^cannot lock a file in the cache .*: No locks available; name a folder on"):
        filled(cache)


def test_code_of_another_user_in_a_cache_of_ones_own(cache, monkeypatch):
    """It may lie there since before the rights of the cache were mended."""
    entry = filled(cache)
    lstat, uid = Path.lstat, os.getuid()

    def of_another(path):
        found = lstat(path)
        fields = list(found)
        fields[4] = uid + 1
        return os.stat_result(fields) if path == entry.library else found

    monkeypatch.setattr(Path, "lstat", of_another)
    found, problem = cache.find(KEY)
    assert found is None
    assert "is not used: others can write program.so; run" in problem


def test_a_failure_is_known_to_those_that_have_waited_for_it(cache):
    before = time.time()
    assert cache.failure_since(KEY, before) == ""
    with cache.locked(KEY, wait=lambda seconds: None):
        cache.keep_failure(KEY, "sizes depend on values")
        assert cache.failure_since(KEY, before) == "sizes depend on values"
    assert cache.failure_since(KEY, time.time() + 1.0) == ""
    assert [path.name for path in cache.folder.iterdir()] == [f"{KEY.digest}.lock"]
    filled(cache)
    assert cache.find(KEY)[1] == ""


def test_rights_of_files_do_not_depend_on_the_umask(cache):
    umask = os.umask(0o002)
    try:
        entry = filled(cache)
    finally:
        os.umask(umask)
    assert {path.stat().st_mode & 0o777 for path in entry.folder.iterdir()} == {0o600}
    assert cache.find(KEY)[1] == ""
