# SPDX-License-Identifier: LGPL-2.1-or-later
"""TorchScript files with code that no exporter would write, and files that only look like TorchScript."""

import io
import re
import struct
import zipfile

from models import script_bytes
from torch import Tensor, jit, nn, zeros

# Lines of the serialised code below that tests replace; each occurs once.
LOADING = "self.kept = (state)[0]"
CALLING = "return torch.sum(coordinates)"


class Stateful(nn.Module):
    """A model whose loading runs code: __setstate__."""

    def __init__(self):
        super().__init__()
        self.kept = zeros(3)

    @jit.export
    def __getstate__(self):
        return (self.kept, self.training)

    @jit.export
    def __setstate__(self, state: tuple[Tensor, bool]):
        self.kept = state[0]
        self.training = state[1]

    def forward(
        self, species: Tensor, coordinates: Tensor, n_neighbours: Tensor, neighbours: Tensor, contributing: Tensor
    ):
        return coordinates.sum()


def members(content):
    """Names and contents of a zip file's entries."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zip_of(entries):
    """A zip file of (name, content) pairs."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return buffer.getvalue()


def added(line):
    """A substitution that repeats the indentation it is given, after a line with the same."""
    return lambda match: f"{match[0]}{line}\n".replace("\n    ", f"\n{match[0]}") + match[0]


def with_line(line, instead=LOADING, kind=Stateful):
    """The TorchScript file of `kind` with a line, or several indented by four, put before one of its code."""
    entries, places = members(script_bytes(kind)), 0
    for name, content in entries.items():
        if name.endswith(".py"):
            code, found = re.subn(rf"(?m)^ *(?={re.escape(instead)}$)", added(line), content.decode())
            entries[name] = code.encode()
            places += found
    assert places == 1
    return zip_of(entries.items())


def place_of(content, name):
    """Where the content of a zip file's entry begins."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        header = archive.getinfo(name).header_offset
    return header + 30 + sum(struct.unpack("<2H", content[header + 26 : header + 30]))


def renamed(content, function):
    """The file with its entries' names changed."""
    return zip_of((function(name), entry) for name, entry in members(content).items())


def with_two_directories(shown, hidden):
    """A zip file that is `shown` to readers that look for the directory before its end record, as Python's does, and
    `hidden` to those that look where that record says, as torch's does."""

    def split(content):
        record = content[-22:]
        size, start = struct.unpack("<2L", record[12:20])
        return content[:start], content[start : start + size], record

    hidden_data, hidden_directory, _ = split(hidden)
    shown_data, shown_directory, record = split(shown)
    assert len(hidden_directory) == len(shown_directory)
    # Python takes the record's offset to be this much too small, and adds it to those of the entries too.
    gap = len(hidden_directory) + len(shown_data)
    directory, at = bytearray(shown_directory), 0
    while at < len(directory):
        name, extra, comment = struct.unpack("<3H", directory[at + 28 : at + 34])
        (offset,) = struct.unpack("<L", directory[at + 42 : at + 46])
        directory[at + 42 : at + 46] = struct.pack("<L", offset + len(hidden_data) + len(hidden_directory) - gap)
        at += 46 + name + extra + comment
    record = record[:16] + struct.pack("<L", len(hidden_data)) + record[20:]
    return hidden_data + hidden_directory + shown_data + bytes(directory) + record
