# SPDX-License-Identifier: LGPL-2.1-or-later
"""The driver under AddressSanitizer and UndefinedBehaviorSanitizer, in a simulator that does everything wrong."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import pytest
import tiny_models as tiny
from effort import seed, times
from kim_collection import KimCollection, compile_simulator, export_sources

# Leaks are not reported, because Python and torch keep memory until the process ends. An allocation of an absurd size
# returns NULL, so that torch raises its own error.
SANITIZER_OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    # With malloc in place of Python's own allocator, the sanitizer watches Python's objects too.
    "PYTHONMALLOC": "malloc",
}
FLAGS = ("-O1", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer")
# How many odd calls of each model.
CALLS = {tiny.RAW: 600, tiny.GRAPH_2: 600, tiny.DESCRIPTOR: 250, tiny.EDGES_3: 400}
FOLDED_CALLS = 200


@pytest.fixture(scope="module")
def sanitized_collection(tmp_path_factory: pytest.TempPathFactory) -> KimCollection:
    """Return a collection with the driver built under the sanitizers, and a few models."""
    collection = KimCollection(tmp_path_factory.mktemp("sanitized"))
    # KIM's manager loads the driver into a program that is not linked with the sanitizers.
    settings = {"KIM_TORCHML_SANITIZE": "1", "ASAN_OPTIONS": "detect_leaks=0:verify_asan_link_order=0"}
    collection.install(export_sources(tmp_path_factory.mktemp("export")), KIM_TORCHML_PYTHON=sys.executable, **settings)
    models = [model for model in tiny.sound_models() if model.name in CALLS]
    collection.install_models(models, tmp_path_factory.mktemp("models"))
    return collection


Fuzz = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def fuzz_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_simulator("fuzz_simulator", tmp_path_factory.mktemp("fuzz"), FLAGS)


@pytest.fixture(scope="module")
def fuzz(fuzz_program: Path, sanitized_collection: KimCollection, tmp_path_factory: pytest.TempPathFactory) -> Fuzz:
    """Return a function that runs the simulator and returns its exit code, stdout and stderr."""

    def function(*arguments: str | int, edges: str = "staged") -> tuple[int, str, str]:
        folder = tmp_path_factory.mktemp("run")
        settings = {"KIM_TORCHML_QUIET": "1", "KIM_TORCHML_EDGES": edges}
        # stderr is a file, because the program itself reads what the driver writes there.
        with (folder / "stderr").open("a+b") as stderr:
            done = subprocess.run(
                [str(fuzz_program), *map(str, arguments)],
                env=sanitized_collection.environment | SANITIZER_OPTIONS | settings,
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                timeout=times(600),
                check=False,
            )
        return done.returncode, done.stdout, (folder / "stderr").read_text(errors="replace")

    return function


def results_of(run: tuple[int, str, str]) -> list[dict]:
    """Check that a run has succeeded, and return its results."""
    code, stdout, stderr = run
    # A sanitizer's report comes last on stderr.
    assert code == 0, f"{stdout}\n{stderr[-6000:]}"
    return [json.loads(line) for line in stdout.splitlines()]


@pytest.fixture(scope="module")
def counts_of_odd_calls(fuzz: Fuzz) -> dict[str, dict]:
    """Return what one process, with one model after the other, did with each: kinds of calls, succeeded and refused."""
    words = [[name, seed(number), times(calls)] for number, (name, calls) in enumerate(CALLS.items())]
    return dict(zip(CALLS, results_of(fuzz("run", *chain.from_iterable(words))), strict=True))


@pytest.mark.parametrize("name", CALLS)
def test_odd_calls(counts_of_odd_calls: dict[str, dict], name: str) -> None:
    """Each odd call ends as it should, and the sound call after it gives the same bits as before."""
    expect_all_kinds(counts_of_odd_calls[name], times(CALLS[name]))


def test_odd_calls_where_images_are_folded(fuzz: Fuzz) -> None:
    """They are those above, but for those in which a particle moves without its images."""
    words = [tiny.EDGES_3, seed(len(CALLS)), times(FOLDED_CALLS)]
    (counts,) = results_of(fuzz("periodic", *words, edges="folded"))
    expect_all_kinds(counts, times(FOLDED_CALLS))


def expect_all_kinds(counts: dict[str, list[int]], calls: int) -> None:
    """Check that there were as many odd calls as these, of every kind."""
    assert sum(map(sum, counts.values())) == calls
    assert [kind for kind, (succeeded, refused) in counts.items() if succeeded + refused == 0] == []
    assert len(counts) > 20


def test_two_million_particles(fuzz: Fuzz) -> None:
    """Almost all of them are far away, and the results of the others do not change."""
    assert results_of(fuzz("large", tiny.GRAPH_2, 2_000_000)) == [{"n": 2_000_000}]


def test_more_coordinates_than_an_int_can_count(fuzz: Fuzz) -> None:
    assert results_of(fuzz("vast", tiny.RAW)) == [{"n": (2**31 - 1) // 3 + 1000}]


@pytest.mark.parametrize(
    ("kind", "report"),
    [
        ("short input", r"AddressSanitizer: use-after-poison (?s:.*)in check_species_codes"),
        ("misaligned input", r"compute_arguments\.cpp:\d+:\d+: runtime error: load of misaligned address"),
        ("short output", r"AddressSanitizer: use-after-poison"),
    ],
)
def test_sanitizers_are_on(fuzz: Fuzz, kind: str, report: str) -> None:
    """The sanitizers are on in the driver too: the first two mistakes show only in its own code."""
    code, _, stderr = fuzz("mistakes", tiny.GRAPH_2, kind)
    assert code != 0
    assert re.search(report, stderr), stderr[-6000:]


def test_simulator_notices(fuzz: Fuzz) -> None:
    violations = {
        "short output for zeros": "something was written beside an output",
        "other refusal": "a refusal must say 'something else', got: [kim-torchml] error: `numberOfParticles` must not",
        "no refusal": "it must be refused, but succeeds",
        "other result": "an output is not what it was before",
    }
    code, stdout, stderr = fuzz("mistakes", tiny.GRAPH_2, *violations)
    assert code == 0, stderr[-6000:]
    for kind, violation in violations.items():
        assert f"{kind}: {violation}" in stdout
