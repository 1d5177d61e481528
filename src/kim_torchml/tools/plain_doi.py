# SPDX-License-Identifier: LGPL-2.1-or-later
"""DOIs, which are often given as the address that leads there."""

import re

_BEFORE = re.compile(r"((https?://)?(dx\.|www\.)?doi\.org/|doi:\s*)", re.IGNORECASE)


def plain_doi(text: str) -> str:
    """Return a DOI alone, such as 10.1000/182, without an address or `doi:` before it."""
    stripped = text.strip()
    before = _BEFORE.match(stripped)
    return stripped[before.end() :] if before else stripped
