# SPDX-License-Identifier: LGPL-2.1-or-later
"""Look into a TorchScript file before torch does. Nothing is executed or unpickled here.

Loading a TorchScript file may run code of its own (`__setstate__`), so what the code names is checked first; the
loaded graphs are checked once more by `program.py`. Torch's own reader reads the file here too: another reader might
find other entries in it, and a file could show that reader harmless code.
"""

import ast
import io
import tokenize
import zipfile
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch

from kim_torchml.engines.errors import reason_of
from kim_torchml.engines.torchscript.forbidden import (
    FORBIDDEN_NAMES,
    UNSAFE_ARGUMENTS,
    check_operator,
    unsafe_argument,
)
from kim_torchml.errors import DriverError

_EXTRA = "extra/"

_ZIP_MAGIC = b"PK\x03\x04"
_PICKLE_MAGIC = b"\x80"


def inspect_archive(content: bytes, file_name: str) -> frozenset[str]:
    """Check that a file is TorchScript and that its code names only operators that models may use.

    Args:
        content: The file's bytes.
        file_name: For messages.
    Returns:
        Qualified names of the operators outside torch's own that the code names, such as
        "torch_scatter::segment_sum_csr".
    Raises:
        DriverError: If it is not TorchScript, is damaged, or names an operator that is not allowed.
    """
    archive, names = _open_archive(content, file_name)
    operators: set[str] = set()
    for member in _code_members(names, file_name):
        try:
            source = archive.get_record(member).decode("utf-8")
            operators.update(_check_code(source, file_name, member))
        except (RuntimeError, ValueError, SyntaxError, tokenize.TokenError) as error:
            raise DriverError(
                f"the code {member} in the model file {file_name} cannot be read ({reason_of(error)}): the file is "
                "damaged; copy or export it again"
            ) from error
    return frozenset(operators)


def extra_files(content: bytes) -> dict[str, bytes]:
    """Return the files that an author has put into a TorchScript file beside the model, by name."""
    archive = torch._C.PyTorchFileReader(io.BytesIO(content))
    names = [name for name in archive.get_all_records() if name.startswith(_EXTRA)]
    return {name[len(_EXTRA) :]: archive.get_record(name) for name in names}


def _open_archive(content: bytes, file_name: str) -> tuple[Any, list[str]]:
    """Return torch's reader of the file, and the names of its entries."""
    if not content.startswith(_ZIP_MAGIC):
        if content.startswith(_PICKLE_MAGIC):
            raise _not_torchscript(file_name, "a pickle (made by torch.save of a module or a state_dict?)")
        raise _not_torchscript(file_name, "an empty file" if not content else "a file of another kind")
    try:
        _check_sums(content)
        archive = torch._C.PyTorchFileReader(io.BytesIO(content))
        return archive, archive.get_all_records()
    except Exception as error:  # a damaged file raises BadZipFile, zlib.error, struct.error, RuntimeError, ...
        raise DriverError(
            f"the model file {file_name} is damaged: {reason_of(error)} ({len(content)} bytes; truncated?); "
            "copy it again"
        ) from error


def _check_sums(content: bytes) -> None:
    """Raise an error where an entry does not match its checksum: torch does not look, and may abort the process."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"its entry {damaged} does not match its checksum")


def _code_members(names: list[str], file_name: str) -> list[str]:
    # torch finds an entry whatever the case of its name.
    lower_case = {name.lower() for name in names}
    if len(lower_case) != len(names):
        raise DriverError(f"the model file {file_name} holds two entries of one name; export it again")
    if "archive_format" in lower_case or any(name.startswith("models/") for name in lower_case):
        raise DriverError(
            f"the model file {file_name} must be TorchScript, got a program of torch.export; name it .pt2, in its "
            "model.toml too, or export the model with torch.jit.script(model).save(...)"
        )
    if "constants.pkl" not in lower_case:
        raise _not_torchscript(file_name, "a pickle in a zip file (made by torch.save), which is never unpickled")
    return [name for name in names if name.lower().startswith("code/") and name.lower().endswith(".py")]


def _not_torchscript(file_name: str, found: str) -> DriverError:
    return DriverError(
        f"the model file {file_name} must be TorchScript, got {found}; "
        "export the model with torch.jit.script(model).save(...)"
    )


class _Token(NamedTuple):
    kind: int
    text: str
    line: int


def _tokens(source: str) -> list[_Token]:
    """Return names, operators and strings; strings as they read, adjacent ones joined, as TorchScript does."""
    tokens: list[_Token] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        text = str(ast.literal_eval(token.string)) if token.type == tokenize.STRING else token.string
        if token.type == tokenize.STRING and tokens and tokens[-1].kind == tokenize.STRING:
            tokens[-1] = tokens[-1]._replace(text=tokens[-1].text + text)
        elif token.type in (tokenize.NAME, tokenize.OP, tokenize.STRING):
            tokens.append(_Token(token.type, text, token.start[0]))
    return tokens


def _check_code(source: str, file_name: str, member: str) -> Iterator[str]:
    """Yield the operators that a piece of code names; raise where one is not allowed."""
    tokens = _tokens(source)
    _check_unsafe_arguments(tokens, file_name, member)
    for index, token in enumerate(tokens):
        where = f"file {file_name} ({member}, line {token.line})"
        after_dot = index > 0 and tokens[index - 1].text == "."
        if token.text in FORBIDDEN_NAMES and (after_dot or token.kind == tokenize.STRING):
            check_operator(f"aten::{token.text}", where)
        if token.text == "ops" and token.kind == tokenize.NAME and not after_dot:
            words = [word.text for word in tokens[index : index + 5]]
            if words[1::2] != [".", "."]:
                raise DriverError(
                    f"the code of the model {where} must name operators as ops.namespace.name, got "
                    f"'{' '.join(words)}'; export the model again"
                )
            operator = f"{words[2]}::{words[4]}"
            check_operator(operator, where)
            yield operator


def _check_unsafe_arguments(tokens: list[_Token], file_name: str, member: str) -> None:
    """Raise where code turns an operator's checks off.

    An operator may have another name where it is called, so that what counts is whether the code names it anywhere.
    """
    named = {token.text for token in tokens}
    for operator, argument in UNSAFE_ARGUMENTS.items():
        if operator.split("::")[1] not in named:
            continue
        for index, token in enumerate(tokens[:-2]):
            before, (sign, value) = tokens[index - 1].text, (each.text for each in tokens[index + 1 : index + 3])
            is_given = token.kind == tokenize.NAME and token.text == argument and before in "(," and sign == "="
            after = tokens[index + 3].text if index + 3 < len(tokens) else ""
            if is_given and not (value == "False" and after in (",", ")")):
                raise unsafe_argument(operator, f"file {file_name} ({member}, line {token.line})")
