# SPDX-License-Identifier: LGPL-2.1-or-later
"""Entries of the cache of compiled programs: each appears as a whole, and none that is damaged is used."""

import dataclasses
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from compile_caches import FOUND, KEY, filled

from kim_torchml.engines.exported.compiled.entry import FACTS, CacheEntry
from kim_torchml.engines.exported.compiled.key import Key
from kim_torchml.errors import DriverError


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
