# SPDX-License-Identifier: LGPL-2.1-or-later
"""A stranger's model.toml: right files are read exactly, and all others are refused soon and in a short message.

Nothing outside the model's folder is read meanwhile. By default the tests try more than 5,000 files, always the same
ones. KIM_TORCHML_FUZZ=20 tries 20 times as many, other ones in every run.
"""

from collections import Counter
from dataclasses import fields, replace

import pytest
from effort import times
from file_mutations import LONG, ODD_WORDS, mutated
from guards import bounded, confined_to
from hypothesis import example, given
from hypothesis import strategies as st
from opening import toml_text
from test_readers_properties import check_refusal, tries
from toml_strategies import TOML_WORDS, VALUES, descriptions, with_values

from kim_torchml.errors import DriverError
from kim_torchml.inputs import FILE_FORMATS, make_inputs
from kim_torchml.model_files.elements import ATOMIC_NUMBERS
from kim_torchml.model_files.model_folder import read_model_folder
from kim_torchml.model_files.model_toml import parse_model_toml
from kim_torchml.model_files.model_toml_text import model_toml_text
from kim_torchml.model_files.store import Store, digest_of

SCRIPT, SECRET = b"the model", b"not for a model"
NAMES = ["model.toml", "model.pt", "kim.dat"]
DESCRIPTOR = "cos\n1\nSi Si 3.0\n1\ng2 1 2\n0.5 1.0\n"
ANY = descriptions(digest_of(SCRIPT))
# Most of these belong to the other files of the folder.
FITTING = descriptions(
    digest_of(SCRIPT),
    model_files=st.sampled_from(["model.pt", "model.pt", "model.pt", "other.pt"]),
    descriptor_files=st.sampled_from(["kim.dat", "kim.dat", "model.pt", "secret"]),
)

# The number of files that were read, by what became of them.
FILES: Counter[str] = Counter()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a model folder, which holds a store too; beside it is a folder from which nothing may be read."""
    root = tmp_path_factory.mktemp("models")
    for inside, name, content in (
        ("inside", "model.pt", SCRIPT),
        ("inside", "kim.dat", DESCRIPTOR.encode()),
        ("inside/store", f"{digest_of(SCRIPT)}.model", SCRIPT),
        ("outside", "secret.pt", SECRET),
        ("outside", f"{digest_of(SECRET)}.model", SECRET),
    ):
        (root / inside).mkdir(exist_ok=True)
        (root / inside / name).write_bytes(content)
    # A first use outside the tests does the late imports, which open files but are not the model's doing.
    tables = '[descriptor]\nname = "SymmetryFunctions"\nfile = "kim.dat"\n'
    open_folder(root / "inside", toml_text(SCRIPT, "descriptor", cutoff=3.0, tables=tables).encode())
    with pytest.raises(DriverError, match=r"correct the symbol; did you mean"):
        open_folder(root / "inside", toml_text(SCRIPT, species=["Si\0"]).encode())
    return root / "inside"


def open_folder(folder, content):
    (folder / "model.toml").write_bytes(content)
    files = read_model_folder(folder, NAMES, FILE_FORMATS, stores=[Store(folder / "store")])
    make_inputs(files)
    return files


def read(folder, text):
    """Return what is read, or None if the file or the folder is refused."""
    content = text if isinstance(text, bytes) else text.encode(errors="surrogatepass")
    with bounded(), confined_to(folder):
        try:
            files = open_folder(folder, content)
        except DriverError as error:
            FILES["refused"] += 1
            # Errors of the descriptor's own file name that.
            check_refusal(error, "kim.dat" if "kim.dat" in str(error) else "model.", content)
            return None
    FILES["read"] += 1
    return files


def stated(description):
    """Return a description without what it says for messages alone."""
    return replace(description, inputs_stated="", returns_stated="", coding_advice="")


def check(files):
    """Check that what was accepted is possible, and that it can be written and read again."""
    found = files.description
    assert files.program == SCRIPT
    assert 1 <= len(set(found.species)) == len(found.species)
    assert set(found.species) <= set(ATOMIC_NUMBERS)
    assert 1e-3 <= found.cutoff <= 1e6
    assert 1 <= found.n_layers <= 1000
    assert found.has_layers or found.n_layers == 1
    assert (found.descriptor is None) == (found.descriptor_file is None) == (found.kind != "Descriptor")
    assert found.kind != "Edges" or (found.energy_per_particle and not found.returns_forces)
    for name in filter(None, (found.model_file, found.descriptor_file)):
        assert not set("/\\\0") & set(name)
    assert parse_model_toml(model_toml_text(found).encode(), "model.toml", FILE_FORMATS) == found


@tries(350)
@given(description=ANY)
def test_what_is_written_is_read_again(description):
    FILES["written"] += 1
    text = model_toml_text(description)
    found = parse_model_toml(text.encode(), "model.toml", FILE_FORMATS)
    for field in fields(found):
        assert getattr(stated(found), field.name) == getattr(description, field.name), field.name
    assert model_toml_text(found) == text


@tries(250)
@given(description=FITTING)
def test_folders(folder, description):
    files = read(folder, model_toml_text(description))
    listed = {"model.pt", "model.toml", "kim.dat"}
    if files is None:
        # A descriptor's file says of which species and cutoff it is.
        assert description.kind == "Descriptor" or not (description.in_store or description.model_file in listed)
        return
    assert stated(files.description) == description
    check(files)


@tries(280)
@given(
    description=FITTING,
    places=st.lists(st.integers(0, 2**8), min_size=8, max_size=8),
    values=st.lists(VALUES, min_size=8, max_size=8),
)
def test_values_of_any_kind(folder, description, places, values):
    for text in with_values(model_toml_text(description), places, values):
        files = read(folder, text)
        if files is not None:
            check(files)


@tries(300)
@given(texts=mutated(FITTING.map(model_toml_text), [*TOML_WORDS, *ODD_WORDS]))
@example(texts=["a" * LONG, "[" * LONG, "a = [" + "1," * (LONG // 2), "a" + ".a" * (LONG // 2) + " = 1", '"' * LONG])
@example(
    texts=["a = " + "9" * LONG, "a = 0x" + "9" * LONG, 'a = "' + "\\n" * (LONG // 2) + '"', "[[a]]\n" * (LONG // 6)]
)
@example(texts=[f"{toml_text(SCRIPT)}{table}\n{'a' * LONG} = 1\n" for table in ("", "[about]", "[parameters]", "[a]")])
def test_mutated_files(folder, texts):
    for text in texts:
        files = read(folder, text)
        if files is not None:
            check(files)


@tries(400)
@given(content=st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode)))
@example(content=b"format = 2\n[model]\nfile = '\xff.pt'\n")
def test_files_of_anything(folder, content):
    assert read(folder, content) is None


def test_the_secret_is_found_where_it_is_allowed(folder):
    """Without this, the tests above might pass as the store is never looked into."""
    outside = folder.parent / "outside"
    text = toml_text(SECRET, model_file="secret.pt", where="store")
    assert read(folder, text) is None
    assert read_model_folder(folder, NAMES, FILE_FORMATS, stores=[Store(outside)]).program == SECRET


def test_so_many_files_were_read(request):
    """The tests read as many files as the module's docstring promises, where all of them have run."""
    mine = [item for item in request.session.items if item.path == request.path]
    if len({item.originalname for item in mine}) < 7:
        pytest.skip("only some of the tests of this file run")
    assert sum(FILES.values()) >= times(5_000)
    assert FILES["read"] >= times(250)
