# SPDX-License-Identifier: LGPL-2.1-or-later
"""The operator `kim_torchml::exchange`: before a layer of a network, rows of other ranks' particles get their features.

A network calls `x = torch.ops.kim_torchml.exchange(x)` on what the layer is about to gather by `edge_index[1]`. Where
no exchange is under way, on one rank above all, the result is a copy of x. The operator is registered when this module
is imported, which must be before any model file is read that names it.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch

NAME = "exchange"
NAMESPACE = "kim_torchml"


class Exchange(Protocol):
    """Carries features between ranks."""

    def forward(self, rows: torch.Tensor) -> None:
        """Overwrite the rows of other ranks' particles by what these ranks have in their own rows.

        Args:
            rows: Shape [rows, ...], contiguous, any floating type, on any device.
        """

    def backward(self, rows: torch.Tensor) -> None:
        """Add the rows of other ranks' particles to these ranks' own rows, and set them to 0.

        Args:
            rows: As above; derivatives of the energy by what `forward` has made.
        """


# A process may hold this package twice, a host's own copy and the driver's: there is one operator all the same, and one
# place where the exchange of a thread is kept.
_of_thread: threading.local = vars(torch).setdefault("_kim_torchml_exchange", threading.local())


def _current() -> Exchange | None:
    found: Exchange | None = getattr(_of_thread, "exchange", None)
    return found


def is_exchanging() -> bool:
    """Return whether this thread is to exchange features: then it must call a program as often as other ranks do."""
    return _current() is not None


@contextmanager
def exchanging(exchange: Exchange | None) -> Iterator[None]:
    """Let the operator use an exchange in this thread, in the forward and the backward pass; None for a copy alone."""
    before = _current()
    _of_thread.exchange = exchange
    try:
        yield
    finally:
        _of_thread.exchange = before


def exchange_overload() -> Any:
    """Return the operator as torch calls it."""
    return torch.ops.kim_torchml.exchange.default


def _forward(x: torch.Tensor) -> torch.Tensor:
    """Return features in which the rows of other ranks' particles are what these ranks have, shape [rows, ...]."""
    rows = _copied(x)
    if (carrier := _current()) is not None:
        carrier.forward(rows)
    return rows


def _backward(gradient: torch.Tensor) -> torch.Tensor:
    """Return derivatives by the features that went into an exchange, from those by what came out of it."""
    rows = _copied(gradient)
    if (carrier := _current()) is not None:
        carrier.backward(rows)
    return rows


def _copied(x: torch.Tensor) -> torch.Tensor:
    return x.detach().clone(memory_format=torch.contiguous_format)


def _like(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def _keep(ctx: Any, inputs: Any, output: torch.Tensor) -> None:
    del inputs, output
    # The backward pass of a GPU runs in a thread of its own.
    ctx.exchange = _current()


def _differentiate(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
    with exchanging(ctx.exchange):
        found: torch.Tensor = torch.ops.kim_torchml.exchange_backward(gradient)
        return found


def _register() -> None:
    """Register the operators, unless another copy of this package has done so: files may be loaded that call them."""
    if hasattr(torch.ops.kim_torchml, NAME):
        return
    forward = torch.library.custom_op(f"{NAMESPACE}::{NAME}", _forward, mutates_args=())
    backward = torch.library.custom_op(f"{NAMESPACE}::{NAME}_backward", _backward, mutates_args=())
    forward.register_fake(_like)
    backward.register_fake(_like)
    forward.register_autograd(_differentiate, setup_context=_keep)


_register()
