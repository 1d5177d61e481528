# SPDX-License-Identifier: LGPL-2.1-or-later
"""CPU time of a model's program alone, on edges that are ready-made, for folded_edges.py.

    python bare_model.py FOLDER INPUTS.npz CALLS

Each call is one forward, and one derivative of the sum of the energies by the edge vectors. Nothing else is done: there
are no neighbour lists, no forces of particles, no checks of what a compiled program is called with. Prints JSON.
"""

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch

from kim_torchml.driver import open_model

# Later calls find memory and caches as they were left.
_WARMING_UP = 3


def call(program: object, arguments: list[torch.Tensor]) -> None:
    """Call a program of torch.export, run by its operators or compiled, and differentiate."""
    if hasattr(program, "_stored"):
        (energies,) = program._runner.run(program._stored.tensors, arguments)
        torch.autograd.grad(energies.sum(), arguments[-1])
    else:
        # Native code, whose gradient comes with the energies.
        seed = torch.ones(len(arguments[0]), dtype=program._energies, device=arguments[0].device)
        program._runner.run([*(each.detach() for each in arguments), seed])


def main() -> None:
    """Print the CPU seconds of each call, and the peak memory in MB."""
    folder, inputs, calls = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    torch.set_num_threads(1)
    program = open_model(str(folder), ["model.toml", "model.pt2"])._program
    with np.load(inputs) as saved:
        arguments = [torch.from_numpy(saved[name]) for name in saved.files]
    times = []
    for _ in range(_WARMING_UP + calls):
        begin = time.process_time()
        call(program, [*arguments[:-1], arguments[-1].detach().requires_grad_(True)])
        times.append(time.process_time() - begin)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"times": times[_WARMING_UP:], "peak": peak}))


if __name__ == "__main__":
    main()
