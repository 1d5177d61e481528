# SPDX-License-Identifier: LGPL-2.1-or-later
"""`kim-torchml cache`: what is listed, what is removed by name, and what `kim-torchml remove` says of it."""

import dataclasses
import hashlib
import os
import re

import pytest
from click.testing import CliRunner
from compile_caches import KEY, filled
from model_folders import compile_library, edges_files
from test_installing import Kim

from kim_torchml.engines.exported.compiled.cache import Cache
from kim_torchml.process import settings
from kim_torchml.tools.cli import main

ELSEWHERE = r"made with torch 2\.13\.0\+cpu|made for .*"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(settings.CACHE, str(tmp_path / "cache"))
    monkeypatch.setenv(settings.COMPILE, "cached")
    return Cache(tmp_path / "cache")


def run(*words):
    """Run the command; return its exit status, stdout and stderr."""
    result = CliRunner().invoke(main, ["cache", *words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result.exit_code, result.stdout, result.stderr


def add(cache, name, **changes):
    """Add an entry of a name; return the beginning of its key."""
    return filled(cache, dataclasses.replace(KEY, **changes), name=name).folder.name[:12]


def keys(cache):
    return sorted(path.name[:12] for path in cache.folder.iterdir() if len(path.name) == 64)


def left_behind(cache, size):
    """Pretend that a process was killed that had written files; return the folder that it has left."""
    folder = cache.folder / "unfinished-abc"
    folder.mkdir(parents=True)
    cache.folder.chmod(0o700)
    (folder / ".lock").touch()
    (folder / "program.o").write_bytes(bytes(size))
    return folder


def test_an_empty_cache(cache):
    assert run() == (0, f"{cache.folder}: empty\n", "")


def test_what_killed_processes_have_left(cache, monkeypatch):
    left_behind(cache, 12_300_000)
    code, output, _ = run()
    assert code == 0
    assert output == (
        f"{cache.folder}: nothing compiled\n"
        "  1 unfinished, 12.3 MB: of processes that compile now, or left by some that were killed, which --prune "
        "removes\n"
    )
    monkeypatch.setattr("kim_torchml.engines.exported.compiled.cache._YOUNG", -1.0)
    *_, removed, total = run("--prune")[1].splitlines()
    assert removed == "removed unfinished-abc"
    assert total == "removed 0 compiled (0 B), 1 unfinished"
    assert run()[1] == f"{cache.folder}: empty\n"


def test_pruning_says_what_it_removes(cache):
    key = add(cache, "My_Model")
    (facts,) = cache.folder.glob("*/entry.json")
    facts.unlink()
    code, output, _ = run("--prune")
    assert code == 0
    assert output.splitlines()[-2:] == [
        f"removed {key}  ?  (it has no entry.json)",
        "removed 1 compiled (11 B), 0 unfinished",
    ]
    assert keys(cache) == []


def test_removing_by_name(cache):
    """A name stands for what was compiled of it for all devices and versions, and of older files of that name."""
    for changes in ({}, {"device": "cuda"}, {"model": "1" * 64}):
        add(cache, "My_Model", **changes)
    other = add(cache, "Other_Model", model="2" * 64)
    code, output, error = run("--remove", "My_Model")
    assert (code, error) == (0, "")
    *removed, total = output.splitlines()
    assert len(removed) == 3
    assert all(re.fullmatch(rf"removed [0-9a-f]{{12}}  My_Model  \(({ELSEWHERE})\)", line) for line in removed)
    assert re.fullmatch(r"removed 3 compiled \(.*\), 0 unfinished", total)
    assert keys(cache) == [other]


def test_removing_by_key(cache):
    first, second = add(cache, "model.pt2"), add(cache, "model.pt2", model="1" * 64)
    third = add(cache, "My_Model")
    # The same key: the newer one has taken its place.
    assert first == third
    assert run("--remove", second[:9])[0] == 0
    assert keys(cache) == [first]
    add(cache, "model.pt2", model="1" * 64)
    assert run("--remove", first, "--remove", second)[0] == 0
    assert keys(cache) == []


def test_names_that_stand_for_nothing_or_too_much(cache):
    made = [add(cache, "model.pt2", model=digit * 64) for digit in "0123456789abcdef"]
    code, _, error = run("--remove", "My_Model")
    assert (code, error) == (
        2, "Error: nothing compiled has the name or key 'My_Model'; `kim-torchml cache` lists both\n"
    )  # fmt: skip
    code, _, error = run("--remove", "model.pt2")
    assert code == 2
    assert error.startswith("Error: 'model.pt2' is a file name that several models have; name one by its key: ")
    assert all(each in error for each in made)
    shared = next(digit for digit in "0123456789abcdef" if sum(each[0] == digit for each in made) > 1)
    code, _, error = run("--remove", shared)
    assert code == 2
    assert re.fullmatch(rf"Error: '{shared}' is the beginning of \d+ keys; write more of it\n", error)
    assert run("--remove", "")[0] == 2
    assert keys(cache) == sorted(made)


def test_a_file_name_that_one_model_has(cache):
    add(cache, "model.pt2")
    add(cache, "model.pt2", device="cuda")
    assert run("--remove", "model.pt2")[0] == 0
    assert keys(cache) == []


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("never", "note: KIM_TORCHML_COMPILE is never: simulators do not use what is compiled\n"),
        (
            "always",
            "warning: simulators open no model: the environment variable KIM_TORCHML_COMPILE must be never, cached or "
            "now, got 'always'; correct or unset it\n",
        ),
    ],
)
def test_what_simulators_do_with_it(word, said, cache, monkeypatch):
    monkeypatch.setenv(settings.COMPILE, word)
    assert run() == (0, f"{cache.folder}: empty\n", said)


def test_removing_a_model_tells_of_what_was_compiled(cache, fake, monkeypatch):
    path, kim = os.environ["PATH"], Kim(fake, monkeypatch)
    monkeypatch.setenv("PATH", path)
    content = b"a program of torch.export"
    compile_library(kim.library, "My_Model", {**edges_files(), "model.pt2": content})
    monkeypatch.setenv("PATH", f"{fake.bin}:/usr/bin")
    kim.answer(portable_models=f"user My_Model {kim.models}")
    keys = [add(cache, name, model=hashlib.sha256(content).hexdigest(), device=device)
            for name, device in (("model.pt2", "cpu"), ("My_Model", "cuda"))]  # fmt: skip
    add(cache, "Other_Model", model="2" * 64)
    code, output, _ = kim.run("remove", "My_Model")
    assert code == 0
    *_, line = output.splitlines()
    options = " ".join(f"--remove {key}" for key in sorted(keys))
    assert re.fullmatch(
        rf"what was compiled of it stays in the cache, .* kB \(`kim-torchml cache {options}` removes it\)", line
    )
    assert run(*options.split())[0] == 0
    assert "1 compiled" in run()[1]
