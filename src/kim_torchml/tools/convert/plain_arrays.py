# SPDX-License-Identifier: LGPL-2.1-or-later
"""Arrays and numbers of numpy in a file of torch, read without numpy's own makers.

Those take types that a file describes as it likes, such as a number that is said to hold a reference to a Python
object, and then follow whatever address stands there. What is here knows numbers alone.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMBERS = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
_ORDERS = ("<", ">", "=", "|")


class PlainType:
    """Stands for numpy.dtype while a file is read.

    Attributes:
        dtype: the type.
    """

    def __init__(self, word: Any, align: Any = False, copied: Any = True) -> None:
        """Take what numpy.dtype takes in a pickle.

        Raises:
            ValueError: If it is no type of numbers.
        """
        del align, copied
        if not isinstance(word, str) or word not in _NUMBERS:
            raise ValueError(f"an array must be of numbers, got the type {str(word)[:40]}")
        self.dtype = np.dtype(word)

    def __setstate__(self, state: Any) -> None:
        """Take the order of bytes.

        Raises:
            ValueError: If more is said, which no type of numbers has.
        """
        if not isinstance(state, tuple) or len(state) < 5 or state[1] not in _ORDERS or any(state[2:5]):
            raise ValueError("an array must be of plain numbers, got a type with parts")
        self.dtype = self.dtype.newbyteorder(state[1])


class PlainArray(np.ndarray):
    """Stands for numpy.ndarray while a file is read; it is pickled as that."""

    def __new__(cls, *given: Any) -> "PlainArray":
        """Raise an error: arrays in a file are made empty and then filled."""
        raise ValueError("an array must be stored as numpy stores it")

    def __setstate__(self, state: Any) -> None:
        """Take shape, type and numbers.

        Raises:
            ValueError: If they are not those of an array of numbers.
        """
        if not isinstance(state, tuple) or len(state) != 5 or not isinstance(state[2], PlainType):
            raise ValueError("an array must be stored as numpy stores it")
        version, shape, kind, by_columns, content = state
        if not isinstance(content, bytes):
            raise ValueError("an array must be of numbers, got one of other things")
        super().__setstate__((version, shape, kind.dtype, by_columns, content))

    def __reduce__(self) -> Any:
        """Return what makes the same array of numpy."""
        return self.view(np.ndarray).__reduce__()

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Return what makes the same array of numpy."""
        return self.view(np.ndarray).__reduce_ex__(protocol)


def _empty(*described: Any) -> PlainArray:
    """Return an array that is to be filled."""
    del described
    return np.zeros(0, dtype=np.float64).view(PlainArray)


def _number(kind: Any, content: Any) -> Any:
    """Return a number of numpy.

    Raises:
        ValueError: If it is none.
    """
    if not isinstance(kind, PlainType) or not isinstance(content, bytes) or len(content) != kind.dtype.itemsize:
        raise ValueError("a number must be stored as numpy stores it")
    return np.frombuffer(content, dtype=kind.dtype)[0]


# By the names that stand in files.
PLAIN_ARRAYS: dict[str, Callable[..., Any]] = {
    **{f"{module}._reconstruct": _empty for module in _MODULES},
    **{f"{module}.scalar": _number for module in _MODULES},
    "numpy.dtype": PlainType,
    "numpy.ndarray": PlainArray,
}
