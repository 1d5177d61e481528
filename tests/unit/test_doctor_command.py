# SPDX-License-Identifier: LGPL-2.1-or-later
import json
import re

import pytest
from click.testing import CliRunner
from fake_machine import FakeMachine

from kim_torchml import __version__
from kim_torchml.cli import main
from kim_torchml.doctor import Finding, Status
from kim_torchml.doctor.report import as_json


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run `kim-torchml doctor` on an empty machine; return exit code and what it printed."""
    fake = FakeMachine(tmp_path)
    monkeypatch.setenv("PATH", fake.environment["PATH"])

    def function(*arguments):
        result = CliRunner().invoke(main, ["doctor", *arguments])
        return result.exit_code, result.output

    return function


def pretend(monkeypatch, *findings):
    monkeypatch.setattr("kim_torchml.doctor.examine", lambda machine: (("Group", finding) for finding in findings))


def test_machine_with_nothing(run, tmp_path):
    code, output = run("--json", str(tmp_path / "findings.json"))
    assert code == 1
    assert "problem KIM-API: there is no kim-api-collections-management on PATH" in output
    assert re.search(r"\d problems, \d warnings?: mend it from the top down", output)
    written = json.loads((tmp_path / "findings.json").read_text())
    assert written["version"] == __version__
    first = written["findings"][0]
    assert (first["group"], first["name"], first["status"]) == ("KIM-API", "KIM-API", "problem")
    assert first["commands"][0].startswith("sudo apt-get install")


def test_exit_code(run, monkeypatch):
    pretend(monkeypatch, Finding("a", Status.OK, "fine"), Finding("b", Status.WARNING, "odd"))
    code, output = run()
    assert code == 0
    assert "No problem found, 1 warning." in output
    pretend(monkeypatch, Finding("a", Status.PROBLEM, "not fine"))
    code, output = run()
    assert code == 1
    assert "1 problem, 0 warnings: mend it from the top down, and run this again" in output


def test_lines_fit_80_columns_and_commands_stay_whole(run, monkeypatch):
    command = "export A=" + "/very/long/path" * 10
    pretend(monkeypatch, Finding("name", Status.PROBLEM, "word " * 60, "do :this: [bold]thing[/bold] " * 9, (command,)))
    lines = run()[1].splitlines()
    assert f"            {command}" in lines
    assert max(len(line) for line in lines if command not in line) <= 80
    assert sum(line.count(":this:") for line in lines) == sum(line.count("[bold]") for line in lines) == 9
    assert "\x1b" not in "".join(lines)


def test_json_that_cannot_be_written(run, monkeypatch):
    pretend(monkeypatch, Finding("a", Status.OK, "fine"))
    code, output = run("--json", "/nonexistent/findings.json")
    assert code == 1
    assert "cannot write /nonexistent/findings.json: No such file or directory; name another file" in output


def test_as_json_keeps_everything():
    finding = Finding("name", Status.SKIPPED, "found Å", "advice", ("one", "two"))
    (row,) = json.loads(as_json([("group", finding)]))["findings"]
    assert row == {
        "group": "group",
        "name": "name",
        "status": "skipped",
        "found": "found Å",
        "advice": "advice",
        "commands": ["one", "two"],
    }
