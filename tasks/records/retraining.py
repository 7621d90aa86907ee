"""Records of a look at the data: what has changed, and whether it pays to train again."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from typing_extensions import override

from tasks.records.base import Gain, Record


@dataclass(frozen=True)
class Drift(Record):
    """Whether new pictures differ from those before; other shares of the classes are told apart from that."""

    drifted: bool
    #: What was found and how sure it is, for people.
    sentences: tuple[str, ...]
    #: Images of each sample that were compared.
    new: int
    before: int
    #: Significance level of all tests of the pictures together.
    level: float
    #: P-values over all images, by test, and of classes with enough images, by name; corrected for their number.
    #: Empty where there were too few images to compare.
    p: dict[str, float] = dataclasses.field(default_factory=dict)
    classes: dict[str, float] = dataclasses.field(default_factory=dict)
    #: Share of pairs, one new and one not, in which a classifier knows the new one; 0.5 is chance.
    auc: float | None = None
    #: P-value of a difference in the classes' shares; None where the new images have no labels.
    shares: float | None = None

    @property
    @override
    def numbers(self) -> dict[str, float]:
        counts = {"drifted": self.drifted, "new": self.new, "before": self.before}
        found = counts | {f"p_{name}": p for name, p in self.p.items()}
        if self.p:
            found |= {"drifted_classes": sum(p <= self.level for p in self.classes.values())}
        return found | {name: v for name, v in (("auc", self.auc), ("p_shares", self.shares)) if v is not None}

    def summary(self) -> dict[str, Any]:
        """What `--json` says of it."""
        return dataclasses.asdict(self) | {"sentences": list(self.sentences)}


@dataclass(frozen=True)
class ChangesRef(Record):
    """What is in the data that the newest version has not seen, and whether that is enough to decide."""

    digest: str
    #: `train`, `skip`, or "" where what is new has to be assessed.
    decision: str
    reason: str
    #: The newest version; "" for none.
    version: str
    new: int
    relabelled: int
    removed: int
    #: Looks since the last training that have ended without one.
    skips: int

    @property
    @override
    def numbers(self) -> dict[str, float]:
        return {name: float(getattr(self, name)) for name in ("new", "relabelled", "removed", "skips")}


@dataclass(frozen=True)
class Accuracy:
    """How often the champion is right on some images, against its test images, and the chance of so much less."""

    images: int
    share: float
    before: float
    p: float


@dataclass(frozen=True)
class AssessmentRef(Record):
    """Whether it pays to train on what is new, and what says so; None for what could not be asked."""

    digest: str
    decision: str
    reason: str
    drift: Drift | None
    champion: Accuracy | None
    #: Of a linear probe's log loss, nats, by the new training images.
    probe: Gain | None

    @property
    @override
    def numbers(self) -> dict[str, float]:
        found = {f"drift_{name}": value for name, value in self.drift.numbers.items()} if self.drift else {}
        if self.champion:
            found |= {f"champion_{name}": float(value) for name, value in vars(self.champion).items()}
        return found | ({f"probe_{name}": value for name, value in vars(self.probe).items()} if self.probe else {})
