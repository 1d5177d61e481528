# SPDX-License-Identifier: LGPL-2.1-or-later
"""How to cite a model, in BibTeX, from what its author says about it."""

import re
import unicodedata
from collections.abc import Mapping

from kim_torchml.errors import printable
from kim_torchml.tools.plain_doi import plain_doi

# What TeX takes for something else than itself.
_ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
}


def bibtex(about: Mapping[str, object], name: str) -> str:
    """Return an entry of BibTeX; empty where the author has given neither a title nor names.

    It has no year: [about] gives none, and that in a kimspec.edn is the item's own, not that of the work to cite.

    Args:
        about: The table [about] of model.toml.
        name: KIM id of the model, for the entry's key.
    """
    title, doi = about.get("title"), about.get("doi")
    authors = _names(about.get("authors"))
    if not title and not authors:
        return ""
    fields = {}
    if authors:
        fields["author"] = " and ".join(map(_tex, authors))
    fields["title"] = f"{{{_tex(str(title or name))}}}"
    if doi:
        fields["doi"] = _tex(plain_doi(str(doi)))
    lines = [f"  {key:<6} = {{{value}}}," for key, value in fields.items()]
    return "\n".join([f"@misc{{{_key(name, authors)},", *lines, "}"])


def _names(authors: object) -> list[str]:
    return [each for each in map(str, authors) if each.strip()] if isinstance(authors, list) else []


def _key(name: str, authors: list[str]) -> str:
    """Return a key in ASCII: the first author's last name and the model's name."""
    if not authors:
        return name
    first = authors[0]
    last = first.split(",")[0] if "," in first else first.split()[-1]
    ascii_only = unicodedata.normalize("NFKD", last).encode("ascii", "ignore").decode()
    key = re.sub(r"[^A-Za-z0-9-]", "", ascii_only)
    return f"{key.lower()}-{name}" if key else name


def _tex(text: str) -> str:
    line = printable(" ".join(text.split()))
    return "".join(_ESCAPES.get(letter, letter) for letter in line)
