# SPDX-License-Identifier: LGPL-2.1-or-later
"""The ranks that compute one system together, as far as that is known for certain, and what they agree on.

A rank that waits for one that does not come waits for ever. So nothing is guessed: LAMMPS' own program is known to
compute with all ranks of MPI's world, or with those of a partition that its command line tells; in any other program
the user must say so.
"""

from __future__ import annotations

import math
import os
import re
import sys
import threading
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kim_torchml.errors import DriverError
from kim_torchml.process import settings
from kim_torchml.process.profile import BYTES, EXCHANGE, WAITING, counted, timed
from kim_torchml.process.rank import Rank

if TYPE_CHECKING:
    import numpy as np

# Names of LAMMPS' program: lmp, lmp_mpi, lammps.
_LAMMPS = re.compile(r"(lmp|lammps)([_.-].*)?")
_PARTITIONS = ("-partition", "-p")
# With these, LAMMPS shares MPI's world with other programs, or deals out its ranks in another order.
_SHARING = ("-mpicolor", "-m", "-mdi", "-md")
_REORDERING = ("-reorder", "-ro")
_PARTITION_SIZE = re.compile(r"(?:(\d{1,6})x)?(\d{1,6})")
_NO_MPI4PY = "this Python has no mpi4py"
# What a rank is about to do, but for numbers of bytes that it gathers (negative) or exchanges (positive) for each row;
# and what fits whatever the others do.
_AGREE, _ANYTHING = 0, 2**62
_MOST_BYTES = 2**31 - 1


class OtherRankError(DriverError):
    """Another rank has failed, which says why: this one has nothing to add."""

    # The shim keeps it off the screen.
    is_told_by_another_rank = True

    def __init__(self, communicator: Communicator, own: object = "") -> None:
        """Say just that, and what has failed here too, for KIM's log; keep the ranks that all know it."""
        super().__init__("another rank has failed, and says why" + (f"; this one has failed too: {own}" if own else ""))
        self.communicator = communicator


class DifferentRanksError(DriverError):
    """Ranks are about to do different things, and would wait for each other for ever."""

    def __init__(self) -> None:
        """Say so."""
        super().__init__(
            f"all ranks must exchange the same features equally often, got ranks that do not: a network must not leave "
            f"out a layer where there are no edges; correct it, or set {settings.EDGES}={settings.STAGED}"
        )


class Communicator:
    """Ranks that compute one system together.

    All of them must call its methods equally often and in the same order. Before anything is sent they agree that all
    are well: where one has failed, and so calls nothing but `fail`, the others raise OtherRankError. Where they are
    about to do different things, the first raises DifferentRanksError and the others OtherRankError.

    Attributes:
        rank: this process's place among them.
        size: how many they are.
        is_failure_known: whether all of them know that one has failed, since `begin` was called.
        must_tell: whether it is this one that says why, although all of them know.
    """

    def __init__(self, mpi: Any, communicator: Any) -> None:
        """Keep an MPI communicator of our own: what goes wrong in it raises an error, and nothing else is touched."""
        communicator.Set_errhandler(mpi.ERRORS_RETURN)
        self._mpi, self._communicator = mpi, communicator
        self.rank, self.size = int(communicator.rank), int(communicator.size)
        self.begin()

    def begin(self) -> None:
        """Begin something that may fail anew."""
        self.is_failure_known = self.must_tell = False

    def _least(self, number: int, what: int | None = None) -> int:
        """Return the least number that a rank has given: ranks with a cause, then `size` and what follows it.

        Args:
            number: This rank's.
            what: What it is about to do; None where it has failed.
        Raises:
            DifferentRanksError: If no rank has failed, and they are about to do different things; on the first of them.
            OtherRankError: Then on the others.
        """
        # Numpy may be what a rank has failed to import.
        least = array("q", [number, *((_ANYTHING, _ANYTHING) if what is None else (what, -what))])
        with timed(WAITING):
            self._communicator.Allreduce(self._mpi.IN_PLACE, least, op=self._mpi.MIN)
        self.is_failure_known = least[0] <= self.size
        if not self.is_failure_known and least[1] != -least[2]:
            self.is_failure_known, self.must_tell = True, self.rank == 0
            raise DifferentRanksError if self.must_tell else OtherRankError(self)
        return least[0]

    def fail(self, is_cause: bool = True) -> bool:
        """Let the other ranks know that this one has failed.

        Args:
            is_cause: Whether it has failed itself, and not for other ranks alone.
        Returns:
            Whether it must say why: of several ranks that have failed, the first does.
        """
        return self._least(self.rank if is_cause else self.size) == self.rank

    def all_are(self, is_so: bool) -> bool:
        """Return whether something is so on all ranks.

        Raises:
            OtherRankError: If another rank has failed.
        """
        return self._all_are(is_so, _AGREE)

    def _all_are(self, is_so: bool, what: int) -> bool:
        least = self._least(self.size + 1 + is_so, what)
        if self.is_failure_known:
            raise OtherRankError(self)
        return least == self.size + 2

    def check_all_well(self) -> None:
        """Agree that no rank has failed.

        Raises:
            OtherRankError: If one has.
        """
        self.all_are(True)

    def gathered(self, rows: np.ndarray) -> list[np.ndarray]:
        """Return the arrays of all ranks, which may differ in their first size alone.

        Raises:
            OtherRankError: If another rank has failed.
        """
        import numpy as np

        sent = np.ascontiguousarray(rows)
        self._all_are(True, -1 - _width(sent))
        counts = np.zeros(self.size, dtype=np.int64)
        with timed(EXCHANGE):
            self._communicator.Allgather(np.array([len(sent)], dtype=np.int64), counts)
        _check_size(int(counts.sum()) * _width(sent))
        found = np.empty((int(counts.sum()), *sent.shape[1:]), dtype=sent.dtype)
        taken = [*_bytes(self._mpi, found)[:1], counts * _width(sent), self._mpi.BYTE]
        # One that lacks the memory for it would leave the others waiting.
        self.check_all_well()
        with timed(EXCHANGE):
            self._communicator.Allgatherv(_bytes(self._mpi, sent), taken)
        counted({BYTES: sent.nbytes})
        return np.split(found, np.cumsum(counts)[:-1])

    def exchanged(self, rows: np.ndarray, n_given: np.ndarray, n_taken: np.ndarray) -> np.ndarray:
        """Return rows from all ranks, in the order of these.

        Args:
            rows: Rows for each rank, in the order of these, shape [sum of n_given, ...].
            n_given: How many are for each, shape [ranks].
            n_taken: How many come from each, shape [ranks].
        Raises:
            OtherRankError: If another rank has failed.
        """
        import numpy as np

        sent = np.ascontiguousarray(rows)
        # All that may fail comes before ranks say that they are well: afterwards the others wait for what is sent.
        _check_size(max(int(n_given.sum()), int(n_taken.sum())) * _width(sent))
        found = np.empty((int(n_taken.sum()), *sent.shape[1:]), dtype=sent.dtype)
        sides = ((sent, n_given), (found, n_taken))
        given, taken = ([*_bytes(self._mpi, each)[:1], count * _width(sent), self._mpi.BYTE] for each, count in sides)
        self._all_are(True, 1 + _width(sent))
        with timed(EXCHANGE):
            self._communicator.Alltoallv(given, taken)
        counted({BYTES: sent.nbytes})
        return found

    def among(self, is_member: bool) -> Communicator | None:
        """Return a communicator of those ranks that want to be in it; None for the others. All ranks must call this.

        Raises:
            OtherRankError: If another rank has failed.
        """
        self.check_all_well()
        found = self._communicator.Split(0 if is_member else self._mpi.UNDEFINED, self.rank)
        return Communicator(self._mpi, found) if is_member else None

    def free(self) -> None:
        """Give back what MPI has for these ranks; all of them must call this."""
        self._communicator.Free()


def _check_size(n_bytes: int) -> None:
    """Check that MPI can count what is sent at once; older ones count in 32 bits.

    Raises:
        DriverError: If it cannot.
    """
    if n_bytes > _MOST_BYTES:
        raise DriverError(
            f"ranks must send each other at most {_MOST_BYTES} bytes at once, got {n_bytes}; simulate fewer atoms, or "
            f"set {settings.EDGES}={settings.STAGED}"
        )


def _width(array: np.ndarray) -> int:
    """Return the size of a row, bytes."""
    return array.dtype.itemsize * math.prod(array.shape[1:])


def _bytes(mpi: Any, rows: np.ndarray) -> list[Any]:
    """Return an array as MPI takes it."""
    return [rows.reshape(-1).view("u1"), rows.nbytes, mpi.BYTE]


@dataclass(frozen=True)
class FoundCommunicator:
    """What is known of the ranks that compute with this one.

    Attributes:
        communicator: the ranks; None where this one is alone, or where they are not known for certain.
        why_not: why they are not known, with what to do; empty where they are, or where this rank is alone.
    """

    communicator: Communicator | None
    why_not: str = ""


_lock = threading.Lock()


def find_communicator(rank: Rank) -> FoundCommunicator:
    """Return the ranks that compute with this one. The first call in a process must be made by all of them.

    Args:
        rank: This process's rank, as its launcher has it.
    Raises:
        DriverError: If a setting, or LAMMPS' command line, does not fit the number of ranks.
    """
    word = settings.communicator_word()
    if rank.size == 1 or word == settings.NO_COMMUNICATOR:
        return FoundCommunicator(None)
    with _lock:
        return _found(word, tuple(_command_line()))


@cache
def _found(word: str, command: tuple[str, ...]) -> FoundCommunicator:
    is_lammps = bool(command) and _LAMMPS.fullmatch(Path(command[0]).name) is not None
    if word != settings.WORLD and not is_lammps:
        return FoundCommunicator(
            None,
            f"whether they compute one system is known of LAMMPS' own program alone, not of {_name(command)}; if all "
            f"of them do, set {settings.COMMUNICATOR}={settings.WORLD}",
        )
    if shared := next((each for each in command if is_lammps and each in _SHARING), ""):
        return FoundCommunicator(None, f"LAMMPS shares MPI's world with other programs ({shared})")
    mpi, why_not = _mpi()
    if mpi is None:
        return FoundCommunicator(None, why_not)
    world = mpi.COMM_WORLD
    if world.size == 1:
        return FoundCommunicator(None)
    sizes = partition_sizes(command) if is_lammps else None
    if sizes is None:
        return FoundCommunicator(Communicator(mpi, world.Dup()))
    if any(each in _REORDERING for each in command):
        return FoundCommunicator(None, "LAMMPS deals out the ranks of partitions in another order (-reorder)")
    return FoundCommunicator(Communicator(mpi, _of_partition(mpi, world, sizes)))


def _of_partition(mpi: Any, world: Any, sizes: Sequence[int]) -> Any:
    """Return a communicator of this rank's partition; the other partitions need not take part."""
    ends = list(accumulate(sizes))
    if not ends or ends[-1] != world.size:
        raise DriverError(
            f"the partitions of LAMMPS' command line must have {world.size} ranks together, got "
            f"{ends[-1] if ends else 0}; correct -partition"
        )
    number = next(place for place, end in enumerate(ends) if world.rank < end)
    members = list(range(ends[number] - sizes[number], ends[number]))
    return world.Create_group(world.Get_group().Incl(members), number)


def partition_sizes(command: Sequence[str]) -> list[int] | None:
    """Return the numbers of ranks of LAMMPS' partitions; None where it has none.

    Source:
        LAMMPS' manual, command-line option -partition: `8x2 4 5` are eight partitions of two ranks, one of four and
        one of five.
    """
    place = next((place for place, each in enumerate(command) if each in _PARTITIONS), None)
    if place is None:
        return None
    sizes: list[int] = []
    for word in command[place + 1 :]:
        match = _PARTITION_SIZE.fullmatch(word)
        if match is None:
            break
        sizes += [int(match[2])] * int(match[1] or 1)
    return sizes


def _mpi() -> tuple[Any, str]:
    """Return mpi4py's module for the MPI that this process has started; or None, and why there is none."""
    is_loaded = "mpi4py.MPI" in sys.modules
    try:
        import mpi4py

        if not is_loaded:
            # Whoever started MPI ends it; by default importing changes what errors do in the simulator's communicators.
            mpi4py.rc.initialize = mpi4py.rc.finalize = False
            mpi4py.rc.errors = "default"
        from mpi4py import MPI
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == "mpi4py"
        reason = _NO_MPI4PY if missing else f"mpi4py cannot be imported here ({error})"
        return None, f"{reason}; install it beside kim-torchml: {sys.executable} -m pip install mpi4py"
    if not MPI.Is_initialized() or MPI.Is_finalized():
        return None, (
            f"mpi4py works with an MPI that nobody has started here ({MPI.Get_library_version().splitlines()[0]}): the "
            "simulator has another, or none; install mpi4py for the simulator's MPI"
        )
    return MPI, ""


def _command_line() -> list[str]:
    """Return the command that this process was started with; that of Python where the system tells nothing."""
    try:
        return [os.fsdecode(each) for each in Path("/proc/self/cmdline").read_bytes().split(b"\0")[:-1]]
    except OSError:
        return list(sys.argv)


def _name(command: Sequence[str]) -> str:
    return Path(command[0]).name if command else "this program"


@contextmanager
def agreed(communicator: Communicator | None) -> Iterator[None]:
    """Let all ranks fail where one does: at the end, each learns how the others have fared.

    Args:
        communicator: The ranks, all of which do the same; None for this one alone.
    Raises:
        OtherRankError: If another rank has failed, and this one has not.
    """
    if communicator is None:
        yield
        return
    communicator.begin()
    try:
        yield
    except BaseException as error:
        is_own = not isinstance(error, OtherRankError)
        if communicator.must_tell:
            raise
        if communicator.is_failure_known:
            # TorchScript makes errors of its own out of those that come from within an operator.
            told = OtherRankError(communicator)
        elif communicator.fail(is_own):
            raise
        else:
            told = OtherRankError(communicator, error)
        if is_own and isinstance(error, Exception):
            raise told from error
        raise
    communicator.check_all_well()
