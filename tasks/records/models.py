"""Records of training: the search for a head, each model, the ladder of models."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from typing_extensions import override

from tasks.records.base import Gain, Record
from tasks.records.search import RaceRef


@dataclass(frozen=True)
class TunedRef(Record):
    """The best result of a search: settings of the head, as plain values, the pooling and the views."""

    digest: str
    #: Name of the study in `tune.db`.
    study: str
    head: dict[str, Any]
    pooling: str
    views: tuple[str, ...]
    #: Log loss of the best trial on its validation images, nats.
    validation_loss: float
    trials: int
    pruned: int
    folds: int
    #: Time of all trials.
    seconds: float

    @property
    @override
    def numbers(self) -> dict[str, float]:
        names = ("validation_loss", "trials", "pruned", "folds")
        return {name: float(getattr(self, name)) for name in names} | {"trial_seconds": self.seconds}


@dataclass(frozen=True)
class ModelScores:
    """Scores on the validation images; for a model that was trained on them too, those of the rung that it repeats."""

    #: Accuracy, and log loss in nats.
    scores: dict[str, float]
    #: Probabilities, float32[n, classes], in NumPy's format.
    predictions: str
    #: The same of the training and validation images, in the order of their keys, each by a model of cross-fitting that
    #: was neither trained nor stopped on it or on an image of its unit; empty without cross-fitting.
    out_of_fold: str = ""


@dataclass(frozen=True)
class TrainingLog:
    """How a model was trained."""

    seconds: float
    #: Epochs after which the weights were final.
    epochs: int
    frozen_variables: int
    trained_variables: int
    #: Of each epoch, nats; empty where nothing is trained by epochs, and in records of older releases.
    loss: tuple[float, ...] = ()
    validation_loss: tuple[float, ...] = ()


@dataclass(frozen=True)
class Origin:
    """What a model was made from."""

    #: Tables of images and features that it was trained from.
    tables: tuple[str, ...]
    #: Share of the fine-tuned weights, if the weights are between those of two rungs.
    share: float = 1.0
    #: And whether batch normalisation's statistics were computed again.
    renewed: bool = False
    #: Photos without labels that it was trained on too.
    unlabelled: int = 0
    #: The trainings whose weights are averaged, by their number, if any.
    soup: tuple[int, ...] = ()
    #: The rungs whose predictions are averaged, if any.
    averages: tuple[str, ...] = ()
    #: The version whose network training went on from; empty if it was the pretrained one.
    started_from: str = ""


@dataclass(frozen=True)
class ModelCost:
    """What a model costs where it is used."""

    #: Of its file.
    megabytes: float
    #: Shortest time for one prepared image, by the backend itself, on the machine that trained it.
    milliseconds: float


@dataclass(frozen=True)
class ModelRef(Record):
    """A whole network from prepared pixels to class probabilities, saved in Keras' format or as a SavedModel."""

    path: str
    digest: str
    rung: str
    #: Layers of the backbone at which it can be cut, from the input to the last block.
    blocks: tuple[str, ...]
    validation: ModelScores
    training: TrainingLog
    origin: Origin
    #: None in records of older releases.
    cost: ModelCost | None = None

    @property
    def on_frozen(self) -> bool:
        """Whether the network below the head is the unchanged backbone."""
        return self.rung in ("knn", "probe", "head")

    @property
    @override
    def files(self) -> tuple[str, ...]:
        return tuple(file for file in (self.path, self.validation.predictions, self.validation.out_of_fold) if file)

    @property
    @override
    def numbers(self) -> dict[str, float]:
        training = self.training
        return (
            {f"validation_{name}": value for name, value in self.validation.scores.items()}
            | {
                "epochs": training.epochs,
                "training_seconds": training.seconds,
                "frozen_variables": training.frozen_variables,
                "trained_variables": training.trained_variables,
            }
            | (dataclasses.asdict(self.cost) if self.cost else {})
        )


@dataclass(frozen=True)
class WarmRef(Record):
    """A network that was trained on from the champion's, or the reason why there is none."""

    digest: str
    #: The champion's version; empty if there is none to go on from.
    version: str
    #: A sentence, without a full stop.
    reason: str
    model: ModelRef | None = None
    #: How much more accurate it is than the champion on the validation images of the champion's classes.
    gain: Gain | None = None

    @property
    @override
    def numbers(self) -> dict[str, float]:
        gain = {"old_classes_gain": self.gain.value} if self.gain else {}
        return gain | (self.model.numbers if self.model else {})

    @property
    @override
    def files(self) -> tuple[str, ...]:
        return self.model.files if self.model else ()


@dataclass(frozen=True)
class RungScore:
    """Scores of a rung of the ladder on images that it was not trained on, with intervals."""

    rung: str
    #: In nats, before temperature scaling.
    log_loss: float
    #: Of the ladder's metric.
    interval: tuple[float, float]
    accuracy: float
    #: How far it is behind the best of the others in the ladder's metric, image by image; below 0 if ahead.
    gap: float
    gap_interval: tuple[float, float]
    seconds: float
    shipped: bool
    #: The ladder's metric, after temperature scaling.
    score: float = float("nan")
    #: How many images it was compared on, and how many independent units they are.
    images: int = 0
    units: int = 0

    @property
    def surely_worse(self) -> bool:
        """Whether one of the others is better for certain."""
        return self.gap_interval[0] > 0

    def summary(self) -> dict[str, Any]:
        """All fields, as JSON values."""
        ends = {"interval": list(self.interval), "gap_interval": list(self.gap_interval)}
        return dataclasses.asdict(self) | ends


@dataclass(frozen=True)
class LadderRef(Record):
    """All rungs that were tried, and the one to ship."""

    digest: str
    rungs: tuple[ModelRef, ...]
    scores: tuple[RungScore, ...]
    chosen: ModelRef
    #: Why the ladder ended where it did.
    reason: str
    #: Whether the recipe names the one to ship; else it is the cheapest that no other is certainly better than.
    named: bool = False
    #: What the rungs are compared by.
    metric: str = "log_loss"
    #: What was tried for the settings of rungs.
    races: tuple[RaceRef, ...] = ()
    #: Of each end of the scores' intervals, one-sided: what "certainly" means here.
    confidence: float = 0.95

    @property
    @override
    def numbers(self) -> dict[str, float]:
        raw = {f"{score.rung}_log_loss": score.log_loss for score in self.scores}
        return raw | {f"{score.rung}_calibrated_{self.metric}": score.score for score in self.scores}

    @property
    @override
    def files(self) -> tuple[str, ...]:
        return tuple(path for model in self.rungs for path in model.files)
