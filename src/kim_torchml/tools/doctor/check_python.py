# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks of Python environments: torch, numpy, the requested device, the operators, and ASE with kimpy."""

import sys
from pathlib import Path

from kim_torchml.errors import shortened
from kim_torchml.process import settings
from kim_torchml.process.device_request import parse_device_request
from kim_torchml.process.imports import PYTHON_PATH
from kim_torchml.process.oldest_versions import OLDEST_EXPORTING_TORCH, OLDEST_TORCH, is_older
from kim_torchml.process.operator_packages import OPERATOR_PACKAGES, OperatorPackage
from kim_torchml.tools.doctor.environments import Package
from kim_torchml.tools.doctor.finding import Finding, ok, problem, skipped, warning
from kim_torchml.tools.doctor.machine import Machine
from kim_torchml.tools.doctor.remedies import pip_remedy
from kim_torchml.tools.kim_collections.kim_api import linked_library

TORCH = f"torch>={OLDEST_TORCH}"

# With these arguments pip replaces the damaged package and leaves its dependencies alone.
_AGAIN = ("install", "--force-reinstall", "--no-deps")


def check_torch_and_numpy(machine: Machine) -> list[Finding]:
    """Check that torch and numpy can be imported in each environment that the driver may run in."""
    findings = []
    for python in machine.pythons:
        environment = machine.environment_of(python)
        if environment.failure:
            # This environment belongs to a driver, so check_drivers.py says what to do.
            findings.append(skipped("Python", f"{python} does not run: {environment.failure}"))
            continue
        findings.append(_check_package(machine, python, "torch", TORCH))
        numpy = _check_package(machine, python, "numpy", "numpy")
        findings += [numpy] if numpy.commands else []
    return findings


def _check_package(machine: Machine, python: Path, name: str, requirement: str) -> Finding:
    package = machine.package(python, name)
    if not package.version:
        found = f"{name} is not installed in the environment of {python}"
        return problem(name, found, *pip_remedy(machine, python, "Install it:", "install", requirement))
    if package.blamed:
        return _blaming_variables(machine, python, name, package)
    if package.failure:
        found = f"{name} {package.version} cannot be imported in the environment of {python}: {package.failure}"
        return problem(name, found, *pip_remedy(machine, python, "Install it again:", *_AGAIN, requirement))
    if name == "torch" and is_older(package.version, OLDEST_TORCH):
        found = f"{package.version} ({python}) is too old: {OLDEST_TORCH} or newer is needed"
        advice = "Install a newer one, then the driver anew (install --force):"
        return problem(name, found, *pip_remedy(machine, python, advice, "install", "--upgrade", requirement))
    if package.facts.get("torchscript") is False:
        switched_off = f"TorchScript is switched off in torch {package.version} ({python})"
        found = f"{switched_off}, so no model that is a .pt file can be loaded"
        return problem(name, found, "Remove the environment variable that does it:", "unset PYTORCH_JIT")
    remark = ""
    if name == "torch" and is_older(package.version, OLDEST_EXPORTING_TORCH):
        remark = f"; saving models as .pt2 files needs torch {OLDEST_EXPORTING_TORCH}"
    return ok(name, f"{package.version} (Python {machine.environment_of(python).version}, {python}){remark}")


def _blaming_variables(machine: Machine, python: Path, name: str, package: Package) -> Finding:
    """Return the finding that environment variables keep a package from being imported."""
    described = [f"{each} is set to '{shortened(machine.variables[each], 100)}'" for each in package.blamed]
    advice = "Remove it:" if len(package.blamed) == 1 else "Remove them together, because fewer do not help:"
    if PYTHON_PATH in package.blamed and package.folder:
        # The whole value may be long, and be cut before the folder that matters.
        described[package.blamed.index(PYTHON_PATH)] = f"{PYTHON_PATH} names '{package.folder}'"
        advice = f"{advice[:-1]}; if you need other folders on {PYTHON_PATH}, take only '{package.folder}' out of it:"
    found = (
        f"{name} {package.version} cannot be imported in the environment of {python} while {' and '.join(described)}: "
        f"{package.failure}"
    )
    return problem(name, found, advice, f"unset {' '.join(package.blamed)}")


def check_device(machine: Machine) -> list[Finding]:
    """Check that torch sees the device that is asked for."""
    text = machine.variables.get(settings.DEVICE, "").strip() or "cpu"
    request = parse_device_request(text)
    if request is None:
        advice = "Ask for cpu, cuda or cuda:N:"
        found = f"{settings.DEVICE} must be cpu, cuda or cuda:N, got '{text}'"
        return [problem("device", found, advice, f"export {settings.DEVICE}=cpu")]
    findings = []
    for python in machine.pythons:
        facts = machine.package(python, "torch").facts
        if not facts:
            findings.append(skipped("device", f"needs torch in the environment of {python}"))
            continue
        gpus = facts["gpus"]
        listed = ", ".join(["cpu", *(f"cuda:{index} ({gpu})" for index, gpu in enumerate(gpus))])
        wanted = 0 if request.index is None else request.index
        if request.kind == "cuda" and wanted >= len(gpus):
            findings.append(_no_such_gpu(text, python, listed, bool(facts["cuda"])))
        elif facts["cuda"] and not gpus:
            found = f"'{text}'; torch is built for CUDA {facts['cuda']}, but sees no GPU ({python})"
            findings.append(
                warning("device", found, "If this machine has a GPU, see whether its driver works:", "nvidia-smi")
            )
        else:
            findings.append(ok("device", f"'{text}'; torch sees: {listed} ({python})"))
    return findings


def _no_such_gpu(text: str, python: Path, listed: str, built_for_cuda: bool) -> Finding:
    found = f"{settings.DEVICE} asks for '{text}', but torch in the environment of {python} sees only: {listed}"
    if built_for_cuda:
        advice = "See whether the GPU's driver works and CUDA_VISIBLE_DEVICES hides nothing, or run on the CPU:"
        return problem(
            "device", found, advice, "nvidia-smi", "unset CUDA_VISIBLE_DEVICES", f"export {settings.DEVICE}=cpu"
        )
    advice = "This torch is built without CUDA. Install a CUDA build of it (pytorch.org says which), or run on the CPU:"
    return problem("device", found, advice, f"export {settings.DEVICE}=cpu")


def check_operator_packages(machine: Machine) -> list[Finding]:
    """Check that the packages whose operators models may name can be imported where they are installed."""
    findings = []
    for python in machine.pythons:
        for package in OPERATOR_PACKAGES.values():
            is_installed = bool(machine.environment_of(python).installed.get(package.module))
            # Few models name operators of those that have no stand-ins.
            if not is_installed and not package.has_stand_ins:
                continue
            if not machine.package(python, "torch").facts:
                findings.append(skipped(package.module, f"needs torch in the environment of {python}"))
                continue
            findings.append(_check_operators_of(machine, python, package))
    return findings


def _check_operators_of(machine: Machine, python: Path, operators: OperatorPackage) -> Finding:
    name = operators.module
    package = machine.package(python, name)
    if not package.version:
        return ok(name, f"not installed: kim-torchml's own operators stand in ({python})")
    if package.blamed:
        return _blaming_variables(machine, python, name, package)
    if package.failure:
        found = f"{package.version} cannot be imported in the environment of {python}: {package.failure}"
        if operators.has_stand_ins:
            advice = "Remove it (kim-torchml's own operators then stand in), or build it for the torch that is there:"
        else:
            advice = "Remove it if no model of yours needs it, or build it for the torch that is there:"
        remove = pip_remedy(machine, python, advice, "uninstall", operators.distribution)
        rebuild = pip_remedy(machine, python, advice, *_AGAIN, "--no-build-isolation", operators.requirements[-1])
        return problem(name, found, *dict.fromkeys((*remove, *rebuild)))
    return ok(name, f"{package.version}, installed and used ({python})")


def check_ase_and_kimpy(machine: Machine) -> list[Finding]:
    """Check that ASE and kimpy can be imported here, and that kimpy uses the same KIM-API as KIM's tools."""
    python = Path(sys.executable)
    ase, kimpy = (machine.package(python, name) for name in ("ase", "kimpy"))
    if not ase.version or not kimpy.version:
        missing = " and ".join(name for name, package in (("ase", ase), ("kimpy", kimpy)) if not package.version)
        found = f"{missing} not installed in the environment of {python}; ASE, replay and verify need both"
        return [skipped("ASE", found, *pip_remedy(machine, python, "To have them:", "install", "ase", "kimpy"))]
    # A wheel in the cache of pip may have been built for another KIM-API.
    build = (*_AGAIN, "--no-cache-dir", "--no-binary", "kimpy", "kimpy")
    for name, package in (("ase", ase), ("kimpy", kimpy)):
        if package.failure:
            found = f"{name} {package.version} cannot be imported: {package.failure}"
            if name == "ase":
                return [problem("ASE", found, *pip_remedy(machine, python, "Install it again:", *_AGAIN, "ase"))]
            advice = "Build it again, for the KIM-API that is there:"
            return [problem("ASE", found, *pip_remedy(machine, python, advice, *build))]
    library = linked_library(kimpy.facts["library"], "libkim-api.so", machine.variables)
    if other := machine.other_kim_api(library):
        found = f"kimpy is linked with {library}, but KIM's tools with {other}: each has collections of its own"
        advice = "Build kimpy for the KIM-API whose tools are first on PATH:"
        return [warning("ASE", found, *pip_remedy(machine, python, advice, *build))]
    return [ok("ASE", f"{ase.version}, with kimpy {kimpy.version}")]


def check_report_packages(machine: Machine) -> list[Finding]:
    """Check that the packages of `kim-torchml verify --html` can be imported where they are installed."""
    python = Path(sys.executable)
    return [
        problem(
            name,
            f"{name} {package.version} cannot be imported: {package.failure}; `kim-torchml verify --html` needs it",
            *pip_remedy(machine, python, "Install it again:", *_AGAIN, name),
        )
        for name, package in ((name, machine.package(python, name)) for name in ("jinja2", "matplotlib"))
        if package.failure
    ]
