# SPDX-License-Identifier: LGPL-2.1-or-later
"""A stranger's model folder: nothing outside it is opened, whatever kind, name and content its files have.

KIM_TORCHML_FUZZ=20 tries 20 times as many folders, other ones in every run.
"""

import os
import shutil
from pathlib import Path

import pytest
from effort import IS_RANDOM, times
from file_mutations import mutated
from guards import TooMuchError, bounded, confined_to
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from opening import parameter_text

from kim_torchml.errors import DriverError
from kim_torchml.inputs import FILE_FORMATS, make_inputs
from kim_torchml.model_files.model_folder import read_model_folder

SECRET = "1\nSi\nNone\n3.5\nsecret.pt\nfalse\n5\nNone\n"
DESCRIBED = parameter_text("Descriptor", cutoff=3.0, descriptor="SymmetryFunctions")
DESCRIPTOR = "cos\n1\nSi Si 3.0\n1\ng2 1 2\n0.5 1.0\n"
FILES = {"kim.param": DESCRIBED, "kim.dat": DESCRIPTOR, "model.pt": "the model"}


def link_outside(path):
    path.symlink_to(Path("..", "outside", f"secret{path.suffix}"))


def link_to_itself(path):
    path.symlink_to(path.name)


def link_to_nothing(path):
    path.symlink_to("nothing")


def link_to_a_device(path):
    path.symlink_to("/dev/zero")


def link_inside(path):
    path.with_name("other").write_text(FILES[path.name])
    path.symlink_to("other")


def nothing(_):
    pass


def not_text(path):
    path.write_bytes(b"\xff\xfe\x00")


def empty(path):
    path.touch()


THINGS = [link_outside, link_to_itself, link_to_nothing, link_to_a_device, link_inside, nothing, not_text, empty]
THINGS += [Path.mkdir, os.mkfifo]
NAMES = [
    *"../outside/secret.param ../outside/secret.dat ../outside/secret.pt sub/kim.param ./kim.param".split(),
    *"kim.dat/x.dat /etc/passwd .param .dat .. . other kim.param kim.dat model.pt notes.txt".split(),
    "",
    "a\0.param",
    "a\nb.dat",
    "a" * 300 + ".dat",
    "\x1b[31m.param",
    "kim\udc80.dat",
]
changes = st.dictionaries(
    st.sampled_from(list(FILES)),
    st.one_of(st.sampled_from(THINGS), mutated(st.sampled_from(list(FILES.values())))),
    max_size=3,
)
names = st.one_of(
    st.just(list(FILES)),
    st.lists(st.sampled_from([*FILES, *NAMES]), max_size=5),
    st.lists(st.sampled_from(NAMES), max_size=2).map(lambda more: [*FILES, *more]),
)
named = st.sampled_from(["model.pt", "model.pt", "../outside/secret.pt", "secret.pt", "..", "model.pt/", "kim.pt"])


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """Return a folder beside that of the model, from which nothing may be read."""
    folder = tmp_path_factory.mktemp("models") / "outside"
    folder.mkdir()
    for suffix in (".param", ".dat", ".pt"):
        (folder / f"secret{suffix}").write_text(SECRET)
    # A first use outside the tests does the late imports, which open files but are not the model's doing.
    inside = write_folder(folder.parent / "inside", {}, "model.pt")
    make_inputs(read_model_folder(inside, list(FILES), FILE_FORMATS))
    return folder


def write_folder(folder, things, model_file):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, text in FILES.items():
        path, thing = folder / name, things.get(name)
        if callable(thing):
            thing(path)
        else:
            written = thing[-1] if thing else text.replace("model.pt", model_file)
            path.write_bytes(written.encode(errors="surrogatepass"))
    return folder


def open_folder(folder, listed):
    """Return the files that were read and no error, or None and the error."""
    with bounded(), confined_to(folder):
        try:
            files = read_model_folder(folder, listed, FILE_FORMATS)
            make_inputs(files)
        except DriverError as error:
            return None, str(error)
    return files, ""


@settings(
    max_examples=times(800),
    derandomize=not IS_RANDOM,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(things=changes, listed=names, model_file=named)
@example(things={"kim.param": os.mkfifo}, listed=list(FILES), model_file="model.pt")
@example(things={"model.pt": link_to_itself}, listed=list(FILES), model_file="model.pt")
@example(things={"model.pt": link_outside}, listed=list(FILES), model_file="model.pt")
@example(things={"model.pt": link_inside}, listed=list(FILES), model_file="model.pt")
def test_folders(outside, things, listed, model_file):
    folder = write_folder(outside.parent / "inside", things, model_file)
    files, message = open_folder(folder, listed)
    if files is None:
        assert message.isprintable()
        assert message
        assert "secret.pt\\nfalse" not in message
        return
    assert files.program == (folder / files.description.model_file).read_bytes()
    assert SECRET.encode() not in files.program
    assert files.descriptor is None or SECRET not in files.descriptor.text


def test_a_sound_folder_is_read(outside):
    files, _ = open_folder(write_folder(outside.parent / "inside", {}, "model.pt"), list(FILES))
    assert files.program == b"the model"
    assert files.descriptor.text == DESCRIPTOR


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        (link_outside, "the file model.pt must lie in the model's own folder, got a link that leaves it"),
        (link_to_a_device, "the file model.pt must lie in the model's own folder, got a link that leaves it"),
        (link_to_itself, "the file model.pt cannot be found: "),
        (os.mkfifo, "model.pt must be a file, got a folder, a pipe or a device"),
        (Path.mkdir, "model.pt must be a file, got a folder, a pipe or a device"),
        (nothing, "cannot read the model's file model.pt: "),
    ],
)
def test_what_is_no_file(outside, thing, message):
    _, found = open_folder(write_folder(outside.parent / "inside", {"model.pt": thing}, "model.pt"), list(FILES))
    assert found.startswith(message)


@pytest.mark.parametrize("name", ["outside/secret.pt", "inside/../outside/secret.pt", "inside/link"])
def test_the_watch_sees_what_is_opened_outside(outside, name):
    folder = write_folder(outside.parent / "inside", {}, "model.pt")
    (folder / "link").symlink_to(outside / "secret.pt")
    with pytest.raises(TooMuchError, match=r"outside .* was opened"), confined_to(folder):
        (folder.parent / name).read_text()


def spin():
    while True:
        pass


@pytest.mark.parametrize("work", [spin, lambda: bytearray(2**30)])
def test_the_bounds_hold(work):
    with pytest.raises(TooMuchError, match=r"it takes more than (0\.2 s|67108864 bytes)"), bounded(0.2, 64 * 2**20):
        work()
