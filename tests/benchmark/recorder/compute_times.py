# SPDX-License-Identifier: LGPL-2.1-or-later
"""CPU times of every compute, taken in the Python that the driver starts.

After each compute the bare model's forward and backward run on the very same inputs, so that both see the same state
of the machine. Where KIM_TORCHML_BENCHMARK_INPUTS names a file they do not run, and the first inputs are saved there.
When Python ends, the times go to the file named in KIM_TORCHML_BENCHMARK.
"""

import atexit
import json
import os
import resource
import time
from pathlib import Path

from after_import import wrap_after_import

# It takes `evaluate` from kim_torchml.evaluation.evaluate by name.
_WATCHED = "kim_torchml.driver.model"
_times: dict[str, list[float]] = {"compute": [], "build": [], "bare": [], "step": [], "check": []}
_facts: dict[str, float] = {}
_INPUTS = os.environ.get("KIM_TORCHML_BENCHMARK_INPUTS", "")


def _seconds_since_start() -> float:
    started = int(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19]) / os.sysconf("SC_CLK_TCK")
    return float(Path("/proc/uptime").read_text().split()[0]) - started


def _write() -> None:
    _facts["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    Path(os.environ["KIM_TORCHML_BENCHMARK"]).write_text(json.dumps({"times": _times, "facts": _facts}))


def _save_once(arguments) -> None:
    """Save what a model is called with, unless that is done."""
    import numpy as np

    if not Path(_INPUTS).exists():
        np.savez(_INPUTS, *(argument.detach().numpy() for argument in arguments))


def _watch(model_module) -> None:
    """Wrap the driver's evaluation and its building of inputs."""
    import torch

    plain_compute = model_module.Model.compute
    plain_evaluate = model_module.evaluate
    latest = {"bare ended": time.process_time()}

    def evaluate(program, inputs, *arguments, **options):
        latest["inputs"], latest["program"] = inputs, program
        latest["check"] = 0.0
        if hasattr(program, "_check") and not hasattr(program, "_plain_check"):
            _time_checks(program, latest)
        latest["built"] = time.process_time()
        return plain_evaluate(program, inputs, *arguments, **options)

    def bare() -> float:
        """Return the CPU seconds that the model alone takes."""
        inputs, program = latest["inputs"], latest["program"]
        # The driver's backward has freed what arguments were made with, a descriptor say: they become leaves of their
        # own. A model that differentiates by coordinates itself gets these, as it does from the driver.
        arguments = [_leaf(argument) for argument in inputs.arguments]
        leaves = [argument for argument in arguments if argument.requires_grad]
        begin = time.process_time()
        if hasattr(program, "_module"):
            with torch.jit.optimized_execution(False):
                result = program._module(*arguments)
        elif hasattr(program, "_stored"):
            (result,) = program._runner.run(program._stored.tensors, arguments)
        else:
            # Native code, whose gradient comes with the energies.
            result = program.run(inputs, wants_gradient=True)
        if isinstance(result, torch.Tensor) and result.requires_grad:
            torch.autograd.grad(result.sum(), leaves, allow_unused=True)
        return time.process_time() - begin

    def compute(self, *arguments):
        begin = time.process_time()
        plain_compute(self, *arguments)
        end = time.process_time()
        _times["step"].append(end - latest["bare ended"])
        _times["bare"].append(0.0 if _INPUTS else bare())
        _times["check"].append(latest["check"])
        _times["compute"].append(end - begin)
        _times["build"].append(latest["built"] - begin)
        if len(_times["compute"]) == 1:
            _facts["first_compute_s"] = _seconds_since_start() - _times["bare"][0]
            _facts["first_compute_cpu_s"] = time.process_time() - _times["bare"][0]
        _facts["rows"] = latest["inputs"].n_rows
        _facts["edges"] = sum(each.shape[1] for each in latest["inputs"].arguments if _is_edge_index(each))
        if _INPUTS:
            _save_once(latest["inputs"].arguments)
            # The driver keeps no inputs from one compute to the next.
            latest["inputs"] = None
        latest["bare ended"] = time.process_time()

    model_module.Model.compute = compute
    model_module.evaluate = evaluate


def _time_checks(program, latest: dict) -> None:
    """Let a compiled program tell how long it looks at what it is called with."""
    program._plain_check = program._check

    def check(given) -> None:
        begin = time.process_time()
        program._plain_check(given)
        latest["check"] = time.process_time() - begin

    program._check = check


def _is_edge_index(argument) -> bool:
    return argument.dim() == 2 and argument.shape[0] == 2 and not argument.is_floating_point()


def _leaf(argument):
    if argument.is_leaf:
        return argument
    return argument.detach().requires_grad_(argument.requires_grad)


def begin() -> None:
    """Take them from now on."""
    wrap_after_import(_WATCHED, _watch)
    atexit.register(_write)
