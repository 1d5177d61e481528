# SPDX-License-Identifier: LGPL-2.1-or-later
"""A network of CHGNet as one of the kind edges, with the network's own weights.

The package keeps one row of features for an edge and its reverse. Here each edge has its own row: both are the same at
all times, as an edge hands on to its reverse what it learns of the angles at its centre.

The first linear layer of a message takes features of atoms, bonds and angles side by side. Here it takes them one by
one, before they are copied to edges and angles, of which there are many more; the sum is the same.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch

from kim_torchml.tools.convert.chgnet_bonds import BondGraph, bond_graph

_Tensors = Sequence[torch.Tensor]


class FixedNorm(torch.nn.Module):
    """A batch normalisation as it is once trained: a factor and a term for each feature.

    Unlike the layer of torch, it can be exported where the number of messages depends on coordinates.
    """

    factor: torch.Tensor
    term: torch.Tensor

    def __init__(self, norm: torch.nn.BatchNorm1d) -> None:
        """Take the numbers of a layer, which must have been trained."""
        super().__init__()
        assert norm.running_mean is not None
        assert norm.running_var is not None
        factor = torch.rsqrt(norm.running_var.detach() + norm.eps) * norm.weight.detach()
        self.register_buffer("factor", factor)
        self.register_buffer("term", norm.bias.detach() - norm.running_mean.detach() * factor)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return normalised features, shape [m, width]."""
        return features * self.factor + self.term


def _fixed(norm: torch.nn.Module | None) -> torch.nn.Module | None:
    return FixedNorm(norm) if isinstance(norm, torch.nn.BatchNorm1d) else norm


class Message(torch.nn.Module):
    """A gated network of CHGNet whose first layers take their input in parts."""

    bias: torch.Tensor

    def __init__(self, gated: Any, widths: Sequence[int]) -> None:
        """Take the layers of a network.

        Args:
            gated: The package's GatedMLP.
            widths: How wide the parts of its input are.
        """
        super().__init__()
        both = [_split(gated.mlp_core), _split(gated.mlp_gate)]
        weights = torch.cat([first.weight for first, _ in both]).detach()
        parts = weights.split(list(widths), dim=1)
        self.weights = torch.nn.ParameterList([torch.nn.Parameter(each.T.contiguous(), False) for each in parts])
        self.register_buffer("bias", torch.cat([_bias_of(first) for first, _ in both]).detach())
        self.core, self.gate = (rest for _, rest in both)
        self.core_norm, self.gate_norm = _fixed(gated.bn1), _fixed(gated.bn2)
        self.activation = gated.activation

    def part(self, index: int, features: torch.Tensor) -> torch.Tensor:
        """Return what one part of the input adds in the first layers."""
        return torch.matmul(features, self.weights[index])

    def forward(self, parts: _Tensors) -> torch.Tensor:
        """Return messages.

        Args:
            parts: What the parts of the input add, each of shape [messages, 2 * width].
        """
        total = self.bias + parts[0]
        for each in parts[1:]:
            total = total + each
        core, gate = total.chunk(2, dim=1)
        core, gate = self.core(core), self.gate(gate)
        if self.core_norm is not None and self.gate_norm is not None:
            core, gate = self.core_norm(core), self.gate_norm(gate)
        return self.activation(core) * torch.sigmoid(gate)  # type: ignore[no-any-return]


def _split(mlp: Any) -> tuple[torch.nn.Linear, torch.nn.Module]:
    """Return the first linear layer of a network, and what comes after it; dropout does nothing once trained."""
    layers = [each for each in mlp.layers if not isinstance(each, torch.nn.Dropout)]
    return layers[0], torch.nn.Sequential(*layers[1:])


def _bias_of(linear: torch.nn.Linear) -> torch.Tensor:
    return linear.weight.new_zeros(linear.out_features) if linear.bias is None else linear.bias


class AtomUpdate(torch.nn.Module):
    """A layer that updates features of atoms, the package's AtomConv."""

    def __init__(self, layer: Any, n_atom: int, n_bond: int) -> None:
        super().__init__()
        self.message = Message(layer.twoBody_atom, (n_atom, n_bond, n_atom))
        self.out = layer.mlp_out if layer.use_mlp_out else torch.nn.Identity()
        self.norm = _fixed(layer.atom_norm)
        self.is_added: bool = layer.resnet

    def forward(
        self, atoms: torch.Tensor, bonds: torch.Tensor, weights: torch.Tensor, edge_index: torch.Tensor
    ) -> torch.Tensor:
        """Return new features of atoms, shape [n, width]."""
        message, (centres, neighbours) = self.message, edge_index.unbind(0)
        parts = [
            message.part(0, atoms).index_select(0, centres),
            message.part(1, bonds),
            message.part(2, atoms).index_select(0, neighbours),
        ]
        found = self.out(torch.zeros_like(atoms).index_add(0, centres, message(parts) * weights))
        return _normalised(found + atoms if self.is_added else found, self.norm)


class BondUpdate(torch.nn.Module):
    """A layer that updates features of bonds by the angles at both of their ends, the package's BondConv."""

    def __init__(self, layer: Any, n_atom: int, n_bond: int, n_angle: int) -> None:
        super().__init__()
        self.message = Message(layer.twoBody_bond, (n_bond, n_bond, n_angle, n_atom))
        self.out = _split(layer.mlp_out)[0] if layer.use_mlp_out else None
        self.norm = _fixed(layer.bond_norm)
        self.is_added: bool = layer.resnet
        has_bias = self.out is not None and self.out.bias is not None
        self.changes_all = has_bias or self.norm is not None or not self.is_added

    def forward(
        self, atoms: torch.Tensor, bonds: torch.Tensor, weights: torch.Tensor, angles: torch.Tensor, graph: BondGraph
    ) -> torch.Tensor:
        """Return new features of bonds, shape [E, width].

        Args:
            atoms: Features of atoms, shape [n, width].
            bonds: Features of bonds, shape [E, width].
            weights: Weights of short bonds, shape [M, width].
            angles: Features of angles, shape [A, width].
            graph: The bond graph.
        """
        parts = _of_angles(self.message, atoms, bonds.index_select(0, graph.edges), angles, graph)
        messages = self.message(parts) * weights.index_select(0, graph.first) * weights.index_select(0, graph.second)
        at_centre = torch.zeros_like(weights).index_add(0, graph.first, messages)
        # Nothing where the reverse edge is not there.
        at_neighbour = torch.nn.functional.pad(at_centre, (0, 0, 1, 0)).index_select(0, graph.reverses)
        found = at_centre + at_neighbour
        before = bonds if self.is_added else torch.zeros_like(bonds)
        if self.out is not None:
            found = found @ self.out.weight.T
            if self.out.bias is not None:
                before = before + self.out.bias
        after = _normalised(before.index_add(0, graph.edges, found), self.norm)
        if not self.changes_all:
            return after
        # The package leaves this layer out where there is no angle at all.
        return torch.where(torch.ones_like(graph.first).sum() > 0, after, bonds)


class AngleUpdate(torch.nn.Module):
    """A layer that updates features of angles, the package's layer of that name."""

    def __init__(self, layer: Any, n_atom: int, n_bond: int, n_angle: int) -> None:
        super().__init__()
        self.message = Message(layer.twoBody_bond, (n_bond, n_bond, n_angle, n_atom))
        self.norm = _fixed(layer.angle_norm)
        self.is_added: bool = layer.resnet

    def forward(self, atoms: torch.Tensor, bonds: torch.Tensor, angles: torch.Tensor, graph: BondGraph) -> torch.Tensor:
        """Return new features of angles, shape [A, width]."""
        parts = _of_angles(self.message, atoms, bonds.index_select(0, graph.edges), angles, graph)
        found = self.message(parts)
        return _normalised(found + angles if self.is_added else found, self.norm)


def _of_angles(
    message: Message, atoms: torch.Tensor, short_bonds: torch.Tensor, angles: torch.Tensor, graph: BondGraph
) -> list[torch.Tensor]:
    """Return what both bonds, the angle and the atom between them add in the first layers of a message."""
    at_centre = message.part(3, atoms).index_select(0, graph.centres)
    return [
        (message.part(0, short_bonds) + at_centre).index_select(0, graph.first),
        message.part(1, short_bonds).index_select(0, graph.second),
        message.part(2, angles),
    ]


def _normalised(features: torch.Tensor, norm: torch.nn.Module | None) -> torch.Tensor:
    return features if norm is None else norm(features)


class ChgnetEdges(torch.nn.Module):
    """A network of CHGNet as one of the kind edges."""

    references: torch.Tensor

    def __init__(self, network: Any) -> None:
        """Take the parts of a network, which it shares with this one.

        Args:
            network: The package's CHGNet, which sums energies of atoms.
        """
        super().__init__()
        n_atom, n_bond = network.atom_fea_dim, network.bond_fea_dim
        n_angle = network.angle_embedding.out_features
        self.bond_cutoff = float(network.graph_converter.bond_graph_cutoff)
        self.embedding = network.atom_embedding.embedding
        self.basis = network.bond_basis_expansion.rbf_expansion_ag
        self.short_basis = network.bond_basis_expansion.rbf_expansion_bg
        self.bond_embedding = network.bond_embedding
        self.bond_weights, self.short_weights = network.bond_weights_ag, network.bond_weights_bg
        self.angle_basis = network.angle_basis_expansion.fourier_expansion
        self.angle_embedding = network.angle_embedding
        self.atom_layers = torch.nn.ModuleList([AtomUpdate(each, n_atom, n_bond) for each in network.atom_conv_layers])
        widths = (n_atom, n_bond, n_angle)
        bond_layers = [BondUpdate(each, *widths) for each in network.bond_conv_layers if each is not None]
        angle_layers = [AngleUpdate(each, *widths) for each in network.angle_layers if each is not None]
        self.bond_layers, self.angle_layers = torch.nn.ModuleList(bond_layers), torch.nn.ModuleList(angle_layers)
        self.norm, self.readout = _fixed(network.readout_norm), network.mlp
        known, weights = network.composition_model, self.embedding.weight
        references = weights.new_zeros(weights.shape[0]) if known is None else known.fc.weight[0]
        self.register_buffer("references", references.detach().clone())

    @property
    def notes(self) -> tuple[str, ...]:
        """What its user should know, a sentence each."""
        if not any(each.changes_all for each in self.bond_layers):
            return ()
        return (
            f"where no two bonds of up to {self.bond_cutoff:g} Å meet, the network leaves layers out, as the package "
            "does; of several MPI ranks each looks at its own atoms alone",
        )

    def forward(self, species: torch.Tensor, edge_index: torch.Tensor, edge_vectors: torch.Tensor) -> torch.Tensor:
        """Return the energy of each row, shape [n], eV: that of its element in the composition model included."""
        lengths = torch.linalg.vector_norm(edge_vectors, dim=1)
        basis = self.basis(lengths)
        atoms, bonds, weights = self.embedding(species), self.bond_embedding(basis), self.bond_weights(basis)
        if self.bond_layers:
            graph = bond_graph(species, edge_index, edge_vectors, lengths, self.bond_cutoff)
            short_weights = self.short_weights(self.short_basis(lengths.index_select(0, graph.edges)))
            directions = (edge_vectors / lengths.unsqueeze(1)).index_select(0, graph.edges)
            angles = self._angles(directions, graph)
        for index, layer in enumerate(self.atom_layers):
            atoms = layer(atoms, bonds, weights, edge_index)
            if index < len(self.bond_layers):
                bonds = self.bond_layers[index](atoms, bonds, short_weights, angles, graph)
                if index < len(self.angle_layers):
                    angles = self.angle_layers[index](atoms, bonds, angles, graph)
        energies = self.readout(_normalised(atoms, self.norm)).squeeze(1)
        return energies + self.references.index_select(0, species)  # type: ignore[no-any-return]

    def _angles(self, directions: torch.Tensor, graph: BondGraph) -> torch.Tensor:
        """Return the first features of angles, shape [A, width].

        Args:
            directions: Unit vectors along short edges, shape [M, 3].
            graph: The bond graph.
        """
        products = directions.index_select(0, graph.first) * directions.index_select(0, graph.second)
        # The derivative of the angle is infinite where edges are parallel; the package keeps away from that likewise.
        angle = torch.acos(products.sum(1) * (1 - 1e-6))
        waves = torch.outer(angle, self.angle_basis.frequencies)
        constant = torch.full_like(angle, 0.5**0.5).unsqueeze(1)
        return self.angle_embedding(  # type: ignore[no-any-return]
            torch.cat([constant, torch.sin(waves), torch.cos(waves)], dim=1) / math.pi**0.5
        )
