# SPDX-License-Identifier: LGPL-2.1-or-later
"""The folder of compiled programs: where it is, whether it is used, and who may write there."""

import os
import re
from pathlib import Path

import pytest
from compile_caches import KEY, filled

from kim_torchml.errors import DriverError
from kim_torchml.process import settings
from kim_torchml.process.cache_folder import why_nothing_compiles_in


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


def test_a_file_system_without_locks(cache, monkeypatch):
    def without(file, operation):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", without)
    with pytest.raises(DriverError, match=r"^cannot lock a file in the cache .*: No locks available; name a folder on"):
        filled(cache)


def test_rights_of_files_do_not_depend_on_the_umask(cache):
    umask = os.umask(0o002)
    try:
        entry = filled(cache)
    finally:
        os.umask(umask)
    assert {path.stat().st_mode & 0o777 for path in entry.folder.iterdir()} == {0o600}
    assert cache.find(KEY)[1] == ""


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
