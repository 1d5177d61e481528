# SPDX-License-Identifier: LGPL-2.1-or-later
"""Errors of commands as one sentence on stderr and an exit status."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import click

from kim_torchml.errors import DriverError
from kim_torchml.tools.request_error import RequestError


class ImpossibleRequestError(click.ClickException):
    """A request that cannot be fulfilled: the exit status is 2, as for options that do not exist."""

    exit_code = 2


@contextmanager
def errors_as_sentences() -> Iterator[None]:
    """Turn errors that a user can put right into errors of the command, without a traceback."""
    try:
        yield
    except RequestError as error:
        raise ImpossibleRequestError(str(error)) from error
    except DriverError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        # The full disk of the command's own output is another matter (interruptible_group.py).
        if error.filename is None and error.errno == errno.ENOSPC:
            raise
        where = "" if error.filename is None else f" '{error.filename}'"
        raise click.ClickException(f"cannot read or write{where}: {error.strerror or error}; mend that") from error
