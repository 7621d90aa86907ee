"""Records of the gates."""

from dataclasses import dataclass

from typing_extensions import override

from tasks.records.base import Record


@dataclass(frozen=True)
class GateResult:
    """One gate's answer, with the numbers that it rests on."""

    gate: str
    #: `passed`, `failed` or `undecided`: the test images are too few to tell.
    outcome: str
    reason: str
    numbers: dict[str, float]
    #: Where it is undecided: about so many more test images would tell. None where no number can be named.
    more: int | None = None


@dataclass(frozen=True)
class Verdict(Record):
    """What the gates say together: `promote`, `keep`, or `undecided` where the test images are too few to tell."""

    digest: str
    decision: str
    reason: str
    gates: tuple[GateResult, ...]
    opponent: str
    #: The champion's probabilities of the test images, a column each for `key` and `probabilities`; "" without one.
    champion: str
    #: Digest of the test images and their labels.
    test_set: str
    #: Earlier decisions between two models on these images, one that saw a part of them counting for that part.
    worn: float
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
