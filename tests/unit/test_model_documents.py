# SPDX-License-Identifier: LGPL-2.1-or-later
"""README.md and kimspec.edn of written models: whatever an author says, they stay what they are."""

import re

import pytest
from models import Edges1, Edges3, Graph1, PairTotal
from saving import save

from kim_torchml.tools.plain_doi import plain_doi

DOI = "10.1000/182"


@pytest.mark.parametrize(
    "text",
    [
        DOI, f" {DOI} ", f"https://doi.org/{DOI}", f"http://dx.doi.org/{DOI}", f"doi.org/{DOI}", f"doi:{DOI}",
        f"DOI: {DOI}", f"HTTPS://www.DOI.org/{DOI}\n",
    ],
)  # fmt: skip
def test_a_doi_is_taken_out_of_its_address(text):
    assert plain_doi(text) == DOI


def test_a_doi_is_given_as_an_address(tmp_path):
    save(Edges1, tmp_path / "model", about={"doi": f"https://doi.org/{DOI}"})
    readme, spec = ((tmp_path / "model" / name).read_text() for name in ("README.md", "kimspec.edn"))
    assert [each for each in re.findall(r"https?://\S*", readme) if "182" in each] == [f"https://doi.org/{DOI}."]
    assert f'"doi" "{DOI}"' in spec


def test_texts_of_several_lines_and_with_bars(tmp_path):
    about = {"title": "A\ntitle | of\n\n## two", "licence": "MIT |\nApache", "authors": ["Marie\nCurie"], "doi": DOI}
    save(Edges1, tmp_path / "model", about=about, made_with={"a|b": "1"})
    lines = (tmp_path / "model" / "README.md").read_text().splitlines()
    assert lines[0] == "# A title | of ## two"
    assert [line for line in lines if line.startswith("#")] == [lines[0], "## Install", "## Run", "## Cite"]
    assert f"Marie Curie: *A title | of ## two*, https://doi.org/{DOI}." in lines
    rows = lines[lines.index("|---|---|") + 1 :]
    rows = rows[: rows.index("")]
    assert r"| licence | MIT \| Apache |" in rows
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 3 for row in rows)
    assert rows[-1].endswith(r", a\|b 1 |")


@pytest.mark.parametrize(
    ("kind", "changes", "expected"),
    [
        (Edges1, {}, '"nn"'),
        (Graph1, {}, '"nn"'),
        (Edges3, {}, '"gnn"'),
        (PairTotal, {"energy": "total"}, "nil"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
def test_a_network_of_one_layer_is_no_graph_network(kind, changes, expected, tmp_path):
    save(kind, tmp_path / "model", **changes)
    assert f'"potential-type" {expected}\n' in (tmp_path / "model" / "kimspec.edn").read_text()
