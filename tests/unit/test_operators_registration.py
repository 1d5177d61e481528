# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which operators are registered, and when the real packages are used instead.

Registered operators are global, and registering over an installed package aborts the process, so these tests run in
processes of their own.
"""

import textwrap

from fresh_python import run_python
from operator_cases import SEGMENT_REDUCTIONS

from kim_torchml.engines.torchscript.operators import provide_operators

HIDE = """
import sys
sys.modules["torch_scatter"] = sys.modules["torch_sparse"] = None
"""


def fake_package(folder, text):
    """Write a package torch_scatter that is found before any installed one."""
    (folder / "torch_scatter").mkdir()
    (folder / "torch_scatter" / "__init__.py").write_text(textwrap.dedent(text))
    return folder


def test_other_namespaces_are_ignored():
    provide_operators(["aten::add", "image::read_file", "torch_scatter_more::scatter_sum", "x"])


def test_registers_what_is_named_and_refuses_the_package():
    printed = run_python(
        HIDE
        + """
import importlib.util, threading, torch
from kim_torchml.engines.torchscript.operators import provide_operators
names = ["torch_scatter::scatter_min", "torch_scatter::cuda_version"]
threads = [threading.Thread(target=provide_operators, args=(names,)) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
del sys.modules["torch_scatter"], sys.modules["torch_sparse"]
provide_operators(names)
print(torch.ops.torch_scatter.cuda_version(), hasattr(torch.ops.torch_scatter, "scatter_max"))
finders = [finder for finder in sys.meta_path if "kim_torchml" in type(finder).__module__]
print(len(finders), finders[0].find_spec("torch_sparse", None), finders[0].find_spec("math", None))
importlib.util.find_spec("torch_scatter")
for statement in ("import torch_scatter", "import torch_scatter.utils"):
    try:
        exec(statement)
    except ImportError as error:
        print(error)
print("torch_scatter" in sys.modules)
provide_operators(["torch_scatter::scatter_max"])
print(hasattr(torch.ops.torch_scatter, "scatter_max"))
"""
    )
    lines = printed.splitlines()
    assert lines[:2] == ["-1 False", "1 None None"]
    assert lines[2] == lines[3]
    assert lines[2].startswith("torch_scatter cannot be imported in this process any more: kim_")
    assert "importing the real torch_scatter over them would abort the process" in lines[2]
    assert lines[4:] == ["False", "True"]


def test_what_is_not_implemented_is_an_error_that_registers_nothing():
    printed = run_python(
        HIDE
        + """
import torch
from kim_torchml.errors import DriverError
from kim_torchml.engines.torchscript.operators import provide_operators
try:
    provide_operators(["torch_sparse::ind2ptr", "torch_sparse::relabel", "torch_sparse::walk"])
except DriverError as error:
    print(error)
print(hasattr(torch.ops.torch_sparse, "ind2ptr"), len(sys.meta_path) > 0)
"""
    )
    assert printed.splitlines() == [
        "the model names torch_sparse::relabel, torch_sparse::walk, for which kim-torchml has no "
        "replacement, and the package torch_sparse is not installed; install it: "
        "python -m pip install --no-build-isolation torch-scatter torch-sparse",
        "False True",
    ]


USE_FAKE = """
import sys, torch
from kim_torchml.errors import DriverError
from kim_torchml.engines.torchscript.operators import provide_operators
for name in ("torch_scatter::scatter_mul", "torch_scatter::scatter_sum"):
    try:
        provide_operators([name])
        print("provided", torch.ops.torch_scatter.scatter_mul(3))
    except DriverError as error:
        print(error)
print(any("kim_torchml" in type(finder).__module__ for finder in sys.meta_path))
"""


def test_an_installed_package_is_imported_and_never_added_to(tmp_path):
    text = """
    import torch
    library = torch.library.Library("torch_scatter", "DEF")
    library.define("scatter_mul(int x) -> int")
    library.impl("scatter_mul", lambda x: 2 * x, "CompositeImplicitAutograd")
    """
    lines = run_python(USE_FAKE, [fake_package(tmp_path, text)]).splitlines()
    assert lines[0] == "provided 6"
    assert lines[1].startswith(f"the installed torch_scatter ({tmp_path}/torch_scatter/__init__.py)")
    assert "must provide torch_scatter::scatter_sum, which the model names, but does not" in lines[1]
    assert lines[2] == "False"


def test_a_broken_package_is_an_error(tmp_path):
    folder = fake_package(tmp_path, "raise OSError('undefined symbol: x')")
    lines = run_python(USE_FAKE, [folder]).splitlines()
    assert lines[0] == lines[1]
    assert "is installed but cannot be imported (OSError: undefined symbol: x); rein" in lines[0]
    assert lines[2] == "False"


def test_operators_of_others_are_left_alone_and_the_package_is_then_not_imported(tmp_path):
    folder = fake_package(tmp_path, "raise SystemExit('imported')")
    printed = run_python(
        """
        import torch
        library = torch.library.Library("torch_scatter", "FRAGMENT")
        library.define("scatter_mul(int x) -> int")
        library.impl("scatter_mul", lambda x: 5 * x, "CompositeImplicitAutograd")
        from kim_torchml.engines.torchscript.operators import provide_operators
        provide_operators(["torch_scatter::scatter_mul"])
        provide_operators(["torch_scatter::scatter_mul", "torch_scatter::cuda_version"])
        print(torch.ops.torch_scatter.scatter_mul(1), torch.ops.torch_scatter.cuda_version())
        """,
        [folder],
    )
    assert printed.split() == ["5", "-1"]


def test_torchscript_file_runs_with_gradients(tmp_path):
    model = tmp_path / "model.py"
    model.write_text(
        textwrap.dedent("""
        from typing import Optional
        import torch

        class Model(torch.nn.Module):
            def forward(self, x: torch.Tensor, index: torch.Tensor):
                none: Optional[torch.Tensor] = None
                total = torch.ops.torch_scatter.scatter_sum(x * x, index, 0, none, 3)
                torch.ops.torch_scatter.scatter_sum(x, index, 0, total, 3)
                ptr = torch.ops.torch_sparse.ind2ptr(index, 3)
                least, _ = torch.ops.torch_scatter.segment_min_csr(x, ptr, none)
                return total.sum() + 10 * least.sum()
    """)
    )
    names = ["scatter_sum", "segment_min_csr"]
    names = [f"torch_scatter::{name}" for name in names] + ["torch_sparse::ind2ptr"]
    start = (
        HIDE
        + f"""
import torch
from kim_torchml.engines.torchscript.operators import provide_operators
file, names = {str(tmp_path / "model.pt")!r}, {names!r}
"""
    )
    run_python(
        start
        + """
provide_operators(names)
from model import Model
torch.jit.script(Model()).save(file)
""",
        [tmp_path],
    )
    printed = run_python(
        start
        + """
try:
    torch.jit.load(file)
except RuntimeError as error:
    print("Unknown builtin op" in str(error))
provide_operators(names)
model = torch.jit.freeze(torch.jit.load(file).eval())
for _ in range(4):
    x = torch.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    energy = model(x, torch.tensor([0, 0, 1, 1]))
    energy.backward()
    print(energy.item(), x.grad.tolist())
"""
    )
    # The energy is sum(x^2) + sum(x) + 10 (1 + 3), the gradient 2 x + 1, and 10 more for the least x of each segment.
    assert printed.splitlines() == ["True"] + ["80.0 [13.0, 5.0, 17.0, 9.0]"] * 4


def test_published_graph_model_loads_without_the_packages(shared):
    file = shared / "portable_models" / "TorchMLModel3_Graph" / "model_exp.pt"
    names = ["gather_csr", *(f"scatter_{reduce}" for reduce in ("max", "min", "mul"))]
    names += [f"segment_{reduce}_csr" for reduce in SEGMENT_REDUCTIONS]
    names = [f"torch_scatter::{name}" for name in names]
    names += ["torch_sparse::ind2ptr", "torch_sparse::ptr2ind"]
    printed = run_python(
        HIDE
        + f"""
import torch
from kim_torchml.engines.torchscript.operators import provide_operators
provide_operators({names!r})
print(len(list(torch.jit.load({str(file)!r}).parameters())) > 0)
"""
    )
    assert printed.split() == ["True"]
