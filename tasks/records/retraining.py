"""Records of a check of the data: what has changed, and whether training again is worthwhile."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from typing_extensions import override

from tasks.records.base import Gain, Record


@dataclass(frozen=True)
class Drift(Record):
    """Whether new images differ from earlier ones; changed class shares are reported separately."""

    drifted: bool
    #: What was found and how certain it is, for people.
    sentences: tuple[str, ...]
    #: Images of each sample that were compared.
    new: int
    before: int
    #: Significance level of all tests of the images together.
    level: float
    #: P-values over all images, by test, and of classes with enough images, by name; corrected for their number.
    #: Empty if there were too few images to compare.
    p: dict[str, float] = dataclasses.field(default_factory=dict)
    classes: dict[str, float] = dataclasses.field(default_factory=dict)
    #: Share of pairs, one new and one earlier image, in which a classifier finds the new one; 0.5 is chance.
    auc: float | None = None
    #: P-value of a difference in the class shares; None if the new images have no labels.
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
        """Its part of the `--json` output."""
        return dataclasses.asdict(self) | {"sentences": list(self.sentences)}


@dataclass(frozen=True)
class ChangesRef(Record):
    """Changes in the data since the newest version, and whether they are enough to decide."""

    digest: str
    #: `train`, `skip`, or "" if the changes have to be assessed.
    decision: str
    reason: str
    #: The newest version; "" for none.
    version: str
    new: int
    relabelled: int
    removed: int
    #: Checks since the last training that did not train.
    skips: int

    @property
    @override
    def numbers(self) -> dict[str, float]:
        return {name: float(getattr(self, name)) for name in ("new", "relabelled", "removed", "skips")}


@dataclass(frozen=True)
class Accuracy:
    """Accuracy of the champion on some images and on its test images, and the p-value of a decrease within classes."""

    images: int
    share: float
    before: float
    p: float


@dataclass(frozen=True)
class AssessmentRef(Record):
    """Whether training on the new images is worthwhile, and the evidence; None for what could not be tested."""

    digest: str
    decision: str
    reason: str
    drift: Drift | None
    champion: Accuracy | None
    #: Gain in a linear probe's log loss, nats, from the new training images.
    probe: Gain | None
    #: How many different data were assessed since the newest version, these included; significance of each question.
    look: int = 1
    level: float = 0.0

    @property
    @override
    def numbers(self) -> dict[str, float]:
        found: dict[str, float] = {"look": self.look, "level": self.level}
        if self.drift:
            found |= {f"drift_{name}": value for name, value in self.drift.numbers.items()}
        if self.champion:
            found |= {f"champion_{name}": float(value) for name, value in vars(self.champion).items()}
        if self.probe:
            found |= {f"probe_{name}": value for name, value in vars(self.probe).items() if value is not None}
        return found
