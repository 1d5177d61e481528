# SPDX-License-Identifier: LGPL-2.1-or-later
"""The model of a folder as a calculator for ASE, which computes as the driver does."""

from collections.abc import Sequence
from typing import Any

import torch
from ase.calculators.calculator import Calculator, all_changes

from kim_torchml.tools.convert.comparison import results_of
from kim_torchml.tools.convert.default_dtype import default_dtype
from kim_torchml.tools.model_check.loaded_model import LoadedModel


class FolderCalculator(Calculator):
    """Computes with a model of any kind as the driver runs it, images as particles of their own."""

    def __init__(self, model: LoadedModel) -> None:
        super().__init__()
        self.implemented_properties = ["energy", "forces", "stress"]
        self._model = model

    def calculate(
        self, atoms: Any = None, properties: Sequence[str] = ("energy",), system_changes: Sequence[str] = all_changes
    ) -> None:
        """Compute energy, forces and, of a crystal, the stress."""
        super().calculate(atoms, properties, system_changes)
        # What a simulator leaves as it is.
        with default_dtype(torch.float32):
            energy, forces, stress = results_of(self._model, atoms)
        self.results = {"energy": energy, "forces": forces}
        if stress is not None:
            self.results["stress"] = stress
