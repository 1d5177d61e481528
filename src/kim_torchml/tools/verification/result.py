# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a check found, in a form that goes through JSON unchanged."""

from dataclasses import asdict, dataclass, field
from typing import Any

from kim_torchml.tools.verification.grades import FAILED


@dataclass(frozen=True)
class Finding:
    """What a check itself returns.

    Attributes:
        grade: A to D, P, F or N/A.
        error: The measure that was graded; None where there is none.
        comment: One or two sentences: what was found.
        details: What the reports show beyond that; JSON's types only.
    """

    grade: str
    error: float | None
    comment: str
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CheckResult:
    """A finding with its check's name and description.

    Attributes:
        name: Such as forces-numerical-derivative.
        description: What the check does, one sentence.
        grading: "A-F" or "P/F".
        grade: As in Finding.
        error: As in Finding.
        comment: As in Finding.
        details: As in Finding.
        seconds: How long it took.
    """

    name: str
    description: str
    grading: str
    grade: str
    error: float | None
    comment: str
    details: dict[str, Any]
    seconds: float

    @property
    def failed(self) -> bool:
        """Whether the grade is F."""
        return self.grade == FAILED

    def as_json(self) -> dict[str, Any]:
        """Return it as a dictionary of JSON's types."""
        return asdict(self)


@dataclass(frozen=True)
class ModelFacts:
    """What a model says of itself.

    Attributes:
        name: KIM id.
        species: All species that it supports.
        checked: Those that the checks use.
        influence_distance: Å.
        cutoffs: Cutoffs of its neighbour lists, Å.
        outputs: The outputs that it supports, by KIM's names.
    """

    name: str
    species: list[str]
    checked: list[str]
    influence_distance: float
    cutoffs: list[float]
    outputs: list[str]


@dataclass(frozen=True)
class Verification:
    """All that one run of the command found.

    Attributes:
        model: The model.
        results: One by check, in the order of the table.
        seed: Seed of all random numbers.
        version: Version of kim-torchml.
        date: When, ISO 8601.
        nve: The short run at constant energy, if it was asked for (see nve.py).
    """

    model: ModelFacts
    results: list[CheckResult]
    seed: int
    version: str
    date: str
    nve: dict[str, Any] | None = None

    @property
    def failures(self) -> list[CheckResult]:
        """The checks with grade F."""
        return [result for result in self.results if result.failed]

    def as_json(self) -> dict[str, Any]:
        """Return it as a dictionary of JSON's types."""
        return asdict(self) | {"passed": not self.failures}
