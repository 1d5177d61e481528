# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs that this machine compiles: the numbers of the program itself, and what happens where that cannot be."""

import dataclasses
import hashlib
import os
import shutil
import subprocess
import sys
import threading

import pytest
import torch
from exporting import Splitting, exported_bytes
from models import Edges3
from program_files import empty_program, inputs_of, needs_export, node, opened, signature_of
from trapped import ChoosesTwoRowsMore

from kim_torchml.engines import UNCOMPILED, CompiledProgram, compiled_program, prepared
from kim_torchml.engines.exported.compiled.request import CompileRequest
from kim_torchml.errors import DriverError
from kim_torchml.inputs import ModelInputs
from kim_torchml.process import settings

pytestmark = [
    needs_export,
    pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler (g++)"),
]
SIGNATURE = signature_of(torch.float64)


class Counting(Splitting):
    """Looks up a table by the number of near neighbours, of which an atom may have too many; mixes rows of one species.

    How many rows that are depends on values, and may be none.
    """

    def __init__(self):
        super().__init__()
        self.table = torch.nn.Parameter(torch.linspace(0.1, 0.9, 40))
        self.mixing = torch.nn.Parameter(torch.linspace(-0.2, 0.3, 6).reshape(2, 3))

    def forward(self, species, edge_index, edge_vectors):
        energies = super().forward(species, edge_index, edge_vectors)
        is_near = (edge_vectors.square().sum(1) < 0.01).to(energies.dtype)
        near = torch.zeros_like(energies).index_add(0, edge_index[0], is_near)
        chosen = torch.nonzero(species == 1).squeeze(1)
        features = torch.stack([energies, near], dim=1).index_select(0, chosen)
        return (energies * self.table[near.to(torch.int64)]).index_add(0, chosen, (features @ self.mixing).sum(1))


def unheard(progress):
    """Take what is said of progress."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A cache with one compiled program, which takes a minute to make; what was said meanwhile."""
    folder = tmp_path_factory.mktemp("compiled") / "cache"
    said = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(settings.CACHE, str(folder))
        content = exported_bytes(Counting)
        entry, is_new = compiled_program(opened(content), content, SIGNATURE, "My_Model", said.append, force=False)
    assert is_new
    return folder, content, entry, said


@pytest.fixture
def cache(made, monkeypatch):
    monkeypatch.setenv(settings.CACHE, str(made[0]))
    return made[0]


@pytest.fixture
def compiled(made, cache):
    choice = prepared(opened(made[1]), made[1], SIGNATURE, "My_Model", settings.CACHED, unheard)
    assert isinstance(choice.program, CompiledProgram), choice
    return choice.program


def test_progress_tells_stage_part_and_time(made):
    _, _, entry, said = made
    stages = list(dict.fromkeys(each.stage for each in said))
    assert stages[-6:] == [
        "reading the program", "differentiating it", "exporting it", "compiling it", "comparing it", "timing it"
    ]  # fmt: skip
    assert [each.part for each in said] == sorted(each.part for each in said)
    assert [each.seconds for each in said] == sorted(each.seconds for each in said)
    assert entry.facts.seconds > 1.0
    assert 1 in entry.facts.speed_ups


def test_nothing_is_left_but_the_entry_and_its_lock(made):
    folder, _, entry, _ = made
    assert sorted(path.name for path in folder.iterdir()) == [entry.key.digest, f"{entry.key.digest}.lock"]
    assert sorted(path.name for path in entry.folder.iterdir()) == ["entry.json", "program.so"]


@pytest.mark.parametrize(("n", "n_edges"), [(0, 0), (1, 0), (7, 0), (2, 1), (11, 70), (23, 506), (301, 4001)])
def test_the_numbers_are_those_of_the_program(n, n_edges, made, compiled):
    inputs = inputs_of(n, n_edges)
    expected = opened(made[1]).run(inputs, wants_gradient=True)
    for _ in range(2):
        found = compiled.run(inputs, wants_gradient=True)
        assert found.forces is None
        for ours, theirs in ((found.energies, expected.energies), (found.gradient, expected.gradient)):
            assert ours.shape == theirs.shape
            assert not ours.requires_grad
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    assert compiled.run(inputs, wants_gradient=False).gradient is None


@pytest.mark.parametrize("contributing", [slice(0, 4), torch.arange(11) % 3 == 1], ids=["first", "some"])
def test_energies_of_other_rows_are_not_in_the_gradient(contributing, made, compiled):
    plain = inputs_of(11, 70)
    inputs = dataclasses.replace(plain, contributing_rows=contributing)
    expected = opened(made[1]).run(inputs, wants_gradient=True)
    of_all = opened(made[1]).run(plain, wants_gradient=True)
    found = compiled.run(inputs, wants_gradient=True)
    torch.testing.assert_close(found.gradient, expected.gradient, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(of_all.gradient, expected.gradient)


def test_sizes_that_change_in_every_step_repeat_their_bits(compiled):
    sizes = [(5 + number % 37, 3 * (number % 53)) for number in range(200)]
    first = [compiled.run(inputs_of(*each), wants_gradient=True) for each in sizes]
    again = [compiled.run(inputs_of(*each), wants_gradient=True) for each in reversed(sizes)][::-1]
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one.energies, other.energies)
        assert torch.equal(one.gradient, other.gradient)


def test_threads_compute_at_the_same_time(compiled):
    inputs = [inputs_of(50 + number, 400 + number, seed=number) for number in range(4)]
    expected = [compiled.run(each, wants_gradient=True) for each in inputs]
    wrong = []

    def compute(number):
        for _ in range(20):
            found = compiled.run(inputs[number], wants_gradient=True)
            if not torch.equal(found.gradient, expected[number].gradient):
                wrong.append(number)

    threads = [threading.Thread(target=compute, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def of(arguments, inputs):
    return ModelInputs(tuple(arguments), arguments[-1], inputs.n_rows, slice(None), None, inputs.n_pairs)


def column_major(species, edge_index, edge_vectors):
    return species, edge_index, edge_vectors.detach().T.contiguous().T


def of_another_type(species, edge_index, edge_vectors):
    return species, edge_index.to(torch.int32), edge_vectors


def of_another_size(species, edge_index, edge_vectors):
    return species, edge_index, edge_vectors[:-1]


def beyond_the_rows(species, edge_index, edge_vectors):
    changed = edge_index.clone()
    changed[1, 3] = len(species)
    return species, changed, edge_vectors


def before_the_rows(species, edge_index, edge_vectors):
    changed = edge_index.clone()
    changed[0, 3] = -1
    return species, changed, edge_vectors


def of_an_unknown_species(species, edge_index, edge_vectors):
    changed = species.clone()
    changed[2] = 3
    return changed, edge_index, edge_vectors


WRONG = [
    (column_major, r"edge_vectors \[E, 3\] of torch\.float64 on cpu, row by row in memory, got \[70, 3\]"),
    (of_another_type, r"edge_index \[2, E\] of torch\.int64 on cpu, .*, got \[2, 70\] of torch\.int32 on cpu; report"),
    (of_another_size, r"edge_vectors \[E, 3\] of torch\.float64 .*, got \[69, 3\]"),
    (beyond_the_rows, r"^edge_index for the model in x\.pt2 must be from 0 to 10, got 11$"),
    (before_the_rows, r"^edge_index for the model in x\.pt2 must be from 0 to 10, got -1$"),
    (of_an_unknown_species, r"^species for the model in x\.pt2 must be from 0 to 2, got 3$"),
]


@pytest.mark.parametrize(("change", "said"), WRONG, ids=[each[0].__name__ for each in WRONG])
def test_what_native_code_would_not_notice_is_refused(change, said, compiled):
    inputs = inputs_of(11, 70)
    with pytest.raises(DriverError, match=said):
        compiled.run(of(change(*inputs.arguments), inputs), wants_gradient=True)


def test_a_program_that_fails_says_what_it_says_uncompiled(made, compiled):
    plain = inputs_of(3, 400)
    vectors = (0.001 * plain.leaf.detach()).requires_grad_(True)
    inputs = of((*plain.arguments[:2], vectors), plain)
    with pytest.raises(DriverError) as expected:
        opened(made[1]).run(inputs, wants_gradient=True)
    assert "raised an error in aten.index.Tensor: index " in str(expected.value)
    with pytest.raises(DriverError) as found:
        compiled.run(inputs, wants_gradient=True)
    assert str(found.value) == str(expected.value)
    # It goes on with what is right.
    assert torch.isfinite(compiled.run(plain, wants_gradient=True).gradient).all()


def test_a_failure_of_native_code_alone(made, compiled, monkeypatch, talkative, capfd):
    def failing(given):
        raise RuntimeError("run_func_ API call failed at interface.cpp, line 1")

    monkeypatch.setattr(compiled, "_runner", type("Runner", (), {"run": staticmethod(failing)}))
    inputs = inputs_of(11, 70)
    expected = opened(made[1]).run(inputs, wants_gradient=True)
    for _ in range(2):
        assert torch.equal(compiled.run(inputs, wants_gradient=True).gradient, expected.gradient)
    assert capfd.readouterr().err == (
        "[kim-torchml] warning: native code of x.pt2 has failed, and the program itself has not, which runs from now "
        "on: run_func_ API call failed at interface.cpp, line 1\n"
    )


def test_more_than_native_code_can_count_is_run_by_the_program_itself(made, compiled, monkeypatch):
    """On a GPU it may count with 32 bits."""
    inputs = inputs_of(11, 70)
    expected = opened(made[1]).run(inputs, wants_gradient=True)
    monkeypatch.setattr(compiled, "_most", 69)
    monkeypatch.setattr(compiled, "_runner", None)
    assert torch.equal(compiled.run(inputs, wants_gradient=True).gradient, expected.gradient)
    monkeypatch.setattr(compiled, "_most", 70)
    with pytest.raises(AttributeError):
        compiled.run(inputs, wants_gradient=True)


def test_other_weights_are_never_those_of_the_compiled_program(made, compiled):
    weight = compiled.tensors()["centres"]
    changed = compiled.with_tensors({"centres": weight + 0.25})
    assert not isinstance(changed, CompiledProgram)
    inputs = inputs_of(11, 70)
    expected = opened(made[1]).with_tensors({"centres": weight + 0.25}).run(inputs, wants_gradient=True)
    assert torch.equal(changed.run(inputs, wants_gradient=True).energies, expected.energies)
    assert not torch.allclose(compiled.run(inputs, wants_gradient=True).energies, expected.energies)
    assert compiled.file_content(made[1]) == opened(made[1]).file_content(made[1])


def chosen(made, word, dtype=torch.float64, content=None):
    content = made[1] if content is None else content
    return prepared(opened(content, dtype), content, signature_of(dtype), "My_Model", word, unheard)


def test_never_is_never(made, cache):
    choice = chosen(made, settings.NEVER)
    assert not isinstance(choice.program, CompiledProgram)
    assert (choice.how, choice.advice) == (UNCOMPILED, "")


def test_a_program_that_was_not_compiled_runs_as_it_is_and_says_what_could_be_done(made, cache):
    choice = chosen(made, settings.CACHED, content=exported_bytes(Edges3))
    assert choice.how == UNCOMPILED
    assert choice.advice.startswith(
        "x.pt2 runs not compiled: `kim-torchml compile`, with the model's name, makes native code"
    )


def test_a_program_that_is_slower_compiled_is_not_run_compiled(made, cache, monkeypatch):
    monkeypatch.setattr(
        "kim_torchml.engines.exported.compiled.entry.CacheEntry.speed_up_with", lambda entry, threads: 0.9
    )
    choice = chosen(made, settings.CACHED)
    assert not isinstance(choice.program, CompiledProgram)
    assert choice.how == "not compiled, which is faster here"


def test_an_entry_that_cannot_be_loaded(made, cache, tmp_path, monkeypatch):
    """The digest is right, but it is no library, such as where the file was made so."""
    copied = tmp_path / "cache"
    shutil.copytree(cache, copied)
    monkeypatch.setenv(settings.CACHE, str(copied))
    folder = copied / made[2].key.digest
    (folder / "program.so").write_bytes(b"no library")
    digests = {"program.so": hashlib.sha256(b"no library").hexdigest()}
    (folder / "entry.json").write_text(dataclasses.replace(made[2], digests=digests).to_json())
    choice = chosen(made, settings.CACHED)
    assert not isinstance(choice.program, CompiledProgram)
    assert "cannot be loaded (" in choice.advice
    assert choice.advice.endswith("run `kim-torchml compile --force` with the model's name")


def test_a_cache_that_others_can_write_is_not_used(made, tmp_path, monkeypatch):
    copied = tmp_path / "cache"
    shutil.copytree(made[0], copied)
    copied.chmod(0o777)
    monkeypatch.setenv(settings.CACHE, str(copied))
    choice = chosen(made, settings.CACHED)
    assert not isinstance(choice.program, CompiledProgram)
    assert f"others can write there, and could put programs there; run `chmod 700 {copied}`" in choice.advice


def test_a_cache_that_fails_in_another_way(made, cache, monkeypatch):
    """Folders on networks do that; the model runs all the same."""

    def failing(cache, key):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("kim_torchml.engines.exported.compiled.cache.Cache.find", failing)
    choice = chosen(made, settings.CACHED)
    assert choice.how == UNCOMPILED
    assert choice.advice == (
        "x.pt2 runs not compiled: it cannot be compiled or loaded here (PermissionError: [Errno 13] Permission denied)"
    )


def test_the_same_bits_on_a_gpu_are_those_of_the_program_itself(made, cache, monkeypatch):
    program = opened(made[1])
    program.device = torch.device("cuda")
    monkeypatch.setenv(settings.DETERMINISTIC, "1")
    choice = prepared(program, made[1], SIGNATURE, "My_Model", settings.NOW, unheard)
    assert choice.program is program
    assert choice.advice == (
        "x.pt2 runs not compiled: native code of a GPU adds in any order, and KIM_TORCHML_DETERMINISTIC asks for the "
        "same bits"
    )


class OfSpecies(Edges3):
    """Gives each species a matrix product of its own."""

    def __init__(self):
        super().__init__()
        self.products = torch.nn.ModuleList(torch.nn.Linear(1, 1, dtype=torch.float64) for _ in range(2))

    def forward(self, species, edge_index, edge_vectors):
        energies = super().forward(species, edge_index, edge_vectors)
        for code in range(2):
            rows = (species == code).nonzero().squeeze(1)
            product = self.products[code](energies[rows].unsqueeze(1)).squeeze(1)
            energies = energies.index_add(0, rows, product)
        return energies


def test_sizes_that_depend_on_values_cannot_be_compiled(tmp_path, monkeypatch):
    monkeypatch.setenv(settings.CACHE, str(tmp_path / "cache"))
    content = exported_bytes(OfSpecies)
    # The same error as an exception is tested in test_compile_failures.py; each try takes a process of its own.
    choice = prepared(opened(content), content, SIGNATURE, "My_Model", settings.NOW, lambda progress: None)
    assert choice.how == UNCOMPILED
    assert choice.advice.startswith("x.pt2 runs not compiled: sizes in it depend on values")
    assert [path for path in (tmp_path / "cache").iterdir() if not path.name.endswith(".lock")] == []


def test_sizes_that_are_certainly_more_than_one_can_be_compiled(tmp_path, monkeypatch):
    """Two rows of zeros are computed for each species, and left out."""
    monkeypatch.setenv(settings.CACHE, str(tmp_path / "cache"))
    content = exported_bytes(ChoosesTwoRowsMore)
    program = opened(content)
    entry, is_new = compiled_program(program, content, SIGNATURE, "My_Model", lambda progress: None, force=False)
    assert is_new
    assert entry.facts.seconds > 0


MARK = "MARKBYTHEFILE"


def marked_program():
    """Return a program of which every name and text has a mark: of inputs, values, weights, nodes and messages."""
    call = [("species", torch.int64, ["n"]), ("edge_index", torch.int64, [2, "E"]), ("edge_vectors", None, ["E", 3])]
    program = empty_program(call=[(f"{MARK}{name}", dtype, sizes) for name, dtype, sizes in call])
    table = program.add_weight(f"{MARK}.table", torch.rand(3, 1, dtype=torch.float64))

    def add(target, name, sizes, dtype=torch.float64, /, **arguments):
        return program.add_node(target, f"{MARK}{name}", sizes, dtype, **arguments)

    vectors = f"{MARK}edge_vectors"
    centre = add("select.int", "centre", ["E"], torch.int64, self=f"{MARK}edge_index", dim=0, index=0)
    squares = add("mul.Tensor", "squares", ["E", 3], self=vectors, other=vectors)
    square = add("sum.dim_IntList", "square", ["E"], self=squares, dim=[1])
    factors = add("exp.default", "factors", ["E"], self=add("neg.default", "minus", ["E"], self=square))
    strengths = add("embedding.default", "strengths", ["n", 1], weight=table, indices=f"{MARK}species")
    flat = add("squeeze.dim", "flat", ["n"], self=strengths, dim=1)
    zeros = add("zeros_like.default", "zeros", ["n"], self=flat)
    sums = add("index_add.default", "sums", ["n"], self=zeros, dim=0, index=centre, source=factors)
    program.returns(add("mul.Tensor", "energies", ["n"], self=sums, other=flat))
    program.nodes.append(node("_assert_scalar.default", [], self=squares, assert_msg={"as_string": f"{MARK} message"}))
    for number, each in enumerate(program.nodes):
        each["metadata"] = {"stack_trace": f"{MARK} trace {number}", "nn_module_stack": MARK}
        each["name"] = f"{MARK}{number}"
    program.model["guards_code"] = [MARK]
    return program.content()


def test_no_text_of_the_file_reaches_the_generated_sources(tmp_path):
    file = tmp_path / "model.pt2"
    file.write_bytes(marked_program())
    request = CompileRequest.of(str(file), "model.pt2", str(tmp_path), torch.device("cpu"), signature_of())
    # The sources are complete once the compiler is called.
    compiler = tmp_path / "compiler"
    compiler.write_text('#!/bin/sh\ncase "$1" in --version|-v) exec g++ "$@";; esac\nexit 1\n')
    compiler.chmod(0o755)
    environment = {
        **os.environ,
        "CXX": str(compiler),
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "inductor"),
        "TMPDIR": str(tmp_path),
    }
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    worker = (
        "import kim_torchml.engines.exported.compiled.worker as worker\n"
        "worker.shutil.rmtree = lambda *arguments, **options: None  # keeps the sources\n"
        "worker.main(worker.os.getppid())"
    )
    run = subprocess.run(
        [sys.executable, "-c", worker],
        input=request.to_json(),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert '"failed": "the C++ compiler fails"' in run.stdout, run.stdout + run.stderr
    sources = [path for path in tmp_path.rglob("*") if path.is_file() and path not in (file, compiler)]
    assert {path.suffixes[-2] for path in sources if path.suffix == ".cpp" and "made" in path.parts} == {
        ".kernel",
        ".wrapper",
    }
    assert any(b"index_add" in path.read_bytes() or b"exp" in path.read_bytes() for path in sources)
    assert [path for path in sources if MARK.encode() in path.read_bytes()] == []
    assert MARK.encode() in file.read_bytes()
