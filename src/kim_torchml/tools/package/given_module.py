# SPDX-License-Identifier: LGPL-2.1-or-later
"""The module that an author gives: its type, its device and its mode, which all stay as they are."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.parameter import is_lazy

from kim_torchml.errors import DriverError

# Modules of torch around another one, by the name of the class, and their attribute that is the other one.
_WRAPPERS = {"OptimizedModule": "_orig_mod", "DataParallel": "module", "DistributedDataParallel": "module"}


def check_given(module: torch.nn.Module) -> None:
    """Check that a module is the author's own, not one of torch around it, and has all of its tensors.

    Raises:
        DriverError: If it is not so.
    """
    name = type(module).__name__
    attribute = _WRAPPERS.get(name, "")
    if hasattr(module, attribute):
        raise DriverError(
            f"`module` must be the network itself, got the {name} around it; give its attribute `{attribute}`"
        )
    for tensor_name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if is_lazy(tensor):
            raise DriverError(
                f"`module` must have all of its tensors, got {tensor_name}, which has no size yet; call the module once"
            )


@contextmanager
def evaluated(module: torch.nn.Module) -> Iterator[None]:
    """Let a module evaluate, as the driver does, rather than train; afterwards it is as it was."""
    # A frozen module evaluates for ever, and has no such attribute.
    training = [(each, each.training) for each in module.modules() if hasattr(each, "training")]
    if training:
        module.eval()
    try:
        yield
    finally:
        for each, was_training in training:
            each.training = was_training


@contextmanager
def with_attributes_kept(module: torch.nn.Module) -> Iterator[None]:
    """Give a module the attributes back that it has now, and the contents of those that are lists, dicts or sets.

    A module that keeps what it has computed would keep tensors without values from being exported.
    """
    before = [(vars(each), dict(vars(each))) for each in module.modules()]
    held = [each for _, attributes in before for each in attributes.values() if type(each) in (list, dict, set)]
    contents = [(each, each.copy()) for each in held]
    try:
        yield
    finally:
        for each, content in contents:
            if isinstance(each, list):
                each[:] = content
            else:
                each.clear()
                each.update(content)
        for attributes, known in before:
            for name in attributes.keys() - known.keys():
                del attributes[name]
            attributes.update(known)


def device_of(module: torch.nn.Module) -> torch.device:
    """Return where a module's tensors are; the CPU for a module without any."""
    tensors = [*module.parameters(), *module.buffers()]
    return tensors[0].device if tensors else torch.device("cpu")


def floating_types_of(module: torch.nn.Module) -> list[torch.dtype]:
    """Return the floating types of a module's parameters and buffers, each once."""
    tensors = [*module.parameters(), *module.buffers()]
    return sorted({each.dtype for each in tensors if each.is_floating_point()}, key=str)
