# SPDX-License-Identifier: LGPL-2.1-or-later
"""Operators of networks on several ranks, whose last rows are copies of other ranks' particles.

`exchange`: before a layer, these rows get their features. A network calls `x = torch.ops.kim_torchml.exchange(x)` on
what the layer is about to gather by `edge_index[1]`. Where no exchange is under way, on one rank above all, the result
is a copy of x.

`own_rows` and `all_rows`: what is computed for each row need not be computed for these. A network computes it on
`own = torch.ops.kim_torchml.own_rows(x)`, which has this rank's own rows alone, and returns
`torch.ops.kim_torchml.all_rows(result, x.shape[0])`, in which the others are 0. Where no exchange is under way all rows
are own.

The operators are registered when this module is imported, which must be before any model file is read that names them.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch

NAMESPACE = "kim_torchml"
EXCHANGE, OWN_ROWS, ALL_ROWS = NAMES = ("exchange", "own_rows", "all_rows")
# Products of several matrices are compiled for at least two of them.
FEWEST_ROWS = 2


class Exchange(Protocol):
    """Carries features between ranks."""

    @property
    def n_own(self) -> int:
        """Number of rows of this rank's own particles, which come first."""

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


def overload_of(name: str) -> Any:
    """Return an operator of NAMES as torch calls it."""
    return getattr(torch.ops.kim_torchml, name).default


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


def _own_rows(x: torch.Tensor) -> torch.Tensor:
    """Return the rows of this rank's own particles, shape [own rows, ...]: at least two, where there are two in all."""
    carrier = _current()
    return _copied(x if carrier is None else x[: max(FEWEST_ROWS, carrier.n_own)])


def _all_rows(x: torch.Tensor, n: int) -> torch.Tensor:
    """Return rows with as many of zeros after them as make n, shape [n, ...]."""
    rows = x.new_zeros((n, *x.shape[1:]))
    rows[: len(x)] = x
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


def _like_own(x: torch.Tensor) -> torch.Tensor:
    n = torch.library.get_ctx().new_dynamic_size(min=FEWEST_ROWS)
    torch._check(n <= x.shape[0])  # type: ignore[no-untyped-call]
    return x.new_empty((n, *x.shape[1:]))


def _like_all(x: torch.Tensor, n: int) -> torch.Tensor:
    return x.new_empty((n, *x.shape[1:]))


def _keep_number(ctx: Any, inputs: Any, output: torch.Tensor) -> None:
    del output
    ctx.n = inputs[0].shape[0]


def _add_rows(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = torch.ops.kim_torchml.all_rows(gradient, ctx.n)
    return found


def _take_rows(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
    return gradient[: ctx.n], None


def _register() -> None:
    """Register the operators, unless another copy of this package has done so: files may be loaded that call them.

    `torch.library.custom_op` would do it in fewer lines, and import torch's compiler at the first call in a simulator.
    """
    if hasattr(torch.ops.kim_torchml, EXCHANGE):
        return
    # It must live as long as the operators.
    library: Any = torch.library.Library(NAMESPACE, "FRAGMENT")  # type: ignore[no-untyped-call]
    vars(torch)["_kim_torchml_library"] = library
    rows = "(Tensor x) -> Tensor"
    for name, schema, kernel, fake in (
        (EXCHANGE, rows, _forward, _like),
        (f"{EXCHANGE}_backward", rows, _backward, _like),
        (OWN_ROWS, rows, _own_rows, _like_own),
        (ALL_ROWS, "(Tensor x, SymInt n) -> Tensor", _all_rows, _like_all),
    ):
        library.define(name + schema, tags=(torch.Tag.pt2_compliant_tag,))
        library.impl(name, kernel, "CompositeExplicitAutograd")
        torch.library.register_fake(f"{NAMESPACE}::{name}", fake, lib=library)
    for name, differentiate, keep in (
        (EXCHANGE, _differentiate, _keep),
        (OWN_ROWS, _add_rows, _keep_number),
        (ALL_ROWS, _take_rows, _keep_number),
    ):
        torch.library.register_autograd(f"{NAMESPACE}::{name}", differentiate, setup_context=keep, lib=library)


_register()
