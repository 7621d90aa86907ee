"""Records of training: the search for a head, each model, the ladder of models."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from typing_extensions import override

from tasks.records.base import Record


@dataclass(frozen=True)
class TunedRef(Record):
    """What a search found best: settings of the head, as plain values, the pooling and the views."""

    digest: str
    #: Name of the study in `tune.db`.
    study: str
    head: dict[str, Any]
    pooling: str
    views: tuple[str, ...]
    #: The best trial's, on the images that validated it, nats.
    validation_loss: float
    trials: int
    pruned: int
    folds: int
    #: What all trials took.
    seconds: float

    @property
    @override
    def numbers(self) -> dict[str, float]:
        names = ("validation_loss", "trials", "pruned", "folds")
        return {name: float(getattr(self, name)) for name in names} | {"trial_seconds": self.seconds}


@dataclass(frozen=True)
class ModelRef(Record):
    """A whole network from prepared pixels to class probabilities, saved in Keras' format."""

    path: str
    digest: str
    rung: str
    #: Scores of the validation images; of a network that was trained on them too, those of the rung that it repeats.
    validation: dict[str, float]
    #: Probabilities of the validation images, float32[n, classes], in NumPy's format.
    predictions: str
    #: What training took.
    seconds: float
    #: Tables of images and features that it was trained from.
    tables: tuple[str, ...]
    #: Layers of the backbone at which it can be cut, from the input to the last block.
    blocks: tuple[str, ...]
    #: Epochs after which the weights were as they stayed.
    epochs: int
    frozen_variables: int
    trained_variables: int
    #: Share of the fine-tuned weights, where the weights lie between those of two rungs.
    share: float = 1.0
    #: And whether batch normalisation's statistics were taken again there.
    renewed: bool = False
    #: The rungs whose answers are averaged, where they are.
    averages: tuple[str, ...] = ()

    @property
    def on_frozen(self) -> bool:
        """Whether the network below the head is the backbone as it was."""
        return self.rung in ("knn", "probe", "head")

    @property
    @override
    def numbers(self) -> dict[str, float]:
        scores = {f"validation_{name}": value for name, value in self.validation.items()}
        return scores | {
            "epochs": self.epochs,
            "training_seconds": self.seconds,
            "frozen_variables": self.frozen_variables,
            "trained_variables": self.trained_variables,
        }


@dataclass(frozen=True)
class RungScore:
    """What a rung of the ladder gave on the validation images, with intervals."""

    rung: str
    log_loss: float
    interval: tuple[float, float]
    accuracy: float
    #: Log loss above the best rung's, compared image by image.
    gap: float
    gap_interval: tuple[float, float]
    seconds: float
    shipped: bool

    def summary(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        ends = {"interval": list(self.interval), "gap_interval": list(self.gap_interval)}
        return dataclasses.asdict(self) | ends


@dataclass(frozen=True)
class LadderRef(Record):
    """All rungs that were climbed, and the one to ship."""

    digest: str
    rungs: tuple[ModelRef, ...]
    scores: tuple[RungScore, ...]
    chosen: ModelRef
    #: Why the ladder ended where it did.
    reason: str
    #: Whether the recipe names the one to ship; else it is the cheapest that is not significantly worse than the best.
    named: bool = False

    @property
    @override
    def numbers(self) -> dict[str, float]:
        return {f"{score.rung}_log_loss": score.log_loss for score in self.scores}

    @property
    @override
    def files(self) -> tuple[str, ...]:
        return tuple(path for model in self.rungs for path in model.files)
