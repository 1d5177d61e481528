# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every bad model, through KIM, gives one line on stderr and in KIM's log, and an error that the simulator survives."""

import re
from pathlib import Path

import bad_models as bad
import pytest
import tiny_models as tiny
from configurations import mixed
from kimpy_host import KimpyModel

BAD = {case.model.name: case for case in bad.all_bad_models()}

pytestmark = pytest.mark.usefixtures("bad_models")


def fail(case: bad.Bad) -> str:
    """Use a bad model until it fails, and return the stage that failed."""
    stage = "create"
    try:
        model = KimpyModel(case.model.name, with_arguments=False)
        stage = "arguments"
        model.create_arguments()
        stage = "compute"
        model.compute(mixed())
    except RuntimeError:
        return stage
    return "nothing"


@pytest.mark.parametrize("name", BAD)
def test_is_refused_with_a_reason(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    case = BAD[name]
    assert fail(case) == case.stage
    printed = capfd.readouterr()
    assert printed.out == ""
    assert re.fullmatch(rf"\[kim-torchml\] error: {case.message}\n", printed.err), printed.err
    assert Path("kim.log").read_text().count(printed.err.removeprefix("[kim-torchml] error: ").strip()) == 1
    # The model's code and its pickles would have written files; neither has run.
    assert {path.name for path in Path.cwd().iterdir()} == {"kim.log"}


def test_sound_models_work_after_all_that(capfd: pytest.CaptureFixture[str]) -> None:
    for case in BAD.values():
        fail(case)
    capfd.readouterr()
    KimpyModel(tiny.RAW).compute(mixed())
    assert capfd.readouterr() == ("", "")
