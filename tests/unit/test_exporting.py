# SPDX-License-Identifier: LGPL-2.1-or-later
"""Modules as programs of torch.export: the same energies, for any sizes, and the line of what cannot be exported."""

import io
import json
import linecache
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
import trapped
from exporting import Splitting, differentiated, loaded_by_torch
from models import Edges1, Edges3
from program_files import inputs_of, needs_export, opened
from saving import left_in, save, stated_of

import kim_torchml
from kim_torchml.errors import DriverError
from kim_torchml.tools.package import exporting as package_exporting

pytestmark = needs_export
SOURCE = Path(trapped.__file__)


def trap_of(module):
    """Return the number of the line of a module's trap, and its code as messages quote it."""
    lines = SOURCE.read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith(f"class {module.__name__}("))
    number = next(number for number in range(first, len(lines)) if "# the trap" in lines[number])
    return rf"trapped\.py, line {number + 1}: {re.escape(' '.join(lines[number].split())[:30])}"


def program_in(folder):
    """Return the JSON of the program in a folder."""
    with zipfile.ZipFile(folder / "model.pt2") as archive:
        return json.loads(archive.read("model/models/model.json"))


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [(Edges1, torch.float64), (Edges3, torch.float32), (Splitting, torch.float64), (trapped.Sound, torch.float64)],
    ids=lambda each: getattr(each, "__name__", None),
)
def test_a_written_program_gives_the_bits_of_torchs_own_loader(kind, dtype, tmp_path):
    torch.manual_seed(1)
    module = kind().to(dtype)
    kim_torchml.save_model(module, tmp_path / "model", **stated_of(kind, kind="edges", layers=3, parameters={}))
    content = (tmp_path / "model" / "model.pt2").read_bytes()
    by_torch, ours = loaded_by_torch(content), opened(content, dtype)
    for n, n_edges in ((11, 70), (3, 0), (1, 0), (200, 3000)):
        inputs = inputs_of(n, n_edges, dtype)
        energies, gradient = differentiated(by_torch, inputs)
        result = ours.run(inputs, wants_gradient=True)
        assert torch.equal(result.energies, energies)
        assert torch.equal(result.gradient, gradient)
        assert torch.allclose(module(*inputs.arguments), energies, rtol=1e-12 if dtype is torch.float64 else 1e-5)


def test_a_written_program_holds_nothing_of_the_authors_code(tmp_path):
    save(Edges3, tmp_path / "model")
    said = program_in(tmp_path / "model")
    assert {json.dumps(node["metadata"]) for node in said["graph_module"]["graph"]["nodes"]} == {"{}"}
    with zipfile.ZipFile(tmp_path / "model" / "model.pt2") as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert archive.read("model/data/sample_inputs/model.pt") == b""
        assert not [name for name in archive.namelist() if "serialization_id" in name]


def test_no_entry_of_a_written_program_names_a_source(tmp_path):
    """Neither this file's folder nor that of the module, of which both are in what torch writes."""
    kim_torchml.save_model(trapped.Sound(), tmp_path / "model", **stated_of(Edges1))
    with zipfile.ZipFile(tmp_path / "model" / "model.pt2") as archive:
        for name in archive.namelist():
            content = archive.read(name)
            assert os.fsencode(SOURCE.parent) not in content
            assert b"trapped" not in content
            assert b".py" not in content


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_low_precision(dtype, tmp_path):
    """What they round is more than the checks of forces allow, but that is said in one sentence."""
    with pytest.raises(DriverError, match=r"model\.pt2"):
        kim_torchml.save_model(Edges1().to(getattr(torch, dtype)), tmp_path / "model", **stated_of(Edges1, dtype=dtype))
    assert left_in(tmp_path) == []


def test_the_same_module_has_the_same_digest(tmp_path):
    for name in ("first", "second"):
        save(Edges3, tmp_path / name)
    first, second = ((tmp_path / name / "model.pt2").read_bytes() for name in ("first", "second"))
    assert first == second


def test_the_module_and_its_process_stay_as_they_are(tmp_path, capfd):
    module = trapped.TakesLen().train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    kim_torchml.save_model(module, tmp_path / "model", **stated_of(trapped.TakesLen, kind="edges"))
    assert module.training
    assert module.linear.training
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    # Torch prints half of a program that it cannot export.
    assert capfd.readouterr() == ("", "")


NOT_EXPORTED = [
    (trapped.TakesLen, r"it can be exported with species\.shape\[0\] == \d+ alone \({}\); write species\.shape\[0\], "
     r"which may change, and take no number out of it, as len\(\.\.\), int\(\.\.\) and range\(\.\.\) do"),
    (trapped.TakesLenLate, r"it can be exported with kinds\.shape\[0\] == \d+ alone \({}\); write kinds\.shape"),
    (trapped.LoopsOverRows, r"it can be exported with species\.shape\[0\] == \d+ alone \({}\); write species\.shape"),
    (trapped.TellsManyRows, r"it can be exported with species\.shape\[0\] > 7 alone \({}\); a program has no"),
    (trapped.TellsValues, r"what it does next depends on the values in a tensor \({}\); a program has no branches"),
    (trapped.UsesOtherOperators, r"uses 'torch\.ops\.aten\.polygamma\.default', which is not "
     r"among the operators that programs may use; it has not been run\. Export the model without it \({}\)"),
    (trapped.ChangesBuffer, r"changes with aten\.mul_\.Tensor what may be an input or a weight of the model; .* "
     r"\({}\)"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "reason"), NOT_EXPORTED, ids=[each[0].__name__ for each in NOT_EXPORTED])
def test_what_cannot_be_exported_is_scripted_and_the_line_is_named(kind, reason, tmp_path):
    stated = stated_of(kind, kind="edges")
    report = kim_torchml.save_model(kind(), tmp_path / "model", **stated)
    reason = reason.replace("{}", f".*{trap_of(kind)}.*")
    begins = rf"the module {kind.__name__} cannot be saved as model\.pt2: "
    assert re.match(f"model\\.pt is TorchScript, as {begins}.*{reason}", report.notes[0])
    assert report.notes[0] in str(report).splitlines()
    assert "model.pt" in left_in(tmp_path / "model")
    with pytest.raises(DriverError, match=f"^{begins}.*{reason}"):
        kim_torchml.save_model(kind(), tmp_path / "other", **stated, file_format="pt2")
    assert left_in(tmp_path) == ["model"]


def test_a_branch_that_torch_drops_unseen_is_found(tmp_path):
    report = kim_torchml.save_model(trapped.TellsNoEdges(), tmp_path / "model", **stated_of(Edges1))
    assert re.search(
        r"^model\.pt is TorchScript, .*: the energies of the exported program differ by \S+ eV from the module's for "
        r"1 rows and 0 edges; torch\.export keeps one branch of an `if` on sizes",
        str(report),
        re.MULTILINE,
    )


def test_what_can_be_saved_in_no_way_is_told_of_both(tmp_path):
    with pytest.raises(
        DriverError,
        match=rf"^the module LeavesTorch cannot be saved as model\.pt2: .*\(.*{trap_of(trapped.LeavesTorch)}.*\)\. Nor "
        r"can it be saved as model\.pt: the module LeavesTorch must be one that TorchScript can compile, got: .*numpy",
    ):
        kim_torchml.save_model(trapped.LeavesTorch(), tmp_path / "model", **stated_of(Edges1))
    assert left_in(tmp_path) == []


DOUBTS = [
    (trapped.ChoosesRowsOfSeveral, "the size of a product of several matrices depends on values, such as how many rows "
     r"are of a species \({}\): the program runs, but cannot be compiled; compute all rows, and choose with "
     r"torch\.where, or add two rows to those that are chosen"),
    (trapped.HasLiteral, r"numbers are rounded to float32 in a model of float64 \({}\): make a tensor out of numbers a "
     "buffer"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "said"), DOUBTS, ids=[each[0].__name__ for each in DOUBTS])
def test_what_runs_but_is_a_trap_is_named_with_its_line(kind, said, tmp_path):
    report = kim_torchml.save_model(kind(), tmp_path / "model", **stated_of(Edges1))
    assert "model.pt2" in left_in(tmp_path / "model")
    assert re.fullmatch(said.replace("{}", f".*{trap_of(kind)}.*") + ".*", report.doubts[0])
    assert len(report.doubts) == 1


SOUND = [trapped.Sound, trapped.HasPlainLiteral, trapped.ChoosesRows, trapped.MasksRows,
         trapped.ChoosesTwoRowsMore, Edges3]  # fmt: skip


@pytest.mark.parametrize("kind", SOUND, ids=lambda each: each.__name__)
def test_sound_modules_raise_no_doubt(kind, tmp_path):
    report = kim_torchml.save_model(kind(), tmp_path / "model", **stated_of(Edges3, parameters={}))
    assert report.doubts == ()
    assert report.notes == ()
    assert "model.pt2" in left_in(tmp_path / "model")


def test_edges_that_are_set_and_not_added_are_named_where_a_check_fails(tmp_path):
    with pytest.raises(
        DriverError,
        match=r"^entries are set, not added, where rows have several edges "
        rf"\(.*{trap_of(trapped.SetsEntries)}.*\): one edge of each row counts; use index_add\. That may be why the "
        r".* of the model in model\.pt2.* must be ",
    ):
        kim_torchml.save_model(trapped.SetsEntries(), tmp_path / "model", **stated_of(Edges1))
    assert left_in(tmp_path) == []


def test_formats_that_are_asked_for(tmp_path):
    save(Edges3, tmp_path / "pt", file_format="pt")
    save(Edges3, tmp_path / "pt2", file_format="pt2")
    assert "model.pt" in left_in(tmp_path / "pt")
    assert "model.pt2" in left_in(tmp_path / "pt2")
    with pytest.raises(DriverError, match=r'^`file_format` must be "pt2" or "pt", got \'onnx\'; name one of them$'):
        save(Edges3, tmp_path / "onnx", file_format="onnx")
    with pytest.raises(DriverError, match=r"are for the kind edges, not none$"):
        kim_torchml.save_model(Edges1(), tmp_path / "none", **stated_of(Edges1, kind="none"), file_format="pt2")
    scripted = torch.jit.script(Edges1())
    with pytest.raises(DriverError, match=r"it is TorchScript already; give the module that it was made from$"):
        kim_torchml.save_model(scripted, tmp_path / "scripted", **stated_of(Edges1), file_format="pt2")


class AskingForAShape(trapped.Sound):
    """Makes a tensor for its shape alone, with an operator that no program may use."""

    def forward(self, species, edge_index, edge_vectors):
        n_edges = torch.cummax(edge_vectors, 1).values.shape[0]
        return super().forward(species, edge_index, edge_vectors.reshape(n_edges, 3))


def test_what_is_computed_for_its_shape_alone_is_left_out(tmp_path):
    save(AskingForAShape, tmp_path / "model", kind="edges", layers=1, file_format="pt2")
    assert "cummax" not in json.dumps(program_in(tmp_path / "model"))


def test_two_floating_types(tmp_path):
    module = trapped.Sound()
    module.register_buffer("unused", torch.zeros(1, dtype=torch.float32))
    with pytest.raises(DriverError, match=r"its tensors are of torch\.float32 and torch\.float64; say"):
        kim_torchml.save_model(module, tmp_path / "model", **stated_of(Edges1))
    kim_torchml.save_model(module, tmp_path / "model", **stated_of(Edges1, dtype="float64"))
    assert "model.pt2" in left_in(tmp_path / "model")


def test_a_network_as_wide_as_the_example(tmp_path):
    """A size of the example that equals another is taken for it, so that it must be chosen anew."""
    module = trapped.Sound()
    module.register_buffer("table", torch.zeros(23, 503, 29, dtype=torch.float64))
    assert package_exporting._sizes_for(module) == (31, 509)


def test_an_older_torch_scripts(tmp_path, monkeypatch):
    monkeypatch.setattr(package_exporting, "OLDEST_EXPORTING_TORCH", "99.0")
    report = save(Edges3, tmp_path / "model")
    assert re.search(r"model\.pt2: that needs torch 99\.0 or newer, and this is torch \d", report.notes[0])
    assert "model.pt" in left_in(tmp_path / "model")


NOTEBOOK = """
import sys
sys.path.insert(0, {folder!r})
import torch
import kim_torchml
code = {code!r}
import linecache
linecache.cache["<ipython-input-3>"] = (len(code), None, code.splitlines(keepends=True), "<ipython-input-3>")
exec(compile(code, "<ipython-input-3>", "exec"))
print(kim_torchml.save_model(Cell(), {target!r}, name="A", kind="edges", species=["Si", "C"], cutoff=2.5))
"""


def test_a_module_of_a_notebook(tmp_path):
    """TorchScript needs the source of a class, which is no file there."""
    code = (
        "from trapped import Sound\n"
        "class Cell(Sound):\n"
        "    def forward(self, species, edge_index, edge_vectors):\n"
        "        n = len(species)\n"
        "        return self.linear(self.sums(n, edge_index, edge_vectors)).sum(1)\n"
    )
    script = NOTEBOOK.format(folder=str(SOURCE.parent), code=code, target=str(tmp_path / "model"))
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "<ipython-input-3>, line 4: n = len(species)" in run.stdout + run.stderr
    linecache.checkcache()


def test_an_exported_program_is_packaged_without_its_traces(tmp_path):
    from click.testing import CliRunner
    from exporting import exported_bytes

    from kim_torchml.tools.cli import main

    (tmp_path / "network.pt2").write_bytes(exported_bytes(Edges3))
    assert b"stack_trace" in exported_bytes(Edges3)
    arguments = ["package", str(tmp_path / "network.pt2"), "--output", str(tmp_path / "model"), "--name", "A",
                 "--kind", "edges", "--species", "Si,C", "--cutoff", "2.5", "--layers", "3",
                 "--parameter", "weight=strength of a message"]  # fmt: skip
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "model.pt2" in result.output
    content = (tmp_path / "model" / "model.pt2").read_bytes()
    assert b"stack_trace" not in content
    inputs = inputs_of(9, 40)
    expected = opened(exported_bytes(Edges3)).run(inputs, wants_gradient=True)
    found = opened(content).run(inputs, wants_gradient=True)
    assert torch.equal(found.energies, expected.energies)
    assert torch.equal(found.gradient, expected.gradient)


def test_a_file_that_is_no_program_is_not_packaged(tmp_path):
    from click.testing import CliRunner

    from kim_torchml.tools.cli import main

    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(Edges1()), buffer)
    (tmp_path / "network.pt2").write_bytes(buffer.getvalue())
    arguments = ["package", str(tmp_path / "network.pt2"), "--output", str(tmp_path / "model"), "--name", "A",
                 "--kind", "edges", "--species", "Si,C", "--cutoff", "2.5"]  # fmt: skip
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert "name a TorchScript file .pt" in result.output
    assert str(tmp_path / "network.pt2") in result.output
    assert not (tmp_path / "model").exists()


def test_info_of_a_file_without_examples_of_inputs(tmp_path):
    from kim_torchml.engines import describe_program

    save(Edges3, tmp_path / "model")
    assert not describe_program((tmp_path / "model" / "model.pt2").read_bytes(), "model.pt2").has_sample_inputs
