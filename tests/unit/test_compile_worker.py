# SPDX-License-Identifier: LGPL-2.1-or-later
"""The process that compiles: which package it runs."""

import sys

import pytest
import torch
from program_files import signature_of

from kim_torchml.engines import NotCompiledError
from kim_torchml.engines.exported.compiled import build
from kim_torchml.engines.exported.compiled.request import CompileRequest

WORKER = """
import json, sys
import colorsys

def main(parent):
    sys.stdin.read()
    place = "from the package" if hasattr(colorsys, "FROM_THE_PACKAGE") else "from Python"
    print(json.dumps({"failed": f"{__file__}, colorsys {place}, first {sys.path[0]}", "is_explained": True}))
"""


def test_it_runs_the_package_of_this_process_and_nothing_else_of_its_folder(tmp_path, monkeypatch):
    """The folder of a driver's package is on sys.path while the package is imported, and not later."""
    folder = tmp_path / "kim_torchml" / "engines" / "exported" / "compiled"
    folder.mkdir(parents=True)
    for package in (folder, *list(folder.parents)[:3]):
        (package / "__init__.py").touch()
    (folder / "worker.py").write_text(WORKER)
    (tmp_path / "colorsys.py").write_text("FROM_THE_PACKAGE = True\n")
    monkeypatch.setattr(build, "_FOLDER_OF_PACKAGE", tmp_path)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    request = CompileRequest.of("model.pt2", "model.pt2", str(tmp_path), torch.device("cpu"), signature_of())
    monkeypatch.setattr(sys, "path", ["", "/one", *sys.path])
    with pytest.raises(NotCompiledError) as caught:
        build._run_worker(request, scratch, lambda progress: None)
    assert str(caught.value) == f"{folder / 'worker.py'}, colorsys from Python, first /one"
