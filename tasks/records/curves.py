"""The records of `headstart compare`: points of learning curves, their summary, and the result."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from typing_extensions import override

from tasks.records.base import Gain, Record, StageLog
from tasks.records.data import DatasetRef
from tasks.runtime.home import home

#: Methods that start from pretrained weights, and methods that start from random ones.
TRANSFER, SCRATCH = ("frozen", "fine_tuned"), ("scratch", "small_cnn")


@dataclass(frozen=True)
class PointRef(Record):
    """The result of a method on a part of the training images."""

    digest: str
    method: str
    #: Training images, and side of the square in pixels.
    images: int
    side: int
    seed: int
    validation: dict[str, float]
    #: Probabilities of the validation images, float32[n, classes], in NumPy's format.
    predictions: str
    #: Training time, without the features that all frozen points share.
    seconds: float
    epochs: int

    @property
    @override
    def numbers(self) -> dict[str, float]:
        scores = {f"validation_{name}": value for name, value in self.validation.items()}
        return scores | {"images": self.images, "training_seconds": self.seconds, "epochs": self.epochs}


@dataclass(frozen=True)
class Level:
    """What a method reached with a number of training images, on the validation images; means over the seeds."""

    method: str
    images: int
    side: int
    accuracy: float
    #: 95 % interval of the accuracy, over the validation images, and over trainings if there are several.
    low: float
    high: float
    log_loss: float
    seconds: float
    seeds: int


@dataclass(frozen=True)
class Gap:
    """For a number of images: the best method from pretrained weights against the best from random weights."""

    images: int
    transfer: str
    scratch: str
    #: Gain in accuracy, 0 to 1, row by row on the validation images, over trainings and images; for all gaps together.
    gain: Gain
    #: Trainings of each method, and how many more of them would probably tell what the interval leaves open.
    trainings: int = 1
    more_trainings: int | None = None


@dataclass(frozen=True)
class CurvesRef(Record):
    """All points together: tables, figure and verdict."""

    path: str
    figure: str
    digest: str
    levels: tuple[Level, ...]
    gaps: tuple[Gap, ...]
    #: `helps`, `catches up`, `does not help`, `harms`, `cannot be told` or `unknown`.
    answer: str
    verdict: str
    #: What was not measured, and why.
    notes: tuple[str, ...]

    @property
    @override
    def numbers(self) -> dict[str, float]:
        return {f"gain_{gap.images}": gap.gain.value for gap in self.gaps}

    @property
    @override
    def files(self) -> tuple[str, ...]:
        return (self.path, self.figure)


@dataclass(frozen=True)
class Comparison:
    """The result of `headstart compare`."""

    run_id: str
    name: str
    dataset: DatasetRef
    curves: CurvesRef
    stages: dict[str, StageLog]
    seconds: float

    def summary(self) -> dict[str, Any]:
        """The JSON object that `headstart compare --json` prints."""
        return {
            "run_id": self.run_id,
            "name": self.name,
            "transfer": self.curves.answer,
            "verdict": self.curves.verdict,
            "curves": [dataclasses.asdict(level) for level in self.curves.levels],
            "gains": [dataclasses.asdict(gap) for gap in self.curves.gaps],
            "notes": list(self.curves.notes),
            "stages": {name: dataclasses.asdict(log) for name, log in self.stages.items()},
            "seconds": round(self.seconds, 3),
            "table": (home() / self.curves.path).as_uri(),
            "figure": (home() / self.curves.figure).as_uri(),
        } | self.dataset.summary()
