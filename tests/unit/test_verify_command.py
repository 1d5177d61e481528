# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command line of `kim-torchml verify`, without a model."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from kim_torchml.cli import main
from kim_torchml.verification.html_report import html_report
from kim_torchml.verification.result import CheckResult, ModelFacts, Verification
from kim_torchml.verification.table import print_results


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["verify", *arguments])


def test_list_names_ten_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    result = run("--list")
    assert result.exit_code == 0
    assert len(result.output.splitlines()) == 10
    assert re.search(r"^forces-numerical-derivative +A-F +Forces equal", result.output, re.MULTILINE)


def test_model_is_required() -> None:
    result = run()
    assert result.exit_code == 2
    assert "Missing argument 'MODEL'" in result.output


@pytest.mark.parametrize("missing", ["kimpy", "ase"])
def test_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == missing else found(name, *rest)
    )
    result = run("Some_Model")
    assert result.exit_code == 2
    expected = f"Error: kim-torchml verify needs {missing}: python -m pip install 'kim-torchml[verify]'\n"
    assert result.output == expected


def test_matplotlib_is_needed_for_html_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "matplotlib" else found(name, *rest)
    )
    assert "verify needs matplotlib" in run("Some_Model", "--html", str(tmp_path / "x.html")).output
    assert "there is no check nothing" in run("Some_Model", "--check", "nothing").output


def test_help_loads_nothing_heavy() -> None:
    """torch, kimpy and the rest take seconds; --help must not."""
    script = (
        "import sys; from kim_torchml.cli import main\n"
        "try: main(['verify', '--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'kimpy', 'ase', 'numpy', 'matplotlib', 'rich'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


def verification() -> Verification:
    facts = ModelFacts("Model_[bold]<b>", ["Si"], ["Si"], 3.8, [3.8], ["partialEnergy"])
    passed = CheckResult("objectivity", "d", "P/F", "P", 2e-15, "Fine.", {"rows": []}, 1.0)
    failed = CheckResult(
        "memory-leak",
        "d",
        "P/F",
        "F",
        1000.0,
        "Grows [red] <script>alert(1)</script>",
        {"log": ["[/x] <i>said</i>"]},
        1.0,
    )
    missing = CheckResult("forces-numerical-derivative", "d", "A-F", "N/A", None, "No forces.", {}, 0.1)
    return Verification(facts, [passed, failed, missing], 0, "0.1", "2026-01-01", {"failed": "no forces"})


def test_html_escapes_what_models_say() -> None:
    page = html_report(verification())
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "&lt;i&gt;said" in page
    assert "grade-NA" in page
    assert "It could not be run: no forces." in page


def test_table_prints_what_models_say_as_it_is(tmp_path: Path) -> None:
    with (tmp_path / "table").open("w+") as target:
        print_results(Console(file=target, width=100), verification())
        target.seek(0)
        text = target.read()
    assert "Grows [red] <script>alert(1)</script>" in text
    assert "the model said: [/x] <i>said</i>" in text
    assert "1 of 3 checks passed, 1 failed: memory-leak; 1 not applicable" in text
    assert "1000 B" in text


def test_json_says_whether_it_passed() -> None:
    content = json.loads(json.dumps(verification().as_json(), allow_nan=False))
    assert content["passed"] is False
    assert content["results"][1]["grade"] == "F"
    assert content["model"]["name"] == "Model_[bold]<b>"
