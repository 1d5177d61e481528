# SPDX-License-Identifier: LGPL-2.1-or-later
"""Published models, unchanged, against golden data of an independent implementation."""

import importlib.metadata
import json
from pathlib import Path

import numpy as np
import pytest
from golden_data import GOLDEN, SI64, read_golden
from golden_session import MODELS
from kim_collection import HERE, KimCollection, PortableModel


@pytest.fixture(scope="module")
def session(
    bare_collection: KimCollection, shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict, str, str]:
    """Return the output of golden_session.py: its results, how the last calculation ended, and stderr."""
    models = []
    for name in MODELS:
        files = sorted((shared / "portable_models" / name).iterdir())
        models.append(PortableModel(name, {path.name: path.read_bytes() for path in files}))
    bare_collection.install_models(models, tmp_path_factory.mktemp("published"))
    variables = {"KIM_MODEL_ELEMENTS_MAP": "1", "KIM_TORCHML_QUIET": "1"}
    done = bare_collection.run_python(HERE / "golden_session.py", GOLDEN / f"{SI64}.json", **variables)
    assert done.returncode == 0, done.stderr
    results, ended = done.stdout.splitlines()
    return json.loads(results), ended, done.stderr


@pytest.mark.parametrize("name", MODELS)
def test_published_model_gives_its_golden_data(session: tuple, name: str) -> None:
    found = session[0][name]
    golden = read_golden(SI64)
    assert found["energy"] == pytest.approx(float(golden[f"{name}_energy"]), rel=0, abs=1e-9)
    np.testing.assert_allclose(found["forces"], golden[f"{name}_forces"], rtol=0, atol=1e-10)


def test_published_graph_model_ran_without_torch_scatter(session: tuple) -> None:
    """The driver provided the operators that the model names, and the package can no longer be imported after that."""
    installed = {distribution.name.replace("-", "_") for distribution in importlib.metadata.distributions()}
    if "torch_scatter" in installed:
        pytest.skip("torch_scatter is installed here, so its own operators were used")
    assert "registered them in pure torch" in session[0]["torch_scatter"]


def test_published_graph_model_needs_atomic_numbers(session: tuple) -> None:
    """With species codes there is an error that says so, not a wrong number."""
    _, ended, errors = session
    assert ended == "KimpyError"
    assert "must be finite, got NaN" in errors
    assert "set KIM_MODEL_ELEMENTS_MAP=1" in errors
