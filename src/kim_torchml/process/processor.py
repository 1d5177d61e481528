# SPDX-License-Identifier: LGPL-2.1-or-later
"""What this machine's processor can do, as far as native code depends on it."""

import hashlib
import platform
import re
from functools import cache
from pathlib import Path

_FACTS = Path("/proc/cpuinfo")
# Instructions of x86 that a compiler uses of its own accord, by the names that Linux has for them. Other flags tell of
# the kernel too, and change with it.
_INSTRUCTIONS = re.compile(
    r"(mmx|p?sse|ssse|avx|fma|f16c|bmi|abm|lzcnt|popcnt|movbe|adx|amx|xop|tbm|sha_?ni|cx16|cmov)"
)


def processor() -> str:
    """Return the processor's name, and a digest of the instructions that it has.

    Compilers are told to use all that the machine has: the code of one processor may end a process on another one, even
    where both have the same vector instructions.
    """
    facts = _facts(_FACTS)
    flags = facts.get("flags", "").split()
    instructions = [each for each in flags if _INSTRUCTIONS.match(each)] or facts.get("Features", "").split()
    name = facts.get("model name") or " ".join(facts[each] for each in ("CPU implementer", "CPU part") if each in facts)
    digest = hashlib.sha256(" ".join(sorted(set(instructions))).encode()).hexdigest()[:8]
    return f"{name or platform.machine()} ({digest})"


@cache
def _facts(path: Path) -> dict[str, str]:
    """Return what the system tells of the first core; nothing where it tells nothing.

    It is asked once: on a machine of many cores that takes milliseconds.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    lines = text.partition("\n\n")[0].splitlines()
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
