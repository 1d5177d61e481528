# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command line of `kim-torchml verify`, without a model."""

import json
import os
import re
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from fresh_python import SOURCE
from rich.console import Console

from kim_torchml.tools import output_file
from kim_torchml.tools.cli import main
from kim_torchml.tools.verification.catalogue import CATALOGUE
from kim_torchml.tools.verification.checks import CHECKS
from kim_torchml.tools.verification.html_report import html_report
from kim_torchml.tools.verification.result import CheckResult, Verification, VerifiedModel
from kim_torchml.tools.verification.table import print_results


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


@pytest.mark.parametrize(("missing", "requirement"), [("kimpy", "'kimpy>=2.1'"), ("ase", "'ase>=3.23'")])
def test_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch, missing: str, requirement: str) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    result = run("Some_Model")
    assert result.exit_code == 2
    assert result.output == (
        f"Error: kim-torchml verify needs {missing}; install what is missing: {sys.executable} -m pip install "
        f"{requirement}\n"
    )


def test_what_is_missing_is_named_without_the_distribution_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_installed(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", not_installed)
    monkeypatch.setitem(sys.modules, "kimpy", None)
    assert run("Some_Model").output.endswith("-m pip install kimpy\n")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise ImportError('libkim-api.so.2: cannot open')", "ImportError: libkim-api.so.2: cannot open"),
        ("import nothing_of_that_name", "ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("raise ValueError('numpy.dtype size changed')", "ValueError: numpy.dtype size changed"),
    ],
)
def test_broken_package_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, reason: str) -> None:
    (tmp_path / "kimpy.py").write_text(f"{code}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "kimpy", raising=False)
    result = run("Some_Model")
    assert result.exit_code == 2
    assert result.output == (
        f"Error: kim-torchml verify needs kimpy, which is there but cannot be imported by {sys.executable} "
        f"({reason}); `kim-torchml doctor` says what to do\n"
    )


def test_matplotlib_is_needed_for_html_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "verify needs matplotlib" in run("Some_Model", "--html", str(tmp_path / "x.html")).output
    assert "there is no check nothing" in run("Some_Model", "--check", "nothing").output


def test_catalogue_is_that_of_the_checks() -> None:
    assert list(CATALOGUE) == list(CHECKS)


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let checks take no time; the list has one entry for each run."""
    runs = []

    def verify_at_once(options: object, console: object) -> Verification:
        runs.append(1)
        return verification()

    monkeypatch.setattr("kim_torchml.tools.verification.progress.with_progress", verify_at_once)
    return runs


OUT_OF_RANGE = "is not in the range 0<x<=86400.0."


@pytest.mark.parametrize(
    ("seconds", "reason"),
    [
        ("inf", OUT_OF_RANGE),
        ("1e12", OUT_OF_RANGE),
        ("86401", OUT_OF_RANGE),
        ("0", OUT_OF_RANGE),
        ("nan", "is no number of seconds."),
    ],
)
def test_timeout_that_is_none(found: list[int], seconds: str, reason: str) -> None:
    result = run("Some_Model", "--timeout", seconds)
    assert result.exit_code == 2
    assert re.search(rf"Invalid value for '--timeout': \S+ {re.escape(reason)}\n", result.output)
    assert found == []


def test_one_file_for_both_reports(found: list[int], tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("report")
    result = run("Some_Model", "--html", str(tmp_path / "report"), "--json", str(tmp_path / "link"))
    assert result.exit_code == 2
    assert f"Error: --html and --json both name {tmp_path / 'report'}: name two files\n" in result.output
    assert found == []


# Longer than file systems allow: root, too, cannot write it.
LONG = f"{'x' * 300}.out"


@pytest.mark.parametrize("option", ["--html", "--json"])
def test_file_that_cannot_be_written_is_found_before_the_work(found: list[int], tmp_path: Path, option: str) -> None:
    other = {"--html": "--json", "--json": "--html"}[option]
    result = run("Some_Model", option, str(tmp_path / LONG), other, str(tmp_path / "fine"))
    assert result.exit_code == 2
    assert result.output == f"Error: cannot write {tmp_path / LONG}: File name too long; name another file\n"
    assert found == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux's /dev/full stands for a full disk")
def test_disk_that_is_full_after_the_work(found: list[int], tmp_path: Path) -> None:
    result = run("Some_Model", "--json", "/dev/full", "--html", str(tmp_path / "report.html"))
    assert result.exit_code == 2
    assert result.output.endswith(
        "Error: cannot write /dev/full: No space left on device; make room there, or name another file\n"
    )
    # Neither the table nor the other file is lost.
    assert "1 of 3 checks passed" in result.output
    assert (tmp_path / "report.html").exists()


def test_no_temporary_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**options: str) -> None:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", full)
    result = run("Some_Model", "--check", "objectivity")
    assert result.exit_code == 2
    assert result.output == (
        "Error: checks need a temporary folder, but none can be made (No usable temporary directory found in "
        "['/tmp']); name a folder that can be written in TMPDIR\n"
    )


def test_no_part_of_a_new_file_stays(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-c", _ON_A_SMALL_DISK, str(tmp_path / "file")], check=True, env={"PYTHONPATH": str(SOURCE)}
    )
    assert list(tmp_path.iterdir()) == []


_ON_A_SMALL_DISK = """
import resource, signal, sys
from pathlib import Path
from kim_torchml.tools import output_file
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
path = Path(sys.argv[1])
assert output_file.why_not_writable(path) == output_file.write(path, "x" * 5000) == "File too large"
assert output_file.write(path, "x" * 500) == ""
assert output_file.why_not_writable(path) == ""
assert path.read_text() == "x" * 500
path.unlink()
"""


def test_targets_stay_as_they_are_when_tried(tmp_path: Path) -> None:
    file, link, pipe = (tmp_path / name for name in ("file", "link", "pipe"))
    file.write_text("of yesterday")
    link.symlink_to("not_yet")
    os.mkfifo(pipe)
    for path in (file, link, pipe, tmp_path / "new"):
        assert output_file.why_not_writable(path) == ""
    assert file.read_text() == "of yesterday"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link", "pipe"]
    assert output_file.write(link, "new") == ""
    assert (tmp_path / "not_yet").read_text() == "new"


@pytest.mark.parametrize(("option", "loaded"), [("--help", "[]\n"), ("--list", "['rich']\n")])
def test_help_and_list_load_nothing_heavy(option: str, loaded: str) -> None:
    """torch, kimpy and the rest take seconds, or are not there."""
    script = (
        "import sys; from kim_torchml.tools.cli import main\n"
        f"try: main(['verify', '{option}'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'kimpy', 'ase', 'numpy', 'matplotlib', 'rich'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == loaded


def verification() -> Verification:
    model = VerifiedModel("Model_[bold]<b>", ["Si"], ["Si"], 3.8, [3.8], ["partialEnergy"])
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
    return Verification(model, [passed, failed, missing], 0, "0.1", "2026-01-01", {"failed": "no forces"})


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
