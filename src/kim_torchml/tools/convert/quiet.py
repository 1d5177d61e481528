# SPDX-License-Identifier: LGPL-2.1-or-later
"""What packages of trained potentials tell of their own affairs, kept off the terminal."""

import io
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout


@contextmanager
def quiet() -> Iterator[None]:
    """Drop what is printed, warned of and logged below an error; changes of the environment last no longer either."""
    environment, disabled = dict(os.environ), logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)
