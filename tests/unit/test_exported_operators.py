# SPDX-License-Identifier: LGPL-2.1-or-later
"""The operators that exported programs may use are what the list says of them, and the engine reaches nothing else."""

import ast
import re
from pathlib import Path

import pytest
import torch
from house_rules import imports_of, read_sources
from program_files import layered_program
from refusals import refused

import kim_torchml.engines
from kim_torchml.engines.exported import operators
from kim_torchml.engines.exported.arguments import _kinds_of
from kim_torchml.engines.exported.operators import (
    ASSERTIONS,
    IN_PLACE,
    NEW,
    PATTERNS,
    SIZE_FUNCTIONS,
    VALUES,
    VIEWS_AND_COMPOSITES,
    find_operator,
)

LISTED = sorted(NEW | VIEWS_AND_COMPOSITES | IN_PLACE)
SOURCES = read_sources(Path(kim_torchml.engines.__file__).parents[1])
COMPILED = "engines.exported.compiled"
# What runs in the process that compiles alone.
IN_THE_WORKER = (f"{COMPILED}.worker", f"{COMPILED}.options")
# What reads and runs a file; what compiles a program gets that out of its hands, and starts another process.
ENGINE = [
    each
    for each in SOURCES
    if (each.module.startswith("engines.exported") and not each.module.startswith(COMPILED))
    or each.module in ("engines.gradient", "engines.returned_tensors")
]


def overload(name):
    namespace, packet, kind = name.split(".")
    return getattr(getattr(getattr(torch.ops, namespace), packet), kind)


def is_composite(name):
    return torch._C._dispatch_has_kernel_for_dispatch_key(overload(name).name(), "CompositeImplicitAutograd")


def test_every_operator_is_listed_once():
    assert len(LISTED) == len(NEW) + len(VIEWS_AND_COMPOSITES) + len(IN_PLACE)


def test_every_operator_exists():
    for name in LISTED:
        operator = find_operator(f"torch.ops.{name}")
        assert operator.name == name
        assert operator.returns, name


@pytest.mark.parametrize("name", ["aten.of_tomorrow.default", "aten.add.OfTomorrow"])
def test_an_operator_of_a_newer_torch(name, monkeypatch):
    monkeypatch.setattr(operators, "NEW", NEW | {name})
    program = layered_program(1)
    program.nodes[2]["target"] = f"torch.ops.{name}"
    program.model["torch_version"] = "2.99.0"
    message = (
        rf"^torch \S+ does not know the operator torch\.ops\.{re.escape(name)} of the program in the model file x\.pt2"
        r", which torch '2\.99\.0' has written: use that version, or a newer one$"
    )
    refused(program.content(), message)


def test_every_type_of_a_parameter_has_kinds_of_arguments():
    for name in LISTED:
        for each in find_operator(f"torch.ops.{name}").parameters:
            assert _kinds_of(each.type), (name, each)


def test_new_results_share_no_memory():
    """Torch's rule: an operator that is no composite says in its schema what its results are views of."""
    for name in NEW:
        assert not is_composite(name), name
        assert all(each.alias_info is None for each in overload(name)._schema.arguments), name


def test_only_those_listed_as_in_place_change_an_argument_the_first():
    for name in LISTED:
        arguments = overload(name)._schema.arguments
        written = [each.name for each in arguments if each.alias_info is not None and each.alias_info.is_write]
        assert written == ([arguments[0].name] if name in IN_PLACE else []), name


def test_no_operator_draws_random_numbers():
    """But for dropout, which must not be in training."""
    for name in LISTED:
        if torch.Tag.nondeterministic_seeded in overload(name).tags:
            assert VALUES[(name, "train")] == (False,), name
        assert not [each.name for each in overload(name)._schema.arguments if "Generator" in str(each.type)], name


def test_values_are_listed_of_parameters_that_exist():
    for name, parameter in (*VALUES, *PATTERNS):
        assert name in LISTED
        assert parameter in [each.name for each in overload(name)._schema.arguments], name


def test_every_text_has_a_list():
    texts = {
        (name, each.name) for name in LISTED for each in overload(name)._schema.arguments if "str" in str(each.type)
    }
    flags = {pair for pair, values in VALUES.items() if values == (False,)}
    assert texts == set(VALUES) - flags | set(PATTERNS)


@pytest.mark.parametrize("equation", ["ij,jk->ik", "...i, ...j -> ...", "zu,zv,uvw->zw", "ii"])
def test_equations(equation):
    assert PATTERNS[("aten.einsum.default", "equation")].fullmatch(equation)


@pytest.mark.parametrize(
    "equation", ["", "ij->->k", 'ij"', "i\\j", "i;j", "i\nj", "a" * 300, "é", "i->" + "j" * 60, "1j"]
)
def test_what_is_no_equation(equation):
    assert not PATTERNS[("aten.einsum.default", "equation")].fullmatch(equation)


def test_assertions_and_arithmetic_are_not_operators():
    for target in (*ASSERTIONS, *SIZE_FUNCTIONS):
        assert find_operator(target) is None


def test_arithmetic_is_that_of_python():
    for target, (function, count) in SIZE_FUNCTIONS.items():
        assert isinstance(function(*(7, 2)[:count]), int | float | bool), target
    assert [SIZE_FUNCTIONS[f"_operator.{name}"][0](7, 2) for name in ("mul", "pow", "sub", "mod")] == [14, 49, 5, 1]


# What reads a file must not be able to reach these.
FORBIDDEN_MODULES = re.compile(
    r"pickle|marshal|shelve|importlib|runpy|subprocess|ctypes|sympy|os|shutil|tempfile|pathlib|dill|code"
    r"|torch\.(?!_C\b)\w+.*"
)
FORBIDDEN_CALLS = re.compile(
    r"(?:.*\.)?(?:eval|exec|compile|open|__import__|import_module|load|loads|save|sympify|system|popen|extract|extractall"
    r"|load_library|codegen|GraphModule|parse_expr)"
)
ALLOWED_CALLS = {"json.loads", "re.compile"}


def test_the_engine_is_looked_at_as_a_whole():
    modules = {each.module for each in ENGINE}
    assert len(modules) > 12
    assert {"engines.exported.reading", "engines.exported.archive", "engines.exported.weights"} <= modules


@pytest.mark.parametrize("source", ENGINE, ids=lambda each: each.module)
def test_the_engine_imports_nothing_that_runs_code(source):
    for line, name in imports_of(source):
        assert not FORBIDDEN_MODULES.fullmatch(name), f"{source.module}, line {line}: {name}"
        assert not FORBIDDEN_MODULES.fullmatch(name.rpartition(".")[0] or name), f"{source.module}, line {line}: {name}"


@pytest.mark.parametrize("source", ENGINE, ids=lambda each: each.module)
def test_the_engine_calls_nothing_that_runs_code(source):
    for call in ast.walk(source.tree):
        if isinstance(call, ast.Call):
            name = ast.unparse(call.func)
            assert not FORBIDDEN_CALLS.fullmatch(name) or name in ALLOWED_CALLS, f"{source.module}: {name}"
        text = ast.unparse(call) if isinstance(call, ast.Attribute) else ""
        if text != "torch.__version__":
            assert not text.startswith(("torch.export", "torch.fx", "torch.jit", "torch.load", "torch._")), text


@pytest.mark.parametrize("source", ENGINE, ids=lambda each: each.module)
def test_attributes_are_looked_up_by_listed_names_alone(source):
    """That is done where the names of operators have been compared with the list, and for functions of arithmetic."""
    found = [
        ast.unparse(call)
        for call in ast.walk(source.tree)
        if isinstance(call, ast.Call) and ast.unparse(call.func) in ("getattr", "setattr", "globals", "vars")
    ]
    expected = {"getattr(getattr(torch.ops.aten, packet), overload)", "getattr(torch.ops.aten, packet)"}
    expected.add("getattr(operator, name)")
    assert set(found) == (expected if source.module == "engines.exported.operators" else set())


@pytest.mark.parametrize(
    "source", [each for each in SOURCES if each.module.startswith(COMPILED)], ids=lambda each: each.module
)
def test_what_compiles_unpickles_and_evaluates_nothing(source):
    modules = {name for _, name in imports_of(source)}
    assert not {name for name in modules if re.match(r"(pickle|marshal|runpy|ctypes|importlib|sympy)\b", name)}
    calls = {ast.unparse(call.func) for call in ast.walk(source.tree) if isinstance(call, ast.Call)}
    assert not {
        name
        for name in calls
        if re.fullmatch(r"(.*\.)?(eval|exec|sympify|system|popen)|torch\.load|.*export\.load", name)
    }
    is_of_worker = source.module in IN_THE_WORKER
    assert is_of_worker == any(re.match(r"torch\.(_inductor|fx|export)", name) for name in modules)


def test_the_compiler_is_imported_by_its_own_process_alone():
    for source in SOURCES:
        names = {name for _, name in imports_of(source)}
        if source.module not in IN_THE_WORKER:
            assert not {
                name for name in names if name.startswith(tuple(f"kim_torchml.{each}" for each in IN_THE_WORKER))
            }
        if source in ENGINE:
            assert not {name for name in names if COMPILED in name}, source.module


@pytest.mark.parametrize(
    "line",
    ["eval(x)", "torch.load(f)", "sympy.sympify(x)", "self._open.load()", "builtins.exec(x)", "zip.extractall()"],
)
def test_calls_that_run_code_are_found(line):
    assert FORBIDDEN_CALLS.fullmatch(ast.unparse(ast.parse(line).body[0].value.func))


@pytest.mark.parametrize("name", ["pickle", "sympy", "torch.export", "torch.fx", "torch.jit", "os", "torch._dynamo"])
def test_modules_that_run_code_are_found(name):
    assert FORBIDDEN_MODULES.fullmatch(name)
