# SPDX-License-Identifier: LGPL-2.1-or-later
"""What tests publish in a cache of compiled programs: a key, facts, and a few bytes in place of native code."""

from kim_torchml.engines.exported.compiled.key import Key
from kim_torchml.engines.exported.compiled.request import Facts

KEY = Key("0" * 64, "float64", 2, "cpu", "AVX2", "2.13.0+cpu abc", "linux x86_64")
FOUND = Facts("program.so", "float64", {1: 2.5, 2: 1.5, 4: 0.9}, 61.0)


def filled(cache, key=KEY, content=b"native code", name="My_Model"):
    """Publish a program in the cache; return its entry."""
    with cache.locked(key, wait=lambda seconds: None), cache.unfinished() as folder:
        (folder / FOUND.library).write_bytes(content)
        return cache.publish(folder, key, name, FOUND)
