# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compiling one program, in a process of its own: Inductor changes the process that it works in, and needs minutes.

The request comes as JSON on stdin. On stdout there is one JSON object a line: {"stage": .., "part": ..} for how far the
work is, and at the end {"done": facts} or {"failed": sentence}.
"""

import faulthandler
import inspect
import json
import math
import os
import re
import shutil
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch._inductor
import torch.fx.experimental._config as shapes_config
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

from kim_torchml.engines.contract import Program
from kim_torchml.engines.errors import reason_of
from kim_torchml.engines.exported.compiled.errors import NotCompiledError
from kim_torchml.engines.exported.compiled.joint import joint_of
from kim_torchml.engines.exported.compiled.options import inductor_options
from kim_torchml.engines.exported.compiled.program import CompiledProgram
from kim_torchml.engines.exported.compiled.request import CompileRequest, Facts, PlainInputs, example_of
from kim_torchml.engines.exported.program import ExportedProgram, open_exported
from kim_torchml.errors import DriverError, shortened
from kim_torchml.process.device import synchronise

LIBRARY = "program.so"

# Numbers of rows and edges that a compiled program is made with. No width of a network should be one of them, and
# both are so large that Inductor takes no tensor for a small one and fixes its size.
_EXAMPLE = (307, 7507)
# Those that it is compared for, smaller and larger, and those that it is timed for; it costs some tenths of a second.
_COMPARED = ((1, 0), (1, 3), (2, 2), (3, 1), (5, 0), (23, 506), (61, 1201), (300, 7500), (701, 9001))
_TIMED = (300, 7500)
_REPEATS = 6
# Relative to the largest energy or gradient. Sums in another order round otherwise.
_ALLOWED = {torch.float64: 1e-11, torch.float32: 3e-5}
# Angles of nearly parallel edges, and the like, lose more digits than that: native code may be so many times as far
# from the program in double precision as the program itself is.
_MOST_AS_FAR = 4.0
# How far that is, is told by so many inputs, apart by this factor.
_ROUNDED, _APART = 8, 0.01


def main(parent: int) -> None:
    """Compile what stdin asks for, while the process lives that has asked."""
    faulthandler.enable()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    # What Inductor, the compiler and native code print must not be taken for our lines.
    report = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)

    def say(**said: Any) -> None:
        report.write(json.dumps(said) + "\n")

    try:
        request = CompileRequest.from_json(sys.stdin.read())
        facts = compile_program(request, lambda stage, part: say(stage=stage, part=part))
    except DriverError as error:
        say(failed=str(error), is_explained=True)
    # Whatever torch raises is told in one line; the rest is for those who look at stderr.
    except Exception as error:
        traceback.print_exc()
        say(failed=_sentence_of(error), is_explained=False)
    else:
        say(done=facts.as_dict())


def _sentence_of(error: Exception) -> str:
    """Return what has failed; what a compiler says, and what it was called with, fills pages."""
    reason = f"{type(error).__name__}: {reason_of(error)}"
    # Newer versions of torch put the compiler's error into another one.
    if "CppCompileError" in reason:
        return "the C++ compiler fails"
    if "Constraints violated" in reason:
        return f"torch {torch.__version__} can compile it for one number of rows or edges only"
    return reason


def _end_with(parent: int) -> None:
    """End this process when its parent has ended: nobody would take what it makes."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def compile_program(request: CompileRequest, say: Callable[[str, float], None]) -> Facts:
    """Compile a program into the folder that a request names, and compare it with the program itself.

    Args:
        request: What to compile.
        say: Is called with the stage of the work and the part of all of it that is done.
    Raises:
        NotCompiledError: If it cannot be compiled.
        DriverError: If the model file cannot be opened.
    """
    started = time.monotonic()
    say("reading the program", 0.06)
    torch.set_num_threads(1)
    program = _opened(request)
    say("differentiating it", 0.08)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        energies, joint = _traced(program, request)
        say("exporting it", 0.14)
        exported = _exported(joint, request, program, energies)
        say("compiling it", 0.2)
        library = _compiled(exported, Path(request.folder))
    say("comparing it", 0.95)
    compiled = CompiledProgram(program, library, energies, request.signature)
    coarsest = torch.float32 if program.dtype == torch.float32 else _coarsest_type(joint)
    for sizes in _COMPARED:
        inputs = _example(program, request, sizes)
        # The energies of the other rows must not be in the gradient.
        contributing = slice(0, inputs.n_rows - inputs.n_rows // 3)
        _compare(program, compiled, replace(inputs, contributing_rows=contributing), sizes, coarsest)
    say("timing it", 0.97)
    inputs = _example(program, request, _TIMED)
    speed_ups = {threads: _speed_up(program, compiled, inputs, threads) for threads in _numbers_of_threads(program)}
    name = str(energies).removeprefix("torch.")
    return Facts(library.name, name, speed_ups, time.monotonic() - started)


def _opened(request: CompileRequest) -> ExportedProgram:
    program = open_exported(
        Path(request.file).read_bytes(), request.file_name, torch.device(request.device), request.signature
    )
    if not isinstance(program, ExportedProgram):
        raise NotCompiledError("it is no program of torch.export")
    return program


def _example(program: Program, request: CompileRequest, sizes: tuple[int, int]) -> PlainInputs:
    """Return inputs of a number of rows, and of edges."""
    n_of_tables = min((each.n_rows for each in program.tables()), default=1)
    return example_of(request, dict(zip(_words(request), sizes, strict=True)), program.dtype, n_of_tables)


def _words(request: CompileRequest) -> list[str]:
    """Return the words for sizes that change, in the order in which arguments name them."""
    sizes = (size for argument in request.signature.arguments for size in argument.sizes)
    return list(dict.fromkeys(size for size in sizes if isinstance(size, str)))


def _traced(program: ExportedProgram, request: CompileRequest) -> tuple[torch.dtype, torch.fx.GraphModule]:
    """Return the type of a program's energies, and the graph that gives them and their gradient."""
    example = _example(program, request, _EXAMPLE)
    energies = program.run(example, wants_gradient=False).energies
    if energies.shape[:1] != (example.n_rows,) or energies.numel() != example.n_rows:
        raise NotCompiledError(f"it returns {list(energies.shape)} energies for {example.n_rows} rows")
    if program.run(example, wants_gradient=True).gradient is None:
        raise NotCompiledError("its energies do not depend on what they are differentiated by")
    joint = joint_of(program.runner, program.stored_tensors, request.leaf)
    given = [*(each.detach() for each in example.arguments), _seed(example, energies.dtype)]
    # Sizes of the example that are equal by chance would become one.
    if hasattr(shapes_config, "use_duck_shape"):
        shapes_config.use_duck_shape = False
    try:
        graph = make_fx(joint, tracing_mode="symbolic", _allow_non_fake_inputs=True, _error_on_data_dependent_ops=True)(
            *given
        )
    except (DataDependentOutputException, DynamicOutputShapeException, GuardOnDataDependentSymNode) as error:
        raise NotCompiledError(f"sizes in it depend on values ({_operator_of(error)})") from error
    return energies.dtype, graph


def _exported(
    graph: torch.fx.GraphModule, request: CompileRequest, program: Program, energies: torch.dtype
) -> torch.export.ExportedProgram:
    """Return the graph as a program for any sizes."""
    example = _example(program, request, _EXAMPLE)
    words = _words(request)
    sizes = {word: torch.export.Dim(word, min=0) for word in words}
    arguments = [each.sizes for each in request.signature.arguments]
    dynamic = [{place: sizes[size] for place, size in enumerate(each) if isinstance(size, str)} for each in arguments]
    given = (*(each.detach() for each in example.arguments), _seed(example, energies))
    return torch.export.export(graph, given, dynamic_shapes=(*dynamic, {0: sizes[words[0]]}), strict=False)


def _compiled(exported: torch.export.ExportedProgram, folder: Path) -> Path:
    """Compile a program, and leave nothing but the native code in a folder."""
    # Checks in Python are nothing for native code; older modules have none.
    has_checks = "check_guards" in inspect.signature(exported.module).parameters
    module = exported.module(check_guards=False) if has_checks else exported.module()
    given, _ = exported.example_inputs
    made = Path(str(torch._inductor.aot_compile(module, given, options=inductor_options(folder / "made" / "program"))))
    library = folder / LIBRARY
    made.rename(library)
    # What native code calls in Python: the loader looks for it beside the library, under the library's name.
    calls = made.with_suffix(".json")
    if calls.exists():
        calls.rename(library.with_suffix(".json"))
    for kernel in made.parent.rglob("*.cubin"):
        kernel.rename(folder / kernel.name)
    shutil.rmtree(folder / "made", ignore_errors=True)
    return library


def _coarsest_type(graph: torch.fx.GraphModule) -> torch.dtype:
    """Return the type that a graph rounds in: networks of float64 edge vectors may compute in float32."""
    results = (node.meta.get("val") for node in graph.graph.nodes if node.op == "call_function")
    found = {each.dtype for each in results if isinstance(each, torch.Tensor)}
    return torch.float32 if torch.float32 in found else torch.float64


def _compare(
    program: Program, compiled: Program, inputs: PlainInputs, sizes: tuple[int, int], coarsest: torch.dtype
) -> None:
    """Check that native code gives what the program gives, and the same bits each time.

    Args:
        program: The program itself.
        compiled: Its native code.
        inputs: What both are given.
        sizes: Numbers of rows and edges in that.
        coarsest: Type that the program rounds in.
    Raises:
        NotCompiledError: If it does not.
    """
    expected = _results(program, inputs)
    found, again = (_results(compiled, inputs) for _ in range(2))
    where = f"for {sizes[0]} rows and {sizes[1]} edges"
    for what, theirs in expected.items():
        ours = found[what]
        if ours.shape != theirs.shape:
            raise NotCompiledError(f"its {what} {where} have another shape")
        difference = _distance(ours, theirs)
        scale = theirs.abs().max().clamp(min=1.0).item() if theirs.numel() else 1.0
        is_close = difference <= _ALLOWED[coarsest] * scale
        if not is_close and (coarsest == torch.float64 or not _is_rounding(program, inputs, what, ours)):
            raise NotCompiledError(f"its {what} {where} differ by {difference:.1g} from those of the program itself")
        if inputs.leaf.device.type == "cpu" and not torch.equal(ours, again[what]):
            raise NotCompiledError(f"its {what} {where} are others in the next call")


def _results(program: Program, inputs: PlainInputs) -> dict[str, torch.Tensor]:
    """Return the energies and the gradient that a program gives, by what they are."""
    found = program.run(inputs, wants_gradient=True)
    gradient = torch.zeros_like(inputs.leaf) if found.gradient is None else found.gradient
    return {"energies": found.energies.reshape(-1), "gradient": gradient}


def _is_rounding(program: Program, inputs: PlainInputs, what: str, ours: torch.Tensor) -> bool:
    """Return whether results are as near to those in double precision as the program's own are.

    Args:
        program: The program itself.
        inputs: What was computed.
        what: Which of its results.
        ours: Those of native code.
    """
    double = program.in_double_precision()
    own = 0.0
    # By chance the program may hardly have rounded: numbers that are nearly the same are rounded anew.
    for number in range(_ROUNDED):
        scaled = _scaled(inputs, 1.0 + number * _APART)
        exact = _results(double, _in_double_precision(scaled))[what]
        own = max(own, _distance(_results(program, scaled)[what], exact))
    # A program that overflows is infinitely far off, which would allow anything.
    exact = _results(double, _in_double_precision(inputs))[what]
    return math.isfinite(own) and _distance(ours, exact) <= _MOST_AS_FAR * own


def _distance(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Return the largest difference of two results."""
    return (ours.double() - theirs.double()).abs().max().item() if theirs.numel() else 0.0


def _scaled(inputs: PlainInputs, factor: float) -> PlainInputs:
    """Return inputs whose leaf is multiplied by a factor."""
    leaf = (inputs.leaf.detach() * factor).requires_grad_(True)
    return replace(
        inputs, arguments=tuple(leaf if each is inputs.leaf else each for each in inputs.arguments), leaf=leaf
    )


def _in_double_precision(inputs: PlainInputs) -> PlainInputs:
    """Return inputs of the same numbers in double precision."""
    given = [each.detach().double() if each.is_floating_point() else each for each in inputs.arguments]
    place = next(place for place, each in enumerate(inputs.arguments) if each is inputs.leaf)
    leaf = given[place].requires_grad_(True)
    return replace(inputs, arguments=tuple(given), leaf=leaf)


def _numbers_of_threads(program: Program) -> list[int]:
    """Return the numbers of CPU threads to time for: native code uses one alone, the program itself all of them."""
    cores = len(os.sched_getaffinity(0)) if program.device.type == "cpu" else 1
    return sorted({*(2**power for power in range(cores.bit_length()) if 2**power <= cores), cores})


def _speed_up(program: Program, compiled: Program, inputs: PlainInputs, threads: int) -> float:
    """Return how many times faster native code is with a number of threads, by turns."""
    torch.set_num_threads(threads)
    times = []
    for _ in range(_REPEATS):
        turn = []
        for each in (program, compiled):
            started = time.perf_counter()
            each.run(inputs, wants_gradient=True)
            synchronise(program.device)
            turn.append(time.perf_counter() - started)
        times.append(turn)
    return median(theirs / ours for theirs, ours in times[1:])


def _seed(example: PlainInputs, dtype: torch.dtype) -> torch.Tensor:
    return torch.ones(example.n_rows, dtype=dtype, device=example.leaf.device)


def _operator_of(error: Exception) -> str:
    found = re.search(r"aten[.:]+\w+", str(error))
    return found[0] if found else shortened(str(error).strip().splitlines()[0], 120)
