# SPDX-License-Identifier: LGPL-2.1-or-later
"""What tells two processors apart, as far as native code depends on it."""

import platform
import re

import pytest

from kim_torchml.process import processor as processor_module
from kim_torchml.process.processor import processor

X86 = (
    "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu sse2 avx2 fma ibrs\n\nprocessor\t: 1\nmodel name\t: other\n"
)
ARM = "processor\t: 0\nFeatures\t: fp asimd sve\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n\n"


@pytest.fixture
def told(monkeypatch, tmp_path):
    """A function that returns what is said of a machine whose system tells a text."""

    def of(text):
        path = tmp_path / f"cpuinfo{len(list(tmp_path.iterdir()))}"
        path.write_text(text)
        monkeypatch.setattr(processor_module, "_FACTS", path)
        return processor()

    return of


def test_name_and_instructions(told):
    assert re.fullmatch(r"AMD EPYC \([0-9a-f]{8}\)", told(X86))
    assert re.fullmatch(r"0x41 0xd40 \([0-9a-f]{8}\)", told(ARM))


def test_what_makes_another_processor(told):
    assert told(X86.replace("avx2 ", "avx2 avx512f ")) != told(X86)
    assert told(X86.replace("AMD EPYC", "AMD Ryzen")) != told(X86)
    assert told(ARM.replace(" sve", "")) != told(ARM)


def test_order_and_flags_of_the_kernel_make_no_other(told):
    assert told(X86.replace("fpu sse2 avx2 fma ibrs", "md_clear fma sse2 avx2")) == told(X86)


def test_a_system_that_tells_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(processor_module, "_FACTS", tmp_path / "none")
    assert processor().startswith(f"{platform.machine()} (")


def test_this_machine():
    assert processor() == processor()
