# SPDX-License-Identifier: LGPL-2.1-or-later
"""What checks found, in types that can be written as JSON and read back unchanged."""

from dataclasses import asdict, dataclass, field
from typing import Any

from kim_torchml.tools.verification.grades import FAILED


@dataclass(frozen=True)
class CheckOutcome:
    """What a check itself returns.

    Attributes:
        grade: A to D, P, F or N/A.
        error: the measure that was graded; None if there is none.
        comment: one or two sentences that say what was found.
        details: further entries for the reports, of JSON's types only.
    """

    grade: str
    error: float | None
    comment: str
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CheckResult:
    """The outcome of a check, with the check's name and description.

    Attributes:
        name: name of the check, such as forces-numerical-derivative.
        description: one sentence that says what the check does.
        grading: "A-F" or "P/F".
        grade: see CheckOutcome.
        error: see CheckOutcome.
        comment: see CheckOutcome.
        details: see CheckOutcome.
        seconds: time that the check took, s.
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
class VerifiedModel:
    """What a model says of itself.

    Attributes:
        name: KIM id.
        species: all species that the model supports.
        checked: the species that the checks use.
        influence_distance: influence distance, Å.
        cutoffs: cutoffs of the model's neighbour lists, Å.
        outputs: outputs that the model supports, by KIM's names.
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
        model: what the model says of itself.
        results: results of the checks, in the order of the table.
        seed: seed of all random numbers.
        version: version of kim-torchml.
        date: time of the run, ISO 8601.
        nve: the short run at constant energy, if it was asked for (see nve.py).
    """

    model: VerifiedModel
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
