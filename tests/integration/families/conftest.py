# SPDX-License-Identifier: LGPL-2.1-or-later
"""Trained potentials, converted in the environments of their packages and installed for the driver of these tests."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from family_runs import COMMAND, HERE, PATIENCE, Installed, kim_torchml, package_results, run_in_family
from kim_collection import KimCollection
from tried_families import MODELS, TRIED_FAMILIES

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
def made_sources(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a folder of what a family's maker writes, with fixed seeds."""
    folders: dict[str, Path] = {}

    def made(family: str) -> Path:
        if family not in folders:
            folder = tmp_path_factory.mktemp(family)
            done = run_in_family(family, HERE / TRIED_FAMILIES[family].maker, folder)
            assert done.returncode == 0, done.stderr
            folders[family] = folder
        return folders[family]

    return made


def source_in(folder: Path | None, source: str) -> str:
    """Return the path of a file that a family's maker has written, or a name that the family knows."""
    return source if folder is None or not (folder / source).exists() else str(folder / source)


@pytest.fixture(scope="session")
def installed(
    bare_collection: KimCollection, made_sources: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Installed]:
    """Convert and install a model, once, as users do: a large model file goes to a store, which is this session's."""
    done: dict[str, Installed] = {}
    bare_collection.environment["XDG_DATA_HOME"] = str(tmp_path_factory.mktemp("data"))
    models = {model.name: model for model in MODELS}

    def install(name: str) -> Installed:
        if name not in done:
            model, work = models[name], tmp_path_factory.mktemp(name)
            folder = made_sources(model.family) if TRIED_FAMILIES[model.family].maker else None
            source, asked = (source_in(folder, each) for each in (model.source, model.made_into or model.source))
            options = ["--name", name, "--dtype", model.dtype, "--format", model.file_format, "--trust"]
            run = kim_torchml(
                model.family, "convert", model.family, asked, "--output", work / name, *options, *model.options
            )
            assert run.returncode == 0, run.stderr
            words = ("-c", COMMAND, "install", "--no-compile", work / name)
            kept = bare_collection.run_python(*words, timeout=PATIENCE)
            assert kept.returncode == 0, kept.stderr
            done[name] = Installed(model, work / name, run.stdout, package_results(model, source, work))
        return done[name]

    return install
