# SPDX-License-Identifier: LGPL-2.1-or-later
"""What Inductor is told, for the torch that is here and for those that do something wrong."""

import pytest
import torch

from kim_torchml.engines.exported.compiled.options import inductor_options


def test_this_torch_knows_them_all(tmp_path):
    """An option that has another name in some version would not be followed."""
    options = inductor_options(tmp_path / "program")
    assert options["aot_inductor.output_path"] == str(tmp_path / "program")
    assert set(options) <= set(torch._inductor.list_options())


# The number of threads that code is made for.
@pytest.mark.parametrize(
    ("version", "threads"), [("2.4.1", 1), ("2.5.1", 2), ("2.6.0+debian", 2), ("2.7.0", 1), ("2.14.1", 1)]
)
def test_all_work_is_done_by_one_thread(version, threads, tmp_path, monkeypatch):
    """Sums of several threads have other bits in each call; a chunk that no program has is never shared out."""
    monkeypatch.setattr(torch, "__version__", version)
    options = inductor_options(tmp_path / "program")
    assert options["cpp.threads"] == threads
    assert (options.get("cpp.min_chunk_size", 0) > 10**15) == (threads > 1)
