# SPDX-License-Identifier: LGPL-2.1-or-later
"""How often a TorchScript model exchanges features with other ranks: as often whatever it is called with."""

from typing import Any

from kim_torchml.engines.torchscript.forbidden import EXCHANGE
from kim_torchml.engines.torchscript.graphs import CALLS, graphs_of, inlined, nodes_of
from kim_torchml.errors import DriverError


def count_exchanges(module: Any, file_name: str) -> int:
    """Return how often a call of a model uses the operator `kim_torchml::exchange`.

    Args:
        module: The loaded model.
        file_name: Name of the model file, for messages.
    Raises:
        DriverError: If that depends on what the model is called with: ranks would wait for each other for ever.
    """
    forward = inlined(module._c._get_method("forward"))
    always = [node.kind() for node in forward.nodes()].count(EXCHANGE)
    inside = [node.kind() for node in nodes_of([forward])]
    # Methods that are chosen only when the model runs are not inlined.
    if any(kind in CALLS for kind in inside):
        graphs = list(graphs_of(module))
        inside += [node.kind() for node in nodes_of(graphs)]
    if inside.count(EXCHANGE) == always:
        return always
    raise DriverError(
        f"the model in {file_name} must call {EXCHANGE} outside of branches and loops, got it in one: ranks could wait "
        "for each other for ever; call it once before each layer (TorchScript unrolls a loop over a ModuleList)"
    )
