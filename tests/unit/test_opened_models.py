# SPDX-License-Identifier: LGPL-2.1-or-later
"""Models are loaded once for the same names and contents of files, device and coding of species."""

import gc
import threading
from collections import deque
from pathlib import Path
from weakref import WeakSet

import numpy as np
import pytest
import torch
from misbehaving import MixedPrecision, Raising
from models import Pair, PairOfAll, PairTotal, script_bytes
from opening import compute, open_model, parameter_text
from particles import cluster
from torch import Tensor

from kim_torchml.driver import opened_models
from kim_torchml.driver.opened_models import open_files
from kim_torchml.driver.shared_memory import find_sharing, memory_of, share_memory
from kim_torchml.errors import DriverError
from kim_torchml.model_files.parameter_file import ElementsMap

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def nothing_opened(monkeypatch):
    monkeypatch.setattr(opened_models, "_living", WeakSet())
    monkeypatch.setattr(opened_models, "_recent", deque(maxlen=2))


@pytest.fixture
def folder(tmp_path):
    """A function that writes a model's files and returns their folder and names."""

    def write(name, content, model_file="model.pt", **parameters):
        path = tmp_path / name
        path.mkdir()
        (path / model_file).write_bytes(content)
        (path / "kim.param").write_text(parameter_text(model_file=model_file, **parameters))
        return path, ["kim.param", model_file]

    return write


def opened(files, device=CPU, atomic_numbers=False):
    return open_files(*files, device, ElementsMap(atomic_numbers), [])


def test_the_same_files_in_another_folder_are_the_same_model(folder):
    content = script_bytes(PairTotal)
    first = opened(folder("first", content))
    assert opened(folder("second", content)) is first


@pytest.mark.parametrize("change", ["content", "size", "name", "parameter file", "order", "coding"])
def test_what_makes_another_model(folder, change):
    content = script_bytes(PairTotal)
    path, names = folder("first", content)
    first = open_files(path, names, CPU, ElementsMap(), [])
    if change == "content":
        # A byte of the weights, which a file's checksums tell: the sizes are the same.
        other = content.replace(b"PairTotal", b"PairTotaL")
        with pytest.raises(DriverError):
            opened(folder("second", other))
        return
    second = {
        "size": lambda: opened(folder("second", script_bytes(PairOfAll))),
        "name": lambda: opened(folder("second", content, model_file="other.pt")),
        "parameter file": lambda: opened(folder("second", content, cutoff=2.4)),
        "order": lambda: open_files(path, names[::-1], CPU, ElementsMap(), []),
        "coding": lambda: open_files(path, names, CPU, ElementsMap(True), []),
    }[change]()
    assert second is not first
    assert open_files(path, names, CPU, ElementsMap(), []) is first


@pytest.mark.cuda
def test_another_device_makes_another_model(folder):
    if not torch.cuda.is_available():
        pytest.skip(f"torch {torch.__version__} sees no GPU here")
    files = folder("first", script_bytes(PairTotal))
    assert opened(files, torch.device("cuda", 0)) is not opened(files)


def test_a_file_is_held_in_memory_once(folder):
    content = script_bytes(PairTotal)
    first = opened(folder("first", content))
    for other in (opened(folder("second", content, cutoff=2.4)), opened(folder("third", content), atomic_numbers=True)):
        assert other is not first
        assert other.files.program is first.files.program


def test_a_model_in_use_is_found_however_many_others_are_opened(folder):
    content = script_bytes(PairTotal)
    first = opened(folder("first", content))
    for number in range(5):
        opened(folder(f"other {number}", content, cutoff=2.0 + 0.1 * number))
    assert opened(folder("second", content)) is first


def test_models_that_nobody_uses_are_let_go(folder, monkeypatch):
    loads = []
    real = torch.jit.load
    monkeypatch.setattr(torch.jit, "load", lambda *args, **kwargs: loads.append(1) or real(*args, **kwargs))
    content = script_bytes(PairTotal)
    opened(folder("first", content))
    opened(folder("again", content))
    assert len(loads) == 1
    for number in range(5):
        opened(folder(f"other {number}", content, cutoff=2.0 + 0.1 * number))
    gc.collect()
    assert len(opened_models._living) == 2
    opened(folder("much later", content))
    assert len(loads) == 7


def test_threads_load_a_model_once(folder, monkeypatch):
    loads = []
    real = torch.jit.load
    monkeypatch.setattr(torch.jit, "load", lambda *args, **kwargs: loads.append(1) or real(*args, **kwargs))
    files = folder("first", script_bytes(PairTotal))
    found = []
    threads = [threading.Thread(target=lambda: found.append(opened(files))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(map(id, found))) == 1
    assert loads == [1]


def test_what_could_not_be_loaded_is_not_kept(folder):
    files = folder("first", script_bytes(MixedPrecision, dtype=None))
    for _ in range(2):
        with pytest.raises(DriverError, match="one floating type"):
            opened(files)
    assert not opened_models._living


def test_messages_name_the_file_that_was_asked_for(folder):
    content = script_bytes(Raising)
    opened(folder("first", content))
    second = opened(folder("second", content, model_file="second.pt"))
    with pytest.raises(DriverError, match=r"the model in second\.pt raised an error"):
        second.capability(second.program)


def test_parameters_are_in_memory_of_their_own(folder):
    model = opened(folder("first", script_bytes(PairTotal)))
    first, second = model.parameters(), model.parameters()
    assert [parameter.name for parameter in first] == [parameter.name for parameter in second]
    before = second[1].values.copy()
    first[1].values[:] = 7.0
    assert (second[1].values == before).all()
    assert (model.parameters()[1].values == before).all()


def test_a_model_is_probed_once(folder, monkeypatch):
    probes = []
    real = opened_models.find_capability
    monkeypatch.setattr(opened_models, "find_capability", lambda *args: probes.append(1) or real(*args))
    model = opened(folder("first", script_bytes(PairTotal)))
    found = []
    threads = [threading.Thread(target=lambda: found.append(model.capability(model.program))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert probes == [1]


def test_a_parameter_file_is_read_once(folder, monkeypatch):
    """What is parsed is what is kept: a file that changes meanwhile leaves no wrong model behind."""
    path, names = folder("first", script_bytes(PairTotal))
    reads = []
    plain = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda self: reads.append(self.name) or plain(self))
    open_files(path, names, CPU, ElementsMap(), [])
    assert sorted(reads) == sorted(names)


def test_which_tensors_share_memory():
    """Against comparing every tensor with every other one, for views of two tensors."""
    random = np.random.default_rng(4)
    for _ in range(300):
        roots = [torch.zeros(12, dtype=torch.float64), torch.zeros(12, dtype=torch.float64)]
        views = []
        for _ in range(random.integers(1, 8)):
            root, start, length = roots[random.integers(2)], random.integers(12), random.integers(1, 12)
            view = root[start : start + length : random.integers(1, 3)]
            views.append(view.view(torch.int64) if random.random() < 0.3 else view)
        expected = {memory_of(a) for a in views if any(share_memory(a, b) for b in views)}
        assert find_sharing(views) == expected


def test_a_model_that_changes_what_it_holds_has_set_no_parameters(tmp_path):
    """Only what a simulator has set counts as changed."""
    model = open_model(tmp_path, script_bytes(Counting))
    names = [parameter.name for parameter in model.parameters]
    compute(model, cluster(5))
    model.parameters[names.index("decay")].values[:] = 1.6
    model.take_parameters([names.index("decay")])
    assert model.changed_parameters() == {"decay": [1.6]}


class Counting(Pair):
    """Counts its calls in a buffer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(1, dtype=torch.float64))

    def forward(self, s: Tensor, r: Tensor, counts: Tensor, neighbours: Tensor, c: Tensor) -> Tensor:
        self.calls.add_(1.0)
        return self.site_energies(s, r, counts, neighbours)
