# SPDX-License-Identifier: LGPL-2.1-or-later
"""A script that compiles a small program as models are compiled, runs it, and prints how that went, as a line of JSON.

The Python of the environment that is looked at runs it. Its argument is the folder from which to import kim_torchml,
which need not be installed there. The program goes through the user's cache: it is compiled once for each torch.
"""

import io
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch


class _SmallPotential(torch.nn.Module):
    """A sum over neighbours, between a table and a nonlinear function, as potentials are."""

    strengths: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("strengths", torch.tensor([1.0, 0.5], dtype=torch.float64))

    def forward(self, species: torch.Tensor, edge_index: torch.Tensor, edge_vectors: torch.Tensor) -> torch.Tensor:
        """Return the energy of each row."""
        strengths = self.strengths[species]
        bonds = torch.exp(-edge_vectors.square().sum(dim=1)) * strengths[edge_index[1]]
        return torch.tanh(torch.zeros_like(strengths).index_add(0, edge_index[0], bonds))


def _example(n_rows: int, n_edges: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return species, edges and their vectors."""
    rows, edges = torch.arange(n_rows), torch.arange(n_edges)
    vectors = torch.linspace(-1.5, 1.5, 3 * n_edges, dtype=torch.float64).reshape(n_edges, 3)
    return rows % 2, torch.stack([edges % n_rows, (3 * edges + 1) % n_rows]), vectors


def _exported() -> bytes:
    """Return the small potential as a .pt2 file for any numbers of rows and edges."""
    n, n_edges = torch.export.Dim("n", min=0), torch.export.Dim("E", min=0)
    sizes = ({0: n}, {1: n_edges}, {0: n_edges})
    program = torch.export.export(_SmallPotential(), _example(23, 506), dynamic_shapes=sizes, strict=False)
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def _compile_and_run() -> dict[str, Any]:
    from kim_torchml.engines import CompiledProgram, compiled_program, open_program
    from kim_torchml.engines.exported.compiled.request import ENERGY_TYPES, PlainArgument, PlainInputs, PlainSignature
    from kim_torchml.process import settings
    from kim_torchml.process.device import choose_device
    from kim_torchml.process.rank import find_rank

    arguments = (
        PlainArgument("species", torch.int64, ("n",), None),
        PlainArgument("edge_index", torch.int64, (2, "E"), "n"),
        PlainArgument("edge_vectors", None, ("E", 3), None),
    )
    signature = PlainSignature(arguments, "edge_vectors", torch.float64)
    device, content = choose_device(settings.execution_device(), find_rank()), _exported()
    program = open_program(content, "small.pt2", device, signature)
    entry, is_new = compiled_program(program, content, signature, "kim-torchml doctor", lambda _: None, force=False)
    compiled = CompiledProgram(program, entry.library, ENERGY_TYPES[entry.facts.energies], signature)
    species, edge_index, vectors = (each.to(device) for each in _example(31, 704))
    inputs = PlainInputs((species, edge_index, vectors.requires_grad_(True)), vectors, 31)
    found, expected = (each.run(inputs, wants_gradient=True) for each in (compiled, program))
    assert found.gradient is not None and expected.gradient is not None
    pairs = ((found.energies, expected.energies), (found.gradient, expected.gradient))
    if not all(torch.allclose(ours, theirs, rtol=1e-10, atol=1e-10) for ours, theirs in pairs):
        return {"failed": f"its numbers are not those of the program itself; remove {entry.folder}"}
    return {"is_new": is_new, "device": str(device)}


def main() -> None:
    """Print whether the program was compiled just now, how long all took, s, and what has failed, if anything."""
    # What compiling has started is ended, and what it has written removed, where this process is told to end.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    # Modules in the folder of this script must not hide others of the same name, nor those beside kim_torchml.
    path = [folder for folder in sys.path if Path(folder).resolve() != Path(__file__).resolve().parent]
    sys.path = [sys.argv[1], *path]
    from kim_torchml.errors import DriverError

    sys.path = path
    started = time.monotonic()
    try:
        facts = _compile_and_run()
    except DriverError as error:
        facts = {"failed": str(error)}
    print(json.dumps({**facts, "seconds": time.monotonic() - started}), flush=True)


if __name__ == "__main__":
    main()
