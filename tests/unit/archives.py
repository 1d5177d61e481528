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
    """A model that runs code when it is loaded: its __setstate__."""

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
    """Return a substitution that puts a line before a match, which is an indentation, and indents the line likewise."""
    return lambda match: f"{match[0]}{line}\n".replace("\n    ", f"\n{match[0]}") + match[0]


def with_line(line, instead=LOADING, kind=Stateful):
    """Return the TorchScript file of `kind` with a line put before the line `instead` of its code.

    `line` may hold several lines, the second and later ones indented by four.
    """
    entries, places = members(script_bytes(kind)), 0
    for name, content in entries.items():
        if name.endswith(".py"):
            code, found = re.subn(rf"(?m)^ *(?={re.escape(instead)}$)", added(line), content.decode())
            entries[name] = code.encode()
            places += found
    assert places == 1
    return zip_of(entries.items())


def place_of(content, name):
    """Return the offset at which the content of a zip file's entry begins."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        header = archive.getinfo(name).header_offset
    return header + 30 + sum(struct.unpack("<2H", content[header + 26 : header + 30]))


def renamed(content, function):
    """Return the zip file with the names of its entries changed by `function`."""
    return zip_of((function(name), entry) for name, entry in members(content).items())


def with_two_directories(shown, hidden):
    """Return a zip file that two readers read differently.

    Python's looks for the directory just before the end record, and reads `shown`. torch's looks at the offset in that
    record, and reads `hidden`.
    """

    def split(content):
        record = content[-22:]
        size, start = struct.unpack("<2L", record[12:20])
        return content[:start], content[start : start + size], record

    hidden_data, hidden_directory, _ = split(hidden)
    shown_data, shown_directory, record = split(shown)
    assert len(hidden_directory) == len(shown_directory)
    # Python takes the record's offset to be too small by this gap, and adds the gap to the offsets of the entries too.
    gap = len(hidden_directory) + len(shown_data)
    directory, at = bytearray(shown_directory), 0
    while at < len(directory):
        name, extra, comment = struct.unpack("<3H", directory[at + 28 : at + 34])
        (offset,) = struct.unpack("<L", directory[at + 42 : at + 46])
        directory[at + 42 : at + 46] = struct.pack("<L", offset + len(hidden_data) + len(hidden_directory) - gap)
        at += 46 + name + extra + comment
    record = record[:16] + struct.pack("<L", len(hidden_data)) + record[20:]
    return hidden_data + hidden_directory + shown_data + bytes(directory) + record
