# SPDX-License-Identifier: LGPL-2.1-or-later
"""A model's kimspec.edn: what OpenKIM wants to know of an item, as far as its author has said it."""

import datetime
import json
from collections.abc import Iterator

from kim_torchml.model_files.description import ModelDescription
from kim_torchml.tools.plain_doi import plain_doi

KIMSPEC = "kimspec.edn"

_KIM_API = "2.2"


def kimspec_text(name: str, driver: str, model: ModelDescription, day: datetime.date) -> str:
    """Return the text for a model; what its author has not said is nil.

    Args:
        name: KIM id of the model.
        driver: KIM id of its driver.
        model: What its files say.
        day: Date of the item.
    Source:
        OpenKIM documentation, "kimspec.edn".
    """
    items = "\n ".join(f"{_text(key)} {value}" for key, value in sorted(_items(name, driver, model, day)))
    return f"{{{items}}}\n"


def _items(name: str, driver: str, model: ModelDescription, day: datetime.date) -> Iterator[tuple[str, str]]:
    about = model.about
    authors = _texts(about.get("authors"))
    yield "content-origin", _text(about.get("trained_on"))
    yield "content-other-locations", "nil"
    yield "contributor-id", "nil"
    yield "date", _text(day.isoformat())
    yield "description", _text(about.get("description") or about.get("title"))
    yield "developer", authors
    yield "disclaimer", "nil"
    # This is the item's own, which OpenKIM gives; that of the model's paper is among the citations.
    yield "doi", "nil"
    yield "domain", _text("openkim.org")
    yield "extended-id", _text(name)
    yield "implementer", authors
    yield "kim-api-version", _text(_KIM_API)
    yield "kim-item-type", _text("portable-model")
    yield "license", _text(about.get("licence"))
    yield "maintainer-id", "nil"
    yield "model-driver", _text(driver)
    yield "potential-type", _text(_potential_type(model))
    yield "publication-year", _text(str(day.year))
    yield "source-citations", _citations(name, model)
    yield "species", _texts(list(model.species))
    yield "title", _text(about.get("title"))


def _potential_type(model: ModelDescription) -> str | None:
    if model.n_layers > 1:
        return "gnn"
    # Models of the kind none may be anything.
    return "nn" if model.has_layers or model.descriptor is not None else None


def _citations(name: str, model: ModelDescription) -> str:
    about = model.about
    if "doi" not in about:
        return "nil"
    authors = about.get("authors")
    facts = {
        "recordkey": f"{name}_a",
        "recordtype": "article",
        "recordprimary": "recordprimary",
        "author": " and ".join(authors) if isinstance(authors, list) else None,
        "title": about.get("title"),
        "doi": plain_doi(str(about["doi"])),
    }
    record = " ".join(f"{_text(key)} {_text(value)}" for key, value in facts.items() if value)
    return f"[{{{record}}}]"


def _texts(values: object) -> str:
    return f"[{' '.join(map(_text, values))}]" if isinstance(values, list) else "nil"


def _text(value: object) -> str:
    # Strings of EDN have the escapes of JSON that matter.
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else "nil"
