# SPDX-License-Identifier: LGPL-2.1-or-later
"""Look into a TorchScript file before torch does. Nothing is executed or unpickled here.

Loading a TorchScript file may run code of its own (`__setstate__`), so what the code names is checked first; the
loaded graphs are checked once more by `torch_runtime`.
"""

import io
import tokenize
import zipfile
from collections.abc import Iterator

from kim_torchml.errors import DriverError

# Operators that reach outside the tensors they are given. Any attribute of these names is refused in a file's code:
# TorchScript resolves `x.save(...)` and `getattr(x, "save")` to the operator as well as `torch.save(...)`.
FORBIDDEN_OPERATORS = frozenset({"aten::from_file", "aten::save"})
_FORBIDDEN_NAMES = {operator.split("::")[1] for operator in FORBIDDEN_OPERATORS}

# Of torch's own operators and those of the packages that interatomic potentials use. Others may touch files
# (image::read_file), the network (c10d) or raw memory (inductor).
ALLOWED_NAMESPACES = frozenset(
    "aten prim prims quantized _quantized quantization sparse mkldnn profiler "
    "torch_scatter torch_sparse torch_cluster torch_spline_conv pyg".split()
)

_ZIP_MAGIC = b"PK\x03\x04"
_PICKLE_MAGIC = b"\x80"
_NAME_ONLY = (tokenize.NAME, tokenize.OP, tokenize.STRING)


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
    with _open_archive(content, file_name) as archive:
        operators: set[str] = set()
        for member in _code_members(archive, file_name):
            try:
                source = archive.read(member).decode("utf-8")
                operators.update(_check_code(source, file_name, member))
            except (
                zipfile.BadZipFile,
                EOFError,
                UnicodeDecodeError,
                SyntaxError,
                tokenize.TokenError,
            ) as error:
                raise DriverError(
                    f"the code {member} in the model file {file_name} cannot be read ({error}): the file is "
                    "damaged; copy or export it again"
                ) from error
    return frozenset(operators)


def check_operator(operator: str, where: str) -> None:
    """Raise DriverError if an operator, such as "aten::save", is not one that models may use."""
    if operator in FORBIDDEN_OPERATORS:
        raise DriverError(
            f"the model {where} uses the operator {operator}, which touches files: a model must not; it has not "
            "been run. Use this file only if you trust its author, and ask for one without that operator"
        )
    namespace = operator.split("::")[0]
    if "::" in operator and namespace not in ALLOWED_NAMESPACES:
        raise DriverError(
            f"the model {where} uses the operator {operator}: models may use only operators of "
            f"{', '.join(sorted(ALLOWED_NAMESPACES))}; export the model without it"
        )


def _open_archive(content: bytes, file_name: str) -> zipfile.ZipFile:
    if not content.startswith(_ZIP_MAGIC):
        if content.startswith(_PICKLE_MAGIC):
            raise _not_torchscript(file_name, "a pickle (made by torch.save of a module or a state_dict?)")
        raise _not_torchscript(file_name, "an empty file" if not content else "a file of another kind")
    try:
        return zipfile.ZipFile(io.BytesIO(content))
    except zipfile.BadZipFile as error:
        raise DriverError(
            f"the model file {file_name} is damaged: {error} ({len(content)} bytes; truncated?); copy it again"
        ) from error


def _code_members(archive: zipfile.ZipFile, file_name: str) -> list[str]:
    names = archive.namelist()
    if len(set(names)) != len(names):
        raise DriverError(f"the model file {file_name} holds two entries of one name; export it again")
    below_root = {name.split("/", 1)[1] for name in names if "/" in name}
    if "archive_format" in below_root or any(name.startswith("models/") for name in below_root):
        raise _not_torchscript(file_name, "a .pt2 file (torch.export), which cannot be run yet")
    if "constants.pkl" not in below_root:
        raise _not_torchscript(file_name, "a pickle in a zip file (made by torch.save), which is never unpickled")
    return [name for name in names if name.split("/", 1)[-1].startswith("code/") and name.endswith(".py")]


def _not_torchscript(file_name: str, found: str) -> DriverError:
    return DriverError(
        f"the model file {file_name} must be TorchScript, got {found}; "
        "export the model with torch.jit.script(model).save(...)"
    )


def _check_code(source: str, file_name: str, member: str) -> Iterator[str]:
    """Yield the operators that a piece of code names; raise where one is not allowed."""
    tokens = [token for token in tokenize.generate_tokens(io.StringIO(source).readline) if token.type in _NAME_ONLY]
    for index, token in enumerate(tokens):
        after_dot = index > 0 and tokens[index - 1].string == "."
        is_attribute = after_dot and token.type == tokenize.NAME
        named = token.string.strip("\"'") if token.type == tokenize.STRING else token.string
        if named in _FORBIDDEN_NAMES and (is_attribute or token.type == tokenize.STRING):
            check_operator(f"aten::{named}", f"file {file_name} ({member}, line {token.start[0]})")
        if token.string == "ops" and not after_dot and len(tokens) > index + 4:
            dot, namespace, second_dot, name = (tokens[index + k].string for k in range(1, 5))
            if dot == second_dot == ".":
                operator = f"{namespace}::{name}"
                check_operator(operator, f"file {file_name} ({member}, line {token.start[0]})")
                yield operator
