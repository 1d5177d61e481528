# SPDX-License-Identifier: LGPL-2.1-or-later
"""Facts about a model for other programs."""

from dataclasses import asdict
from typing import Any

from kim_torchml.model_files.description import ModelDescription
from kim_torchml.tools.model_info.facts import ModelFacts


def as_json(facts: ModelFacts) -> dict[str, Any]:
    """Return all that is known of a model; what is not known is null."""
    found = asdict(facts)
    model = facts.description
    found["description"] = None if model is None else _description(model)
    if facts.opened is not None:
        found["opened"]["compiled"] = facts.opened.compiled or None
    found["problem"] = facts.problem or None
    found["bibtex"] = facts.bibtex or None
    return found


def _description(model: ModelDescription) -> dict[str, Any]:
    return {
        "file": model.file_name,
        "format": model.format,
        "kind": model.kind.lower(),
        "species": list(model.species),
        "species_as": "atomic numbers" if model.atomic_numbers else "codes",
        "cutoff": model.cutoff,
        "layers": model.n_layers if model.has_layers else None,
        "energy": {True: "per particle", False: "total", None: None}[model.energy_per_particle],
        "dtype": model.dtype,
        "returns_forces": model.returns_forces,
        "descriptor": model.descriptor,
        "parameters": None if model.parameters is None else dict(model.parameters),
        "limits": None if model.limits is None else asdict(model.limits),
        "where": "store" if model.in_store else "folder",
        "about": dict(model.about),
        "made_with": dict(model.made_with),
    }
