# SPDX-License-Identifier: LGPL-2.1-or-later
"""Trained potentials, converted in the environments of their packages and installed for the driver of these tests."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from converted import BY_NAME, HERE, MACE_MODELS, Converted, Installed, kim_torchml, package_results, run_in_family
from kim_collection import KimCollection

# Set by `tests/families.sh --quick`.
QUICK = "KIM_TORCHML_FAMILIES_QUICK"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what takes long where only the quick tests are wanted."""
    if not os.environ.get(QUICK):
        return
    for item in items:
        if item.get_closest_marker("thorough"):
            item.add_marker(pytest.mark.skip(reason="takes minutes: bash tests/families.sh, without --quick"))


@pytest.fixture(scope="session")
def mace_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small MACE models, made with fixed seeds."""
    folder = tmp_path_factory.mktemp("mace")
    done = run_in_family("mace", HERE / "make_mace.py", folder, *MACE_MODELS, "--lammps")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def source_of(request: pytest.FixtureRequest) -> Callable[[Converted], str]:
    """Return the file or name that a model is made of."""

    def found(model: Converted) -> str:
        if model.family != "mace":
            return model.source
        return str(request.getfixturevalue("mace_models") / f"{model.source}.model")

    return found


@pytest.fixture(scope="session")
def installed(
    bare_collection: KimCollection,
    source_of: Callable[[Converted], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], Installed]:
    """Convert and install a model of converted.py, once."""
    done: dict[str, Installed] = {}

    def install(name: str) -> Installed:
        if name not in done:
            model, work = BY_NAME[name], tmp_path_factory.mktemp(name)
            source = source_of(model)
            asked = f"{source}-lammps.pt" if model.is_for_lammps else source
            options = ["--name", name, "--dtype", model.dtype, "--format", model.file_format, "--trust"]
            run = kim_torchml(
                model.family, "convert", model.family, asked, "--output", work / name, *options, *model.options
            )
            assert run.returncode == 0, run.stderr
            bare_collection.install(work / name)
            expected = package_results(model, source, work)
            done[name] = Installed(model, source, work / name, run.stdout, expected)
        return done[name]

    return install
