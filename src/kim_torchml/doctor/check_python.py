# SPDX-License-Identifier: LGPL-2.1-or-later
"""Python environments: torch, numpy, the requested device, the operators, and ASE with kimpy."""

import sys
from pathlib import Path

from kim_torchml import settings
from kim_torchml.device_request import parse_device_request
from kim_torchml.doctor.finding import Finding, ok, problem, skipped, warning
from kim_torchml.doctor.kim_api import linked_library
from kim_torchml.doctor.machine import Machine

OLDEST_TORCH = (2, 4)


def check_torch(machine: Machine) -> list[Finding]:
    """Check that each environment that the driver may run in has a torch and a numpy that can be imported."""
    findings = []
    for python in machine.pythons:
        environment = machine.probe(python)
        if environment.failure:
            found = f"{python} does not run: {environment.failure}"
            findings.append(
                problem("Python", found, "Make the environment anew:", f"python3 -m venv '{python.parents[1]}'")
            )
            continue
        findings.append(_check_package(machine, python, "torch", "torch>=2.4"))
        numpy = _check_package(machine, python, "numpy", "numpy")
        findings += [numpy] if numpy.commands else []
    return findings


def _check_package(machine: Machine, python: Path, name: str, requirement: str) -> Finding:
    install = f"'{python}' -m pip install '{requirement}'"
    package = machine.package(python, name)
    if not package.version:
        return problem(name, f"{name} is not installed in the environment of {python}", "Install it:", install)
    if package.failure:
        found = f"{name} {package.version} cannot be imported in the environment of {python}: {package.failure}"
        again = f"'{python}' -m pip install --force-reinstall --no-deps '{requirement}'"
        return problem(name, found, "Install it again:", again)
    if name == "torch" and _numbers(package.version) < OLDEST_TORCH:
        found = f"{package.version} ({python}) is too old: 2.4 or newer is needed"
        return problem(name, found, "Install a newer one, then the driver again:", f"{install} --upgrade")
    return ok(name, f"{package.version} (Python {machine.probe(python).version}, {python})")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int("".join(c for c in part if c.isdigit()) or 0) for part in version.split(".")[:2])


def check_device(machine: Machine) -> list[Finding]:
    """Check that the device that is asked for is there."""
    text = machine.environment.get(settings.DEVICE, "").strip() or "cpu"
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


def check_operators(machine: Machine) -> list[Finding]:
    """Check that torch_scatter and torch_sparse are either absent, and replaced, or can be imported."""
    findings = []
    for python in machine.pythons:
        for name in ("torch_scatter", "torch_sparse"):
            if not machine.package(python, "torch").facts:
                findings.append(skipped(name, f"needs torch in the environment of {python}"))
                continue
            findings.append(_check_operators_of(machine, python, name))
    return findings


def _check_operators_of(machine: Machine, python: Path, name: str) -> Finding:
    package = machine.package(python, name)
    pip = f"'{python}' -m pip"
    if not package.version:
        return ok(name, f"not installed: kim-torchml's own operators stand in ({python})")
    if package.failure:
        found = f"{package.version} cannot be imported in the environment of {python}: {package.failure}"
        advice = "Remove it (kim-torchml's own operators then stand in), or build it for the torch that is there:"
        rebuild = f"{pip} install --force-reinstall --no-deps --no-build-isolation {name.replace('_', '-')}"
        return problem(name, found, advice, f"{pip} uninstall {name.replace('_', '-')}", rebuild)
    return ok(name, f"{package.version}, installed and used ({python})")


def check_ase(machine: Machine) -> list[Finding]:
    """Check that ASE can run models in this environment: with kimpy, linked with the same KIM-API as KIM's tools."""
    python = Path(sys.executable)
    ase, kimpy = (machine.package(python, name) for name in ("ase", "kimpy"))
    install = f"'{python}' -m pip install ase kimpy"
    if not ase.version or not kimpy.version:
        missing = " and ".join(name for name, package in (("ase", ase), ("kimpy", kimpy)) if not package.version)
        found = f"{missing} not installed in the environment of {python}; ASE and `kim-torchml replay` need both"
        return [skipped("ASE", found, "To run models in ASE:", install)]
    for name, package in (("ase", ase), ("kimpy", kimpy)):
        if package.failure:
            found = f"{name} {package.version} cannot be imported: {package.failure}"
            advice = "Build it again, for the KIM-API that is there:" if name == "kimpy" else "Install it again:"
            again = f"'{python}' -m pip install --force-reinstall --no-deps --no-cache-dir {name}"
            return [problem("ASE", found, advice, again)]
    library = linked_library(kimpy.facts["library"], "libkim-api.so", machine.environment)
    if other := machine.other_kim_api(library):
        found = f"kimpy is linked with {library}, but KIM's tools with {other}: each has collections of its own"
        advice = "Build kimpy for the KIM-API whose tools are first on PATH:"
        again = f"'{python}' -m pip install --force-reinstall --no-deps --no-cache-dir --no-binary kimpy kimpy"
        return [warning("ASE", found, advice, again)]
    return [ok("ASE", f"{ase.version}, with kimpy {kimpy.version}")]
