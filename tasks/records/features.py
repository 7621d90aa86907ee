"""Records of a frozen network: the ranking of backbones, the features, what pretraining is worth."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from typing_extensions import override

from tasks.records.base import Gain, Record


@dataclass(frozen=True)
class RankedBackbone:
    """A candidate's scores on a sample of the training images, and what it costs."""

    name: str
    #: Kind, options and weights, as in a recipe.
    settings: dict[str, Any]
    scores: dict[str, float] = dataclasses.field(default_factory=dict)
    #: Mean of its ranks in the scores, 1 the best.
    rank: float = 0.0
    parameters: int = 0
    #: Of the network alone.
    images_per_second: float = 0.0
    #: What trying it took, with what was there already.
    seconds: float = 0.0
    #: Why it could not be tried; empty where it was.
    skipped: str = ""


@dataclass(frozen=True)
class RankingRef(Record):
    """Backbones from the most promising on; those that could not be tried come last."""

    digest: str
    rows: tuple[RankedBackbone, ...]
    #: In the sample.
    images: int

    @property
    def chosen(self) -> RankedBackbone:
        """The one to take."""
        return self.rows[0]

    @property
    @override
    def numbers(self) -> dict[str, float]:
        tried = [row for row in self.rows if not row.skipped]
        return {
            f"{row.name}.{name}": value
            for row in tried
            for name, value in (row.scores | {"rank": row.rank, "images_per_second": row.images_per_second}).items()
        }


@dataclass(frozen=True)
class Predicted:
    """A backbone's place in a ranking, and what came out of training on it: None where nobody has."""

    name: str
    predicted_rank: float
    log_loss: float | None
    accuracy: float | None


@dataclass(frozen=True)
class AgreementRef(Record):
    """A ranking against what came out on the validation images."""

    digest: str
    rows: tuple[Predicted, ...]
    #: Spearman's correlation of predicted rank and validation log loss, 1 where they agree; None below three pairs.
    spearman: float | None

    @property
    @override
    def numbers(self) -> dict[str, float]:
        return {} if self.spearman is None else {"spearman": self.spearman}


@dataclass(frozen=True)
class FeaturesRef(Record):
    """Pooled features of a data set: a table of (key, float32[shape])."""

    table: str
    digest: str
    shape: tuple[int, ...]
    dtype: str
    weights: str
    computed: int
    #: Images and views that were in the table before.
    reused: int = 0

    @property
    @override
    def stored(self) -> tuple[str, ...]:
        return (self.table,)

    @property
    @override
    def numbers(self) -> dict[str, float]:
        return {"images_extracted": self.computed, "images_reused": self.reused, "feature_values": self.shape[-1]}


@dataclass(frozen=True)
class TransferRef(Record):
    """What the pretrained weights are worth beside random ones: linear probes, scored on validation images."""

    digest: str
    sentence: str
    #: Training images that the probes learned from; 0 where nothing was checked.
    images: int
    #: Accuracy and log loss (nats) of `pretrained`, `random` and `majority`.
    scores: dict[str, dict[str, float]]
    #: Of accuracy and log loss over random weights, above 0 where the pretrained ones are better.
    gains: dict[str, Gain]

    @property
    @override
    def numbers(self) -> dict[str, float]:
        scores = {f"{who}_{name}": value for who, found in self.scores.items() for name, value in found.items()}
        gains = {f"{name}_gain": gain for name, gain in self.gains.items()}
        bounds = {f"{name}_{end}": getattr(gain, end) for name, gain in gains.items() for end in ("low", "high")}
        return scores | {name: gain.value for name, gain in gains.items()} | bounds
