# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs that a machine compiles for its GPU give what they give uncompiled, for all sizes."""

import shutil

import pytest
import torch
from exporting import Splitting, exported_bytes
from program_files import inputs_of, needs_export, signature_of

from kim_torchml.engines import CompiledProgram, compiled_program, open_program, prepared
from kim_torchml.errors import DriverError
from kim_torchml.inputs import ModelInputs
from kim_torchml.process import settings

pytestmark = [
    pytest.mark.cuda,
    needs_export,
    pytest.mark.skipif(not torch.cuda.is_available(), reason=f"torch {torch.__version__} sees no GPU here"),
    pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler (g++)"),
]


@pytest.fixture(scope="module", params=[torch.float64, torch.float32], ids=["float64", "float32"])
def both(request, tmp_path_factory):
    """A program on the GPU, uncompiled and compiled, and how far their results may differ."""
    dtype = request.param
    gpu, signature, content = torch.device("cuda", 0), signature_of(dtype), exported_bytes(Splitting, dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(settings.CACHE, str(tmp_path_factory.mktemp("compiled") / "cache"))
        program = open_program(content, "x.pt2", gpu, signature)
        compiled_program(program, content, signature, "My_Model", lambda progress: None, force=False)
        choice = prepared(program, content, signature, "My_Model", settings.CACHED, lambda progress: None)
    assert isinstance(choice.program, CompiledProgram), choice
    return program, choice.program, 1e-11 if dtype is torch.float64 else 1e-4


def on_gpu(inputs):
    *others, vectors = (each.detach().to("cuda") for each in inputs.arguments)
    vectors.requires_grad_(True)
    return ModelInputs((*others, vectors), vectors, inputs.n_rows, slice(None), None, inputs.n_pairs)


@pytest.mark.parametrize(("n", "n_edges"), [(1, 0), (7, 0), (2, 1), (11, 70), (23, 506), (301, 4001), (4096, 70000)])
def test_the_numbers_are_those_of_the_program(both, n, n_edges):
    program, compiled, tolerance = both
    inputs = on_gpu(inputs_of(n, n_edges, program.dtype))
    found, expected = (each.run(inputs, wants_gradient=True) for each in (compiled, program))
    for ours, theirs in ((found.energies, expected.energies), (found.gradient, expected.gradient)):
        assert ours.device == theirs.device
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


def test_inputs_on_another_device_are_refused(both):
    program, compiled, _ = both
    with pytest.raises(
        DriverError, match=r"on cuda:0, row by row in memory, got \[11\] of torch\.int64 on cpu; report"
    ):
        compiled.run(inputs_of(11, 70, program.dtype), wants_gradient=True)
