# SPDX-License-Identifier: LGPL-2.1-or-later
"""Look into a .pt2 file: a zip file, of whose entries those are read that are known. None is unpickled or executed."""

import io
import re
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass

from kim_torchml.engines.errors import reason_of
from kim_torchml.engines.exported.document import JsonObject, quoted, read_json
from kim_torchml.errors import DriverError
from kim_torchml.process.oldest_versions import OLDEST_EXPORTING_TORCH

EXPORT_AGAIN = f"export the model with torch.export.save of torch {OLDEST_EXPORTING_TORCH} or newer"

WEIGHTS, CONSTANTS = "data/weights/", "data/constants/"
_FORMAT, _VERSION, _BYTE_ORDER = "archive_format", "archive_version", "byteorder"
_MODEL = re.compile(r"models/([^/]+)\.json")
_PLAIN_BYTES = re.compile(r"data/(?:weights/weight_|constants/tensor_)\d{1,9}")
_CONFIGURATION = re.compile(r"data/(?:weights/[^/]+_weights_config|constants/[^/]+_constants_config)\.json")
# Torch's own records of the file, and what is there but never read: examples of inputs, and the author's own files.
_NEVER_READ = re.compile(
    r"version|\.data/version|\.data/serialization_id|\.format_version|\.storage_alignment"
    r"|data/sample_inputs/[^/]+\.pt|extra/.+"
)
# What else torch, or someone, may put into a zip file, and what to do. Older layouts have no folder around all entries.
_REFUSED = (
    (
        re.compile(r"(?:[^/]+/)?data/aotinductor/.*"),
        "native code, which a model file must not bring along",
        "export the model with torch.export.save: it is compiled on the machine that it runs on",
    ),
    (re.compile(r"(?:[^/]+/)?serialized_\w+\.(?:json|pt)"), "which torch before 2.8 writes", EXPORT_AGAIN),
    (re.compile(r"[^/]+/data/(?:weights|constants)/[^/]+\.pt"), "a pickle, which torch 2.8 writes", EXPORT_AGAIN),
    (
        re.compile(r"[^/]+/data/constants/(?:custom|opaque)_obj_.*"),
        "a pickled object, which is never unpickled",
        "export a model whose constants are tensors and numbers",
    ),
    (
        re.compile(r"[^/]+/(?:constants\.pkl|data\.pkl|code/.*)"),
        "which TorchScript and torch.save write",
        "name a TorchScript file .pt, and export any other model with torch.export.save",
    ),
)
_MOST_ENTRIES = 100_000
_LONGEST_NAME = 1000
# Bytes of a JSON text.
_LARGEST_TEXT = 1 << 25
_ENCRYPTED = 1


@dataclass(frozen=True)
class ProgramArchive:
    """The entries of a .pt2 file, all of which are known and none of which is compressed.

    Attributes:
        file_name: name of the file, for messages.
        model: name of the program in it.
        entries: what is known of the entries, by their names without the folder that all of them are in.
    """

    file_name: str
    model: str
    entries: Mapping[str, zipfile.ZipInfo]
    _zip: zipfile.ZipFile

    def read(self, name: str) -> bytes:
        """Return the content of an entry; raise DriverError if there is none of the name."""
        if name not in self.entries:
            raise DriverError(f"the model file {self.file_name} must hold {name}, which is missing; {EXPORT_AGAIN}")
        return self._zip.read(self.entries[name])

    def json(self, name: str) -> JsonObject:
        """Return the object in an entry that is JSON."""
        if name in self.entries and self.entries[name].file_size > _LARGEST_TEXT:
            raise DriverError(
                f"the entry {name} of the model file {self.file_name} must have at most {_LARGEST_TEXT} bytes, got "
                f"{self.entries[name].file_size}; export a smaller model"
            )
        return read_json(self.read(name), name, self.file_name)


def open_archive(content: bytes, file_name: str) -> ProgramArchive:
    """Return the entries of a .pt2 file.

    Args:
        content: The file's bytes.
        file_name: Its name, for messages.
    Raises:
        DriverError: If it is no such file, or holds what is not known.
    """
    file = _open_zip(content, file_name)
    entries = _entries(file, len(content), file_name)
    for name in entries:
        _check_known(name, file_name)
    models = [found[1] for found in map(_MODEL.fullmatch, entries) if found]
    if len(models) != 1:
        found = f"those of {', '.join(map(quoted, models[:3]))}" if models else "none"
        raise DriverError(
            f"the model file {file_name} must hold one program, models/NAME.json, got {found}; {EXPORT_AGAIN}"
        )
    _check_sums(file, file_name)
    archive = ProgramArchive(file_name, models[0], entries, file)
    for name, expected in ((_FORMAT, "pt2"), (_VERSION, "0"), (_BYTE_ORDER, sys.byteorder)):
        if name in entries or name != _BYTE_ORDER:
            found_bytes = archive.read(name)
            if found_bytes != expected.encode():
                raise DriverError(
                    f"the entry {name} of the model file {file_name} must be {expected}, got "
                    f"{quoted(found_bytes[:20].decode(errors='replace'))}; {EXPORT_AGAIN}"
                )
    return archive


def with_entries(content: bytes, replaced: Mapping[str, bytes]) -> bytes:
    """Return a .pt2 file in which some entries have other contents, and the others are as they were.

    Args:
        content: The file's bytes, which `open_archive` has taken.
        replaced: New contents, by names without the folder that all entries are in.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w") as new:
        for entry in old.infolist():
            name = entry.filename.split("/", 1)[1]
            # Not `entry` itself, which has the sizes and the place of the old one.
            written = zipfile.ZipInfo(entry.filename, entry.date_time)
            new.writestr(written, replaced[name] if name in replaced else old.read(entry))
    return buffer.getvalue()


def _open_zip(content: bytes, file_name: str) -> zipfile.ZipFile:
    if not content.startswith(b"PK\x03\x04"):
        found = "an empty file" if not content else "a file of another kind"
        raise DriverError(f"the model file {file_name} must be a program of torch.export, got {found}; {EXPORT_AGAIN}")
    try:
        return zipfile.ZipFile(io.BytesIO(content))
    except Exception as error:  # a damaged file raises BadZipFile, struct.error, ValueError, ...
        raise _damaged(file_name, f"{reason_of(error)} ({len(content)} bytes; truncated?)") from error


def _entries(file: zipfile.ZipFile, n_bytes: int, file_name: str) -> dict[str, zipfile.ZipInfo]:
    """Return the entries by their names without the folder that all are in, checked."""
    found = file.infolist()
    if len(found) > _MOST_ENTRIES:
        raise _wrong(file_name, f"must hold at most {_MOST_ENTRIES} entries, got {len(found)}")
    for entry in found:
        _check_allowed(entry.filename, file_name)
    for entry in found:
        _check_name(entry, file_name)
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & _ENCRYPTED:
            how = "encrypted" if entry.flag_bits & _ENCRYPTED else "compressed"
            raise _wrong(file_name, f"must hold plain entries, as torch writes them, got {entry.filename}, {how}")
    # Nothing is compressed, so that more bytes than the file has were to be read twice or are not there.
    declared = sum(entry.file_size for entry in found)
    if declared > n_bytes:
        raise _wrong(file_name, f"has {n_bytes} bytes, but its entries have {declared} together")
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in found:
        name = entry.filename.split("/", 1)[1]
        if name in entries:
            raise _wrong(file_name, f"must hold each entry once, got {quoted(name)} twice")
        entries[name] = entry
    folders = {entry.filename.split("/", 1)[0] for entry in found}
    if len(folders) != 1:
        raise _wrong(
            file_name, f"must have its entries in one folder, got {', '.join(map(quoted, sorted(folders)[:3]))}"
        )
    return entries


def _check_sums(file: zipfile.ZipFile, file_name: str) -> None:
    """Raise where an entry does not match its checksum: also one that is only copied into a written model."""
    try:
        name = file.testzip()
    except Exception as error:  # EOFError, NotImplementedError, struct.error, ...
        raise _damaged(file_name, reason_of(error)) from error
    if name is not None:
        raise _damaged(file_name, f"its entry {name} does not match its checksum")


def _damaged(file_name: str, what: str) -> DriverError:
    return DriverError(f"the model file {file_name} is damaged: {what}; copy it again")


def _check_name(entry: zipfile.ZipInfo, file_name: str) -> None:
    parts = entry.filename.split("/")
    # The zip file's reader cuts a name where it has a null.
    is_plain = entry.filename == entry.orig_filename and entry.filename.isprintable() and "\\" not in entry.filename
    if (
        not is_plain
        or len(entry.filename) > _LONGEST_NAME
        or len(parts) < 2
        or any(part in ("", ".", "..") for part in parts)
    ):
        raise _wrong(file_name, f"must hold entries with plain names in a folder, got {quoted(entry.orig_filename)}")


def _check_known(name: str, file_name: str) -> None:
    known = (_MODEL, _PLAIN_BYTES, _CONFIGURATION, _NEVER_READ)
    if name not in (_FORMAT, _VERSION, _BYTE_ORDER) and not any(each.fullmatch(name) for each in known):
        raise _wrong(file_name, f"must hold nothing but a program and its weights, got {quoted(name)}")


def _check_allowed(name: str, file_name: str) -> None:
    """Raise where an entry is one of those that have a remedy of their own."""
    for pattern, what, remedy in _REFUSED:
        if pattern.fullmatch(name):
            raise DriverError(f"the model file {file_name} holds {quoted(name)}, {what}; {remedy}")


def _wrong(file_name: str, what: str) -> DriverError:
    return DriverError(f"the model file {file_name} {what}; {EXPORT_AGAIN}")
