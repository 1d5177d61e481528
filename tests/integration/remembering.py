# SPDX-License-Identifier: LGPL-2.1-or-later
"""Let the driver's models tell of their memory: when one is made, handed to a compute, and freed.

Each is a line on stderr. A host's Python imports this file before there is a model; where the driver starts Python, it
is that Python's sitecustomize.py.
"""

import importlib.util
import sys
import weakref
from typing import Any

MODULE = "kim_torchml.driver.model"


def tell(event: str, number: int) -> None:
    sys.stderr.write(f"{event} {number}\n")


def remember(model: Any) -> None:
    """Replace the methods of the class of models."""
    new_memory, compute, numbers = model.new_memory, model.compute, {}

    def telling_new_memory(self: Any) -> Any:
        memory, number = new_memory(self), len(numbers)
        numbers[number] = weakref.ref(memory)
        weakref.finalize(memory, tell, "freed", number).atexit = False
        tell("made", number)
        return memory

    def telling_compute(self: Any, *given: Any) -> None:
        (number,) = (number for number, made in numbers.items() if made() is given[-1])
        tell("used", number)
        compute(self, *given)

    model.new_memory, model.compute = telling_new_memory, telling_compute


class Finder:
    """Replaces the methods as soon as the driver imports its module; Python asks it before all others."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        del path, target
        if name != MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        run = spec.loader.exec_module

        def run_and_replace(module: Any) -> None:
            run(module)
            remember(module.Model)

        spec.loader.exec_module = run_and_replace
        return spec


sys.meta_path.insert(0, Finder())
