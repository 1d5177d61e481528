# SPDX-License-Identifier: LGPL-2.1-or-later
"""Environment variables that are on or off."""

import re
from pathlib import Path

import pytest

from kim_torchml.process import notices, settings
from kim_torchml.process.rank import Rank

READERS = {
    settings.ELEMENTS_MAP: settings.wants_atomic_numbers,
    settings.PROFILE: settings.wants_profile,
    settings.QUIET: settings.is_quiet,
    settings.DETERMINISTIC: settings.wants_determinism,
}
ALONE = Rank(None, 0, 1, 1)
DRIVER = Path(__file__).resolve().parents[2] / "kim_driver_cpp"


def test_every_switch_is_read_here():
    assert set(READERS) == set(settings.SWITCHES)


@pytest.mark.parametrize("name", READERS)
def test_what_is_not_set_is_off(name, monkeypatch):
    monkeypatch.delenv(name, raising=False)
    assert READERS[name]() is False


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("value", ["", " ", "0", "false", "False", "no", "NO", "off", " off "])
def test_words_for_off(name, value, monkeypatch):
    monkeypatch.setenv(name, value)
    assert READERS[name]() is False
    assert settings.doubtful_switches() == {}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("value", ["1", "true", "TRUE", "yes", "Yes", "on", " on "])
def test_words_for_on(name, value, monkeypatch):
    monkeypatch.setenv(name, value)
    assert READERS[name]() is True
    assert settings.doubtful_switches() == {}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("value", ["2", "enable", "map.txt", "nein"])
def test_another_word_counts_as_on_with_one_warning(name, value, monkeypatch, talkative, capfd):
    monkeypatch.setenv(name, value)
    assert READERS[name]() is True
    for _ in range(3):
        notices.warn_of_switches(ALONE)
    assert capfd.readouterr().err == (
        f"[kim-torchml] warning: the environment variable {name} must be one of 1, true, yes, on, or 0, false, no, "
        f"off, got '{value}', which counts as on; correct or unset it\n"
    )


@pytest.mark.parametrize("name", READERS)
def test_quiet_leaves_the_warning_out_but_of_itself(name, monkeypatch, talkative, capfd):
    monkeypatch.setenv(settings.QUIET, "1")
    monkeypatch.setenv(name, "nein")
    notices.warn_of_switches(ALONE)
    assert ("got 'nein'" in capfd.readouterr().err) == (name == settings.QUIET)


def test_the_build_reads_switches_by_the_same_words():
    words = re.findall(r'MATCHES "\^\((.*?)\)\$"', (DRIVER / "switches.cmake").read_text())
    assert [each.split("|") for each in words] == [[*filter(None, settings.OFF_WORDS)], [*settings.ON_WORDS]]


def test_the_shim_knows_the_same_words_for_failures():
    words = re.findall(r'\bis\(\w+(?:\(\))?, "(\w+)"\)', (DRIVER / "report.cpp").read_text())
    assert set(words) == set(settings.ON_ERROR_WORDS)
