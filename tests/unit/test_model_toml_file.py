# SPDX-License-Identifier: LGPL-2.1-or-later
"""model.toml as a file: what is no TOML, what is too much, and the other files that it names."""

import hashlib
import os
import re
from pathlib import Path

import pytest
from guards import bounded
from opening import parameter_text, toml_text
from test_model_toml import DESCRIPTOR, DIGEST, EDGES, GRAPH, NONE, error_of, read

from kim_torchml.errors import DriverError
from kim_torchml.inputs import FILE_FORMATS
from kim_torchml.model_files.model_folder import read_model_folder

LARGEST = 2**18


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("format = 2\nkind = edges\n", 2, 8),
        ("format = 2\n\n[model\nfile = 1\n", 3, 7),
        ("format 2\n", 1, 8),
        ("format = 2\nformat = 2\n", 2, 11),
        ("format = 2\n[a]\n[a]\n", 3, 3),
        ('format = 2\nfile = "model.pt\n', 2, 17),
        ("format = 2\r\nspecies = ['H', 'O'\r\nx = 1\r\n", 3, 1),
        ("format = 2 3\n", 1, 12),
        ("format = 02\n", 1, 11),
        ("format = 1979-13-01\n", 1, 14),
        ("format = \0\n", 1, 10),
        ("format = 2 # \x07\n", 1, 14),
    ],
)
def test_what_does_not_parse(text, line, column):
    """The reason is in the words of the parser, which may change from version to version."""
    message = rf"^model\.toml must be TOML, got: \w.* \(at line {line}, column {column}\); correct it$"
    assert re.match(message, error_of(text))


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("a = [1,", 1, 8),
        ("format = 2\na = [1,\n", 2, 8),
        ("format = 2\r\na = [1,\r\n\r\n", 2, 8),
        ('format = 2\n\na = """Å\n  b\n\n', 4, 4),
        ("format = 2\na = {", 2, 6),
        ("a", 1, 2),
    ],
)
def test_a_file_that_ends_early(text, line, column):
    place = f"(at line {line}, column {column}, where the file ends)"
    assert re.match(rf"^model\.toml must be TOML, got: \w.* {re.escape(place)}; correct it$", error_of(text))


def test_a_long_reason_keeps_its_place():
    """The parser quotes a key that is given twice, however long it is."""
    key = "k" * 3000
    message = error_of(f"format = 2\na = {{{key} = 1, {key} = 2}}\n")
    assert re.search(r"kkk \.\.\. \(at line 2, column \d+\); correct it$", message)
    assert len(message) < 400


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (EDGES.encode("utf-16"), "the byte 0xff at line 1"),
        (EDGES.encode("latin-1"), "the byte 0xc5 at line 31"),
        (b"format = 2\n\x80", "the byte 0x80 at line 2"),
        (b"\x80\x02}q\x00.", "the byte 0x80 at line 1"),
    ],
    ids=["utf-16", "latin-1", "a byte", "a pickle"],
)
def test_what_is_not_utf_8(content, found):
    assert error_of(content) == f"model.toml must be text in UTF-8, got {found}; save it as UTF-8"


@pytest.mark.parametrize("deep", ["[", "{a=", "[{a="])
def test_what_is_nested_too_deeply(deep):
    message = "model.toml must be TOML, got arrays or tables nested too deeply (at line 6); correct it"
    before = 'a = "[[[" # {{{\nb = """\n[[[[\n"""\nc = [[1], {d = 2}]\n'
    with bounded(seconds=5.0, size=256 * 2**20):
        assert error_of(f"{before}a = {deep * 20_000}") == message


@pytest.mark.parametrize("rest", ['\\"' * 80_000, '"""' * 50_000, "'" * 150_000, "9_" * 80_000])
def test_the_rest_of_a_file_that_is_nested_too_deeply(rest):
    """Where it is nested is looked for in a time that grows no faster than the file."""
    with bounded(seconds=5.0, size=256 * 2**20):
        assert "nested too deeply (at line 2)" in error_of(f"format = 2\na = {'[' * 5000}\n{rest}")


def test_a_key_of_too_many_parts():
    """The parser takes a time for it that grows with the square of their number."""
    for text in (
        f"a{'.a' * 100_000} = 1",
        f"[a{'.a' * 100_000}]",
        f"a{' . a' * 60_000} = 1",
        f'"a"{".x" * 100_000} = 1',
    ):
        with bounded(seconds=5.0, size=256 * 2**20):
            message = error_of(f"format = 2\n{text}\n")
        assert message == (
            f"a line of model.toml must have at most 400 dots, got {text.count('.')} at line 2; shorten or divide it"
        )


def test_a_key_of_many_parts_is_read_soon():
    text = "\n".join(f"k{number}{'.a' * 400} = 1" for number in range(200))
    assert len(text) < LARGEST
    with bounded(seconds=30.0, size=512 * 2**20):
        assert "`format` is missing" in error_of(text)


def test_an_integer_that_python_does_not_convert():
    text = f"# {'1' * 40_000}\n{EDGES.replace('5.0', '9' * 200_000)}"
    line = 1 + text[: text.index("999")].count("\n")
    message = f"the numbers in model.toml must be short, got one of thousands of digits (at line {line}); correct it"
    with bounded(seconds=5.0, size=256 * 2**20):
        assert error_of(text) in (
            message,
            # Python 3.10 had no limit at first.
            "`cutoff` in [model] must be a number from 0.001 to 1000000 (Å), got an integer of many digits (file "
            "model.toml); give the model's cutoff",
        )


def test_a_file_that_is_too_large():
    text = EDGES + "#" * (LARGEST - len(EDGES.encode()))
    assert read(text) == read(EDGES)
    assert error_of(text + "#") == f"model.toml must have at most {LARGEST} bytes, got {LARGEST + 1}; shorten it"


SCRIPT = b"the model"
OTHER = hashlib.sha256(b"another").hexdigest()


@pytest.fixture
def folder(tmp_path):
    """Return a function that writes a folder with a model.toml and a model file, and reads it."""

    def function(text, *more, names=("model.toml", "model.pt")):
        (tmp_path / "model.toml").write_text(text)
        (tmp_path / "model.pt").write_bytes(SCRIPT)
        for name in more:
            (tmp_path / name).write_text("more")
        return read_model_folder(tmp_path, [*names, *more], FILE_FORMATS)

    return function


@pytest.mark.parametrize("names", [("model.toml", "model.pt"), ("model.pt", "model.toml")])
def test_files_in_any_order(folder, names):
    files = folder(toml_text(SCRIPT), names=names)
    assert files.program == SCRIPT
    assert files.stored is None
    assert [name for name, _ in files.contents] == list(names)


@pytest.mark.parametrize("digest", [OTHER, DIGEST])
def test_a_digest_that_does_not_fit(folder, digest):
    with pytest.raises(DriverError) as raised:
        folder(toml_text(SCRIPT, sha256=digest))
    found = hashlib.sha256(SCRIPT).hexdigest()
    assert str(raised.value) == (
        f"the SHA-256 of model.pt must be {digest}, as model.toml says, got {found}: it is another file, or was "
        "changed or damaged; get the model again, or package the file that you have"
    )


def test_a_model_file_that_is_not_listed(folder):
    message = (
        r"^`file` must be one of the model's files \(model\.toml, model\.pt\), got 'other\.pt' \(file model\.toml\); "
        r"correct the name, or list the file in PARAMETER_FILES of the model's CMakeLists\.txt$"
    )
    with pytest.raises(DriverError, match=message):
        folder(toml_text(SCRIPT, model_file="other.pt"))


def test_both_formats_in_one_folder(folder):
    message = (
        r"^the model must have model\.toml or one \.param file, got model\.toml, kim\.param among its files "
        r"\(model\.toml, model\.pt, kim\.param\); leave the others out of PARAMETER_FILES of the model's "
        r"CMakeLists\.txt$"
    )
    with pytest.raises(DriverError, match=message):
        folder(toml_text(SCRIPT), "kim.param")


def test_a_description_that_is_not_listed(folder):
    with pytest.raises(DriverError, match=r"must have model\.toml or one \.param file, got none among .*; list it in"):
        folder(toml_text(SCRIPT), names=("model.pt",))


def test_the_descriptor_is_the_named_one(folder):
    text = toml_text(SCRIPT, "descriptor", tables='[descriptor]\nname = "soap"\nfile = "b.dat"\n')
    files = folder(text, "a.dat", "b.dat", "c.txt")
    assert (files.descriptor.name, files.descriptor.text) == ("b.dat", "more")
    with pytest.raises(
        DriverError, match=r"^`file` must be one of the model's files \(.*\), got 'b\.dat' \(file model\.t"
    ):
        folder(text, "a.dat")


@pytest.mark.parametrize("name", ["model.toml", "model.pt", "b.dat"])
@pytest.mark.parametrize(
    ("thing", "message"),
    [
        (lambda path: path.symlink_to("../outside"), "must lie in the model's own folder, got a link that leaves it"),
        (os.mkfifo, "must be a file, got a folder, a pipe or a device"),
        (Path.mkdir, "must be a file, got a folder, a pipe or a device"),
        (lambda path: None, "install the model again with --force"),
    ],
    ids=["link", "pipe", "folder", "nothing"],
)
def test_what_is_no_file_of_the_folder(tmp_path, name, thing, message):
    folder = tmp_path / "folder"
    folder.mkdir()
    text = toml_text(SCRIPT, "descriptor", tables='[descriptor]\nname = "soap"\nfile = "b.dat"\n')
    contents = {"model.toml": text.encode(), "model.pt": SCRIPT, "b.dat": b"more"}
    for each, content in contents.items():
        (folder / each).write_bytes(content)
    assert read_model_folder(folder, list(contents), FILE_FORMATS).program == SCRIPT
    (tmp_path / "outside").write_bytes(contents[name])
    (folder / name).unlink()
    thing(folder / name)
    with bounded(seconds=5.0), pytest.raises(DriverError, match=re.escape(message)) as raised:
        read_model_folder(folder, list(contents), FILE_FORMATS)
    assert name in str(raised.value)


def test_a_parameter_file_is_not_read_as_toml(folder):
    with pytest.raises(DriverError, match=r"^model\.toml must be TOML, got: .* \(at line 1, column 2\); correct it$"):
        folder(parameter_text())


def test_the_texts_of_all_kinds_are_read():
    assert [read(text).kind for text in (NONE, GRAPH, DESCRIPTOR, EDGES)] == ["None", "Graph", "Descriptor", "Edges"]
