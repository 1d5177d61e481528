# SPDX-License-Identifier: LGPL-2.1-or-later
"""Readers of a stranger's files: right files are read exactly; all others give our error, soon and in little memory.

By default the tests try more than 10,000 files, always the same ones. KIM_TORCHML_FUZZ=20 tries 20 times as many, other
ones in every run.
"""

import re
from collections import Counter
from dataclasses import fields

import pytest
from effort import IS_RANDOM, times
from file_mutations import LONG, mutated
from file_strategies import (
    DescriptorValues,
    ParameterValues,
    bispectra,
    descriptor_values,
    layouts,
    parameter_values,
    soaps,
    symmetry_functions,
)
from guards import bounded
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from opening import read_parameter_file

from kim_torchml.descriptors import read_descriptor
from kim_torchml.errors import DriverError
from kim_torchml.inputs import FILE_FORMATS
from kim_torchml.model_files.elements import ATOMIC_NUMBERS

PARAMETERS, DESCRIPTOR = "kim.param", "kim.dat"

# The number of files that were read, by file name.
FILES: Counter[str] = Counter()


def tries(count):
    """Return hypothesis' settings for `count` examples."""
    return settings(
        max_examples=times(count),
        derandomize=not IS_RANDOM,
        database=None,
        deadline=None,  # `bounded` is the guard: it ends a hang as well, and a slow machine is no failure
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Return the path at which all parameter files are written, one after the other."""
    return tmp_path_factory.mktemp("parameters") / PARAMETERS


def read_parameters(path, text):
    """Return what is read, or None if the file is refused."""
    FILES[path.name] += 1
    path.write_bytes(text if isinstance(text, bytes) else text.encode(errors="surrogatepass"))
    with bounded():
        try:
            return read_parameter_file(path)
        except DriverError as error:
            check_refusal(error, path.name, path.read_bytes())
            return None


def check_refusal(error, name, content):
    """Check that an error is one short line that names the file, and that a line number in it exists in the file."""
    message = str(error)
    assert message.isprintable()
    assert len(message) < 1000
    assert name in message
    n_lines = len(re.split(rb"\r\n|\r|\n", content))
    for line in re.findall(r"line (\d+)\b", re.sub(r"'.*?'", "", message)):
        assert 0 <= int(line) <= n_lines


def check_parameters(found):
    """Check that the values which were accepted are possible ones."""
    assert 1 <= len(set(found.species)) == len(found.species)
    assert set(found.species) <= set(ATOMIC_NUMBERS)
    assert 1e-3 <= found.cutoff <= 1e6
    assert found.model_file.endswith(".pt")
    assert not set("/\\\0") & set(found.model_file)
    assert (found.descriptor is None) == (found.kind != "Descriptor")
    assert found.n_layers >= 1


def values_of(found):
    """Return the values of a file from what was read of it."""
    words = {"cutoff": repr(found.cutoff), "descriptor": found.descriptor or "None"}
    words |= {"elements": found.species, "preprocessing": found.kind}
    names = [field.name for field in fields(ParameterValues) if field.name not in words]
    return ParameterValues(**{name: getattr(found, name) for name in names} | words)


@tries(750)
@given(values=parameter_values(), write=layouts())
def test_parameter_files(path, values, write):
    found = read_parameters(path, write(values.lines()))
    assert found is not None
    assert (found.species, found.kind, found.cutoff) == (
        values.elements,
        values.preprocessing,
        float(values.cutoff),
    )
    assert (found.n_layers, found.model_file, found.returns_forces) == (
        values.n_layers,
        values.model_file,
        values.returns_forces,
    )
    assert FILE_FORMATS[found.kind].count_inputs(found.n_layers) == int(values.lines()[-2])
    assert (found.descriptor or "None") == values.descriptor


@tries(275)
@given(texts=mutated(st.builds(lambda values, write: write(values.lines()), parameter_values(), layouts())))
@example(texts=["1\nSi\nNone\n" + "9" * LONG + "x\n", "999999\n" + "Si " * LONG])
def test_mutated_parameter_files(path, texts):
    for text in texts:
        found = read_parameters(path, text)
        if found is not None:
            check_parameters(found)
            assert read_parameters(path, "\n".join(values_of(found).lines())) == found


@tries(250)
@given(content=st.binary(max_size=60))
@example(content=b"1\nSi\nNone\n3.5\nm\xff.pt\nfalse\n5\nNone\n")
def test_parameter_files_of_anything(path, content):
    found = read_parameters(path, content)
    assert found is None


def read(text, values):
    """Return (descriptor, normalisation), or None if the file is refused."""
    FILES[DESCRIPTOR] += 1
    with bounded():
        try:
            return read_descriptor(text, DESCRIPTOR, values.name, values.species, values.cutoff)
        except DriverError as error:
            check_refusal(error, DESCRIPTOR, text.encode(errors="surrogatepass"))
            return None


KINDS = st.one_of(symmetry_functions(), bispectra(), soaps())


def parameters_of(descriptor):
    return {field.name: getattr(descriptor.parameters, field.name) for field in fields(descriptor.parameters)}


@tries(250)
@given(values=descriptor_values(KINDS), write=layouts())
def test_descriptor_files(values, write):
    found = read(write(values.lines, values.n_loose), values)
    assert found is not None
    descriptor, normalisation = found
    expected = dict(values.expected)
    numbers = expected.pop("normalisation")
    parameters = parameters_of(descriptor)
    assert {name: parameters[name] for name in expected} == expected
    assert descriptor.species == values.species
    assert descriptor.cutoff == values.cutoff
    assert (normalisation is None) == (numbers is None)
    if numbers is not None:
        assert normalisation.mean.tolist() == [numbers[0]] * descriptor.width
        assert normalisation.standard_deviation.tolist() == [numbers[1]] * descriptor.width


def check_descriptor_files(values, texts):
    for text in texts:
        check_descriptor_file(values, text)


def check_descriptor_file(values, text):
    """Check that a file is refused, or gives a descriptor for the model's species and cutoff, also when read again."""
    found = read(text, values)
    if found is None:
        return
    descriptor, normalisation = found
    assert descriptor.species == values.species
    assert descriptor.cutoff == pytest.approx(values.cutoff, rel=1e-6)
    assert 1 <= descriptor.width <= 10**6
    if normalisation is not None:
        assert normalisation.mean.shape == normalisation.standard_deviation.shape == (descriptor.width,)
        assert bool((normalisation.standard_deviation > 0).all())
    again, _ = read("\n# again\n" + text.removeprefix("\ufeff"), values)
    assert parameters_of(again) == parameters_of(descriptor)


def mutated_files(kind):
    """Return a strategy of pairs: values, and mutations of their file."""
    return descriptor_values(kind).flatmap(
        lambda values: st.tuples(
            st.just(values), mutated(layouts().map(lambda write: write(values.lines, values.n_loose)))
        )
    )


ONE_ELEMENT = DescriptorValues("SymmetryFunctions", [], 0, ("Si",), 3.0, {})
# Files of few bytes that ask for a thousand million functions, or hold a number of many digits.
MANY_FUNCTIONS = "cos\n1\nSi Si 3.0\n1000\n" + "g1 999999 0\n" * 1000
LONG_NUMBER = "cos\n1\nSi Si 3.0\n1\ng3 1 1\n" + "9" * LONG + "x\n"


@tries(100)
@example(pair=(ONE_ELEMENT, [MANY_FUNCTIONS, LONG_NUMBER]))
@given(pair=mutated_files(symmetry_functions()))
def test_mutated_symmetry_functions(pair):
    check_descriptor_files(*pair)


@tries(100)
@given(pair=mutated_files(bispectra()))
def test_mutated_bispectra(pair):
    check_descriptor_files(*pair)


@tries(75)
@given(pair=mutated_files(soaps()))
def test_mutated_soaps(pair):
    check_descriptor_files(*pair)


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        (
            "SymmetryFunctions",
            "1\ng1 10001 0",
            "`g1 rows` must be 1, there being but one g1 for each cutoff, got '10001'",
        ),
        ("SymmetryFunctions", "1\ng2 999999 2\n1 1", "`g2 row` is missing (file kim.dat"),
        ("Bispectrum", "500\n1\n3\n0\n1\n0\n1", "`jmax` must be 0, 0.5, 1, 1.5 or so on up to 10, got '500'"),
        ("SOAP", "4\n1000\n3.0\npolynomial\n1", "`l_max` must be an integer from 0 to 16, got 1000"),
        ("SOAP", "999999\n4\n3.0\npolynomial\n1", "`n_max` must be an integer from 1 to 16, got 999999"),
    ],
)
def test_giant_sizes_are_refused(name, rows, message):
    with bounded(seconds=5.0, size=64 * 2**20), pytest.raises(DriverError, match=re.escape(message)):
        read_descriptor(f"cos\n1\nSi Si 3.0\n{rows}\n", DESCRIPTOR, name, ("Si",), 3.0)


@pytest.mark.parametrize(
    ("name", "rows", "width"),
    [
        ("SymmetryFunctions", "1\ng1", 1),
        ("SymmetryFunctions", "1\ng2 9000 2" + "\n0.5 1.0" * 9000, 9000),
        ("Bispectrum", "10\n1\n2\n0\n1\n0\n1", 21),
        ("SOAP", "4\n16\n3.0\npolynomial\n1", 170),
    ],
)
def test_large_sizes_are_cheap_to_read(name, rows, width):
    with bounded(seconds=5.0, size=256 * 2**20):
        descriptor, _ = read_descriptor(f"cos\n1\nSi Si 3.0\n{rows}\n", DESCRIPTOR, name, ("Si",), 3.0)
    assert descriptor.width == width


def test_so_many_files_were_read(request):
    """The tests read as many files as the module's docstring promises, where all of them have run."""
    mine = [item for item in request.session.items if item.path == request.path]
    if len({item.originalname for item in mine}) < 10:
        pytest.skip("only some of the tests of this file run")
    assert FILES[PARAMETERS] + FILES[DESCRIPTOR] >= times(5_000)
    assert min(FILES.values()) >= times(2000)
