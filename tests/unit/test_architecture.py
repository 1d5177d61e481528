# SPDX-License-Identifier: LGPL-2.1-or-later
"""The package keeps the rules of docs/architecture.md: imports go down, names are used once, files stay short."""

import re
from pathlib import Path

import pytest
from house_rules import (
    MAY_IMPORT,
    TOP,
    Source,
    engines_business,
    read_sources,
    shared_class_names,
    too_long,
    wrong_imports,
)

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "kim_torchml"
SOURCES = read_sources(PACKAGE)
MODULES = {source.module for source in SOURCES}


def test_imports_go_down():
    assert [wrong for source in SOURCES for wrong in wrong_imports(source, MODULES)] == []


def test_no_two_public_classes_share_a_name():
    assert shared_class_names(SOURCES) == []


def test_engines_alone_differentiate_and_take_locks():
    assert [found for source in SOURCES for found in engines_business(source)] == []


def test_files_and_functions_are_short():
    assert [found for source in SOURCES for found in too_long(source)] == []


def test_nothing_else_stands_at_the_top():
    found = {path.name for path in PACKAGE.iterdir() if not path.is_dir()}
    assert found == TOP
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(MAY_IMPORT) - {"errors"}


def test_every_folder_says_what_it_is():
    for folder in {path.parent for path in PACKAGE.rglob("*.py")} - {PACKAGE}:
        assert re.search(r'^"""\w', (folder / "__init__.py").read_text(), re.MULTILINE), folder


def test_the_page_about_the_house_names_every_folder():
    page = (ROOT / "docs" / "architecture.md").read_text()
    for folder in set(MAY_IMPORT) - {"errors"}:
        assert f"| `{folder}/` |" in page


MADE_UP = [
    ("engines.x", "from kim_torchml.inputs import Particles", "engines may import process, errors"),
    ("engines.x", "def f():\n    import kim_torchml.inputs.base", "line 2: imports kim_torchml.inputs.base"),
    ("evaluation.x", "from kim_torchml.engines.torchscript.program import open_torchscript", "engines.contract"),
    ("evaluation.x", "from kim_torchml.engines import open_program", "engines.contract"),
    ("evaluation.x", "from kim_torchml.engines import torchscript", "engines.contract"),
    ("inputs.x", "from ..engines import contract", "inputs may import descriptors"),
    (
        "inputs.x",
        "if TYPE_CHECKING:\n    from kim_torchml.evaluation import evaluate",
        "imports kim_torchml.evaluation",
    ),
    ("descriptors.x", "from kim_torchml.model_files.elements import SYMBOLS", "model_files.plain_text"),
    ("driver.x", "import importlib\nimportlib.import_module('kim_torchml.tools.cli')", "imports kim_torchml.tools.cli"),
    ("process.x", "import_module(name='kim_torchml.driver')", "imports kim_torchml.driver"),
    ("process.x", "import_module('..driver', package='kim_torchml.process')", "imports kim_torchml.driver"),
    ("process.x", "import_module(f'kim_torchml.driver.{name}')", "imports kim_torchml.driver"),
    ("process.x", "__import__('kim_torchml.driver')", "imports kim_torchml.driver"),
    ("models.x", "import os", "no rule says what models may import"),
    ("errors", "from kim_torchml.process import settings", "errors may import nothing"),
    ("process.x", "import click", "numpy and torch alone"),
    ("driver.x", "import torch_scatter", "numpy and torch alone"),
]


@pytest.mark.parametrize(("module", "text", "said"), MADE_UP)
def test_wrong_imports_are_found(module, text, said):
    (found,) = wrong_imports(Source(module, text), MODULES)
    assert said in found


RIGHT = [
    ("evaluation.x", "from kim_torchml.engines.contract import Program"),
    ("evaluation.x", "from kim_torchml.engines import contract"),
    ("descriptors.x.y", "from kim_torchml.model_files.plain_text import quoted\nfrom . import z\nfrom .. import base"),
    ("tools.x", "import click\nfrom kim_torchml.driver import model"),
    ("process.x", "from kim_torchml import __version__\nimport os, numpy, torch.jit"),
    ("engines.torchscript.operators.x", "import torch_scatter"),
    ("process.x", "import_module(name)\nimport_module('.settings', 'kim_torchml.process')"),
    ("__main__", "from kim_torchml.tools.cli import main"),
]


@pytest.mark.parametrize(("module", "text"), RIGHT)
def test_right_imports_are_let_be(module, text):
    assert wrong_imports(Source(module, text), MODULES) == []


def test_a_name_given_twice_is_found():
    first, second = "class Particles: ...\nclass _Own: ...", "class Box:\n    class Particles: ...\nclass _Own: ..."
    assert shared_class_names([Source("inputs.x", first), Source("tools.y", second)]) == [
        "Particles: inputs.x, tools.y"
    ]


ENGINES_BUSINESS = [
    "torch.autograd.grad(e, r)",
    "from torch.autograd import grad",
    "from torch import autograd",
    "energy.backward()",
    "with program._lock: pass",
    "with self.model._lock: pass",
]


@pytest.mark.parametrize("line", ENGINES_BUSINESS)
def test_engines_business_elsewhere_is_found(line):
    (found,) = engines_business(Source("evaluation.x", line))
    assert found.startswith("evaluation.x, line 1: ")
    assert engines_business(Source("engines.x", line)) == []


@pytest.mark.parametrize("line", ["with self._lock: pass", "with _lock: pass", "r.grad", "'call energy.backward()'"])
def test_what_is_not_engines_business_is_let_be(line):
    assert engines_business(Source("driver.x", line)) == []


def test_long_files_and_functions_are_found():
    function = "def f():\n" + "    pass\n" * 60
    assert too_long(Source("inputs.x", function)) == ["inputs.x, line 1: f has 61 lines"]
    assert too_long(Source("inputs.x", "x = 1\n" * 401)) == ["inputs.x: 401 lines"]
    assert too_long(Source("inputs.x", "x = 1\n" * 400)) == []
