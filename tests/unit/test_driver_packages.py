# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the driver needs besides torch and numpy: nothing, and no part of the package that is for people."""

from pathlib import Path

from fresh_python import run_python

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples"

# What the tools, the tests and the examples need.
BLOCK = """
import sys

BLOCKED = {"click", "rich", "jinja2", "ase", "kimpy", "scipy", "matplotlib", "torch_geometric"}
BLOCKED |= {"torch_scatter", "torch_sparse"}

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
for name in BLOCKED:
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    raise AssertionError(f"{name} can be imported")
"""

COMPUTE = (
    BLOCK
    + """
from pathlib import Path

from opening import compute
from particles import cluster

from kim_torchml.driver import open_model

for folder in map(Path, sys.argv[1:]):
    names = [path.name for path in sorted(folder.iterdir()) if path.suffix in (".param", ".pt", ".dat")]
    model = open_model(str(folder), names)
    model.prepare()
    results = compute(model, cluster(12, 6.0, n_contributing=8), ["partialEnergy", "partialForces"])
    assert results["partialEnergy"][0] != 0.0
    assert (results["partialForces"] != 0.0).any()
print(*(name for name in sys.modules if name.partition(".")[0] in BLOCKED or name.startswith("kim_torchml.tools")))
"""
)

IMPORT_ALL = (
    BLOCK
    + """
import importlib, pkgutil
import kim_torchml

def modules(folders, prefix):
    for module in pkgutil.iter_modules(folders, prefix):
        if module.name not in ("kim_torchml.tools", "kim_torchml.__main__"):
            package = importlib.import_module(module.name)
            yield module.name
            if module.ispkg:
                yield from modules(package.__path__, module.name + ".")

assert len(list(modules(kim_torchml.__path__, "kim_torchml."))) > 40
print(*(name for name in sys.modules if name.partition(".")[0] in BLOCKED or name.startswith("kim_torchml.tools")))
"""
)


def test_every_kind_of_model_runs_with_torch_and_numpy_alone():
    folders = [EXAMPLES / folder for folder in ("stillinger_weber", "graph", "descriptor")]
    assert run_python(COMPUTE, path=[HERE], arguments=folders).strip() == ""


def test_every_module_but_the_tools_can_be_imported_with_torch_and_numpy_alone():
    assert run_python(IMPORT_ALL).strip() == ""
