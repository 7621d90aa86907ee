"""Records of the gates."""

from dataclasses import dataclass

from typing_extensions import override

from tasks.records.base import Record


@dataclass(frozen=True)
class GateResult:
    """One gate's result, with the numbers behind it."""

    gate: str
    #: `passed`, `failed`, or `undecided` if there are too few test images.
    outcome: str
    reason: str
    numbers: dict[str, float]
    #: If undecided: about how many more test images are needed. None if there is no estimate.
    more: int | None = None


@dataclass(frozen=True)
class Verdict(Record):
    """The combined result of the gates: `promote`, `keep`, or `undecided` if there are too few test images."""

    digest: str
    decision: str
    reason: str
    gates: tuple[GateResult, ...]
    opponent: str
    #: The champion's probabilities of the test images, a column each for `key` and `probabilities`; "" without one.
    champion: str
    #: Digest of the test images and their labels.
    test_set: str
    #: Earlier decisions between two models on any of these images.
    worn: int
    #: Significance level of this decision.
    level: float

    @property
    @override
    def files(self) -> tuple[str, ...]:
        return (self.champion,) if self.champion else ()

    @property
    @override
    def numbers(self) -> dict[str, float]:
        found = {f"{g.gate}_{name}": value for g in self.gates for name, value in g.numbers.items()}
        return found | {"test_set_worn": self.worn, "significance_level": self.level}
