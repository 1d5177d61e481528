# SPDX-License-Identifier: LGPL-2.1-or-later
"""The only place that loads and calls TorchScript."""

import contextlib
import copy
import hashlib
import io
import re
import sys
import threading
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from kim_torchml.engines.torchscript.archive import check_operator, inspect_archive
from kim_torchml.engines.torchscript.graphs import constant_tensors, graphs_of, keeps_state, nodes_of
from kim_torchml.engines.torchscript.operators import provide_operators
from kim_torchml.errors import DriverError

# A simulator creates and destroys a model several times before its first step: loaded models outlive that.
_KEPT_MODELS = 8


class ScriptModel:
    """A loaded TorchScript model, shared by all that were created from the same content.

    Attributes:
        file_name: For messages.
        device: Where its tensors are.
        dtype: Floating type of its parameters; what its coordinates must have.
        turn: To be held from the call of the model until its results have been copied, backward included. Some models
            keep intermediate results in attributes: two threads must not be in those at the same time.
    """

    def __init__(self, content: bytes, file_name: str, device: torch.device) -> None:
        """Load a model.

        Args:
            content: The TorchScript file's bytes.
            file_name: For messages.
            device: Where to put it.
        Raises:
            DriverError: If the content is not TorchScript, uses an operator that is missing or not allowed, or
                mixes floating types.
        """
        self.file_name = file_name
        self.device = device
        provide_operators(inspect_archive(content, file_name))
        self._module = _load(content, file_name, device)
        graphs = list(graphs_of(self._module))
        for node in nodes_of(graphs):
            check_operator(node.kind(), f"file {file_name}")
        self._prints = any(node.kind() == "prim::Print" for node in nodes_of(graphs))
        self._keeps_state = keeps_state(self._module)
        self.turn = self._new_turn()
        self.dtype = _floating_type(self._module, graphs, file_name)

    def _new_turn(self) -> contextlib.AbstractContextManager[Any]:
        return threading.RLock() if self._keeps_state else contextlib.nullcontext()

    def named(self, file_name: str) -> "ScriptModel":
        """Return this model under the name of a file with the same content, for messages; nothing is loaded."""
        if file_name == self.file_name:
            return self
        same = copy.copy(self)
        same.file_name = file_name
        return same

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return parameters and buffers by their dotted names, on the model's device."""
        return {**dict(self._module.named_parameters(remove_duplicate=False)), **dict(self._module.named_buffers())}

    def attribute(self, name: str) -> Any:
        """Return an attribute of the scripted module; None if there is none."""
        return getattr(self._module, name, None)

    def changed(self, tensors: Mapping[str, torch.Tensor]) -> "ScriptModel":
        """Return a copy, shared with nobody, in which some tensors have other values.

        Args:
            tensors: New values by dotted name, in shape and dtype of the old ones.
        """
        copied = copy.copy(self)
        with self.turn:
            copied._module = copy.deepcopy(self._module)
        copied.turn = self._new_turn()
        inside = copied.tensors()
        with torch.no_grad():
            for name, values in tensors.items():
                inside[name].copy_(values)
        return copied

    def content(self, extra_files: Mapping[str, bytes]) -> bytes:
        """Return the model, with files beside it, as a TorchScript file's bytes."""
        buffer = io.BytesIO()
        with _expected_deprecations(), self.turn:
            torch.jit.save(self._module, buffer, _extra_files=dict(extra_files))
        return buffer.getvalue()

    @property
    def n_inputs(self) -> int:
        """Number of tensors that forward takes."""
        return len(self._module._c._get_method("forward").schema.arguments) - 1

    def __call__(self, *arguments: torch.Tensor) -> Any:
        """Return what forward returns.

        Raises:
            DriverError: With the model's own error in one line.
        """
        # The profiling executor compiles anew for the first few steps and for every new number of edges, and its
        # backward is slower in the end (tests/benchmark/executor.py). The setting is this thread's alone.
        stdout = _stdout_to_stderr() if self._prints else contextlib.nullcontext()
        with self.turn, self.explained_errors(), _without_optimisation(), stdout:
            return self._module(*arguments)

    @contextlib.contextmanager
    def explained_errors(self) -> Iterator[None]:
        """Turn an error out of the model's code, forward or backward, into one that names the model."""
        try:
            yield
        except (torch.jit.Error, RuntimeError, ValueError, TypeError, IndexError) as error:
            if is_out_of_memory(error):
                raise
            raise DriverError(
                f"the model in {self.file_name} raised an error: {summary_of(error)}; "
                "call it with the same tensors in Python to see more"
            ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether torch, or a TorchScript model in its own words, ran out of memory on any device."""
    # TorchScript hands on the text of torch's exceptions, but not their types.
    return isinstance(error, MemoryError) or any(
        text in str(error) for text in ("out of memory", "DefaultCPUAllocator: can't allocate memory")
    )


_redirections = 0
_redirected_stdout: Any = None
_redirection_lock = threading.Lock()


@contextlib.contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """Send what models print to stderr; several threads at once leave sys.stdout as they found it."""
    global _redirections, _redirected_stdout
    with _redirection_lock:
        if _redirections == 0:
            _redirected_stdout, sys.stdout = sys.stdout, sys.stderr
        _redirections += 1
    try:
        yield
    finally:
        with _redirection_lock:
            _redirections -= 1
            if _redirections == 0:
                sys.stdout, _redirected_stdout = _redirected_stdout, None


def _without_optimisation() -> contextlib.AbstractContextManager[None]:
    context: contextlib.AbstractContextManager[None] = torch.jit.optimized_execution(False)  # type: ignore[attr-defined]
    return context


_cache: OrderedDict[tuple[str, torch.device], ScriptModel] = OrderedDict()
_cache_lock = threading.Lock()


def load_script(content: bytes, file_name: str, device: torch.device) -> ScriptModel:
    """Return the model for a file's content, loaded once per process, content and device.

    Raises:
        DriverError: As ScriptModel does.
    """
    key = (hashlib.sha256(content).hexdigest(), device)
    with _cache_lock:
        if key not in _cache:
            _cache[key] = ScriptModel(content, file_name, device)
            while len(_cache) > _KEPT_MODELS:
                _cache.popitem(last=False)
        _cache.move_to_end(key)
        return _cache[key].named(file_name)


@contextlib.contextmanager
def _expected_deprecations() -> Iterator[None]:
    """Silence what torch 2.13 says of TorchScript (FutureWarning from 2.15), which is what this driver is for."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.", category=FutureWarning)
        yield


def _load(content: bytes, file_name: str, device: torch.device) -> Any:
    try:
        # Loading may run code of the file (`__setstate__`), and that may print.
        with _expected_deprecations(), _stdout_to_stderr():
            module: Any = torch.jit.load(io.BytesIO(content), map_location=device)
    except (torch.jit.Error, RuntimeError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        raise DriverError(
            f"torch {torch.__version__} cannot load the model file {file_name}: {summary_of(error)}; export it again "
            "with a version of torch that is not newer"
        ) from error
    module.eval()
    # Only coordinates are differentiated: the backward pass then skips the weights.
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return module


def summary_of(error: Exception) -> str:
    """Return a TorchScript error's reason on one line, and where in the model's code it happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    places = [line for line in lines if line.startswith('File "code/')]
    # The interpreter ends with "RuntimeError: reason", which may go on over several lines; the compiler begins with it.
    reasons = [number for number, line in enumerate(lines) if re.match(r"[\w.]*(Error|Exception)\b.*:", line)]
    if lines[0].startswith(("Unknown builtin", "forward()")):
        reason = lines[0]
    else:
        reason = " ".join(lines[reasons[-1] :]) if reasons else lines[-1]
    return f"{reason} ({places[-1]})" if places else reason


def _floating_type(module: Any, graphs: list[Any], file_name: str) -> torch.dtype:
    tensors = [*module.parameters(), *module.buffers()]
    types = {tensor.dtype for tensor in tensors if tensor.is_floating_point()}
    if len(types) > 1:
        found = ", ".join(sorted(map(str, types)))
        raise DriverError(
            f"the parameters and buffers of the model in {file_name} must have one floating type, got {found}; "
            "convert the model with .to(torch.float64) or .to(torch.float32) before exporting it"
        )
    # A frozen model has its weights as constants of its graphs.
    constants = {tensor.dtype for tensor in constant_tensors(graphs) if tensor.is_floating_point()}
    if not types and len(constants) == 1:
        types = constants
    return types.pop() if types else torch.float64
