"""Records of a model's scores on the test images, and of its calibration."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from typing_extensions import override

from tasks.records.base import Record


@dataclass(frozen=True)
class CalibrationTerms:
    """Calibration of a version, which is packed with it."""

    #: Its logits are divided by this.
    temperature: float
    #: Lowest probability at which each class is in the prediction set, for the required `coverage`.
    set_thresholds: tuple[float, ...]
    coverage: float
    #: Confidence below which it abstains, for the required `precision`; None if the validation images show none.
    sure_from: float | None
    precision: float
    #: An image is novel if its k-th neighbour is farther than the limit; None without features.
    neighbours: int
    limit: float | None
    false_alarms: float
    #: What could not be shown, and why, as sentences.
    notes: tuple[str, ...] = ()
    #: By how much groups enlarge the variance of counts of its answers for the validation images.
    effect: float = 1.0

    def summary(self) -> dict[str, Any]:
        """All fields, as JSON values."""
        return dataclasses.asdict(self) | {"set_thresholds": list(self.set_thresholds), "notes": list(self.notes)}


@dataclass(frozen=True)
class CalibrationRef(Record):
    """Calibration of a model, from the validation images."""

    digest: str
    terms: CalibrationTerms
    #: Features of some training images, float32[n, values], in NumPy's format; "" if there are none.
    reference: str
    #: Validation images, and their log loss (nats) and calibration error before and after.
    images: int
    log_loss: tuple[float, float]
    ece: tuple[float, float]
    #: Share of them that it does not abstain from, None if it does not say; and share that it calls novel.
    answered: float | None
    novel: float
    #: How many of them it assigns to each class.
    said: tuple[int, ...]

    @property
    @override
    def files(self) -> tuple[str, ...]:
        return (self.reference,) if self.reference else ()

    @property
    @override
    def numbers(self) -> dict[str, float]:
        named = {"temperature": self.terms.temperature, "sure_from": self.terms.sure_from, "answered": self.answered}
        pairs = {"log_loss": self.log_loss, "ece": self.ece}
        return (
            {name: value for name, value in named.items() if value is not None}
            | {f"{name}_{when}": v[i] for name, v in pairs.items() for i, when in enumerate(("before", "after"))}
            | {"called_new": self.novel}
        )


@dataclass(frozen=True)
class Coverage:
    """How often prediction sets contain the label, with Wilson's 95 % interval: for all test images, or one class."""

    name: str
    images: int
    value: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class CalibrationReport:
    """How well a version's calibration holds on the test images."""

    #: For all images, and for each class.
    coverage: Coverage
    classes: tuple[Coverage, ...]
    #: Mean number of classes in a set.
    set_size: float
    #: Share of the images that it does not abstain from, None if it does not say; precision of those answers, 0 to 1.
    answered: float | None
    precision: float | None
    precision_interval: tuple[float, float]
    #: Share that it calls novel; None without features.
    novel: float | None
    #: Calibration error without the temperature.
    uncalibrated_ece: float

    def summary(self) -> dict[str, Any]:
        """Its part of the `--json` output."""
        each = [dataclasses.asdict(one) | {"interval": list(one.interval)} for one in (self.coverage, *self.classes)]
        ends = {"precision_interval": list(self.precision_interval)}
        return dataclasses.asdict(self) | ends | {"coverage": each[0], "classes": each[1:]}

    @property
    def numbers(self) -> dict[str, float]:
        """Its metrics in MLflow."""
        novel = {} if self.novel is None else {"called_new": self.novel}
        names = ("set_size", "answered", "precision", "uncalibrated_ece")
        found = {"answered_precision" if name == "precision" else name: getattr(self, name) for name in names}
        each = {name: float(value) for name, value in found.items() if value is not None}
        return each | {"coverage": self.coverage.value} | novel


@dataclass(frozen=True)
class ClassScore:
    """Scores of the model on one class of the test images."""

    name: str
    images: int
    precision: float
    recall: float
    f1: float
    #: Wilson's 95 % interval of the recall.
    interval: tuple[float, float]


@dataclass(frozen=True)
class SliceScore:
    """Scores of the shipped model on a slice of the test images against the rest, and the effect of fine-tuning."""

    column: str
    value: str
    images: int
    #: On the slice alone.
    metrics: dict[str, float]
    #: Metric of the gaps.
    metric: str
    #: The metric on the slice minus that on the rest, with an interval that holds for all slices together.
    gap: float
    interval: tuple[float, float]
    #: `worse`, `better` or `no sure gap`.
    verdict: str
    #: The gap of the probe on the frozen network, and the interval of the gap minus that one.
    probe_gap: float
    change_interval: tuple[float, float]
    #: `reduced`, `grown` or `no sure change`: whether the gap is nearer to 0 now.
    change: str

    @property
    def flagged(self) -> bool:
        """Whether the gap's interval excludes zero."""
        return self.interval[0] > 0 or self.interval[1] < 0


@dataclass(frozen=True)
class TimeSample:
    """A model's scores on images of a time that no stage was trained or steered on, nor on copies of them."""

    images: int
    #: Groups of the source, and copies of one photo, count once.
    independent: int
    #: Days of the first and the last image, as ISO 8601 writes them.
    first: str
    last: str
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]


@dataclass(frozen=True)
class TimeGap:
    """The newest images beside random older ones."""

    newest: TimeSample
    older: TimeSample
    #: The newest images' metrics minus the older ones', with 95 % intervals; empty if either are too few.
    gaps: dict[str, float] = dataclasses.field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = dataclasses.field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """Its part of the `--json` output."""
        listed = [
            dataclasses.asdict(each) | {"intervals": {name: list(ends) for name, ends in each.intervals.items()}}
            for each in (self, self.newest, self.older)
        ]
        return listed[0] | {"newest": listed[1], "older": listed[2]}

    @property
    def numbers(self) -> dict[str, float]:
        """Its metrics in MLflow."""
        ends = {f"{name}_{end}": v[at] for name, v in self.intervals.items() for at, end in enumerate(("low", "high"))}
        gaps = {f"time_gap_{name}": value for name, value in (self.gaps | ends).items()}
        return gaps | {f"older_{name}": value for name, value in self.older.metrics.items()}


@dataclass(frozen=True)
class Report(Record):
    """The scores of a model on the test rows, with 95 % intervals, and the files that show them."""

    #: Table of the scores by class; the figures are beside it.
    path: str
    digest: str
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    predictions: str
    calibration: CalibrationReport
    classes: tuple[ClassScore, ...] = ()
    #: The worst first; and the rung on the frozen network that their gaps are compared with.
    slices: tuple[SliceScore, ...] = ()
    probe: str = ""
    #: How many test images are independent: groups of the source, and copies of one photo, count once. None: not known.
    independent: int | None = None
    #: The intervals as they were if each image stood alone; empty where each does.
    by_images: dict[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    #: What time changes, where the images were split by it.
    time: TimeGap | None = None

    @property
    @override
    def numbers(self) -> dict[str, float]:
        bounds = {f"{name}_{end}": v[i] for name, v in self.intervals.items() for i, end in enumerate(("low", "high"))}
        worst = {"worst_slice_gap": self.slices[0].gap} if self.slices else {}
        flagged = {"flagged_slices": sum(score.flagged for score in self.slices)}
        units = {} if self.independent is None else {"independent_images": self.independent}
        time = self.time.numbers if self.time else {}
        return self.metrics | bounds | worst | flagged | units | time | self.calibration.numbers

    def slices_summary(self) -> dict[str, Any]:
        """The part of the `--json` output about the slices."""
        shown = ("column", "value", "images", "metric", "gap", "interval", "flagged", "probe_gap", "change")
        return {
            "judged": len(self.slices),
            "flagged": sum(score.flagged for score in self.slices),
            "probe": self.probe,
            "worst": next(({name: getattr(score, name) for name in shown} for score in self.slices), None),
        }
