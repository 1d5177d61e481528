# SPDX-License-Identifier: LGPL-2.1-or-later
"""A model file that stands alone."""

from pathlib import Path

from kim_torchml.engines import describe_program
from kim_torchml.errors import DriverError
from kim_torchml.model_files.store import digest_of
from kim_torchml.tools.model_info.facts import FileFacts, ModelFacts
from kim_torchml.tools.request_error import RequestError


def describe_model_file(word: str, path: Path) -> ModelFacts:
    """Return what a model file shows; why it would not be run is part of that.

    Args:
        word: What the user asked for.
        path: Path of the file.
    Raises:
        RequestError: If it is no file.
        DriverError: If it cannot be read.
    """
    if not path.is_file():
        raise RequestError(f"a model file must be a file, got a pipe or a device ({path}); name the file itself")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DriverError(
            f"cannot read {path}: {error.strerror or error}; give yourself the right to read it"
        ) from error
    file = FileFacts(path.name, len(content), digest_of(content), "folder", str(path.absolute()))
    program, problem = None, ""
    try:
        program = describe_program(content, path.name)
        problem = program.problem
    except (DriverError, MemoryError) as error:
        problem = str(error)
    return ModelFacts(
        target=word,
        what="model file",
        folder=str(path.absolute().parent),
        model_file=file,
        files=(file,),
        program=program,
        problem=problem,
    )
