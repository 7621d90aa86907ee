"""Records of a frozen network: the ranking of backbones, the features, the benefit of pretraining."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from typing_extensions import override

from tasks.records.base import Gain, Record


@dataclass(frozen=True)
class RankedBackbone:
    """A candidate's scores on a sample of the training images, and its cost."""

    name: str
    #: Kind, options and weights, as in a recipe.
    settings: dict[str, Any]
    scores: dict[str, float] = dataclasses.field(default_factory=dict)
    #: Mean of its ranks in the scores, 1 the best.
    rank: float = 0.0
    parameters: int = 0
    #: Of the network alone.
    images_per_second: float = 0.0
    #: Time that its trial took, given what was stored already.
    seconds: float = 0.0
    #: Why it could not be tried; empty if it was.
    skipped: str = ""
    #: Side of the images that it saw, pixels.
    size: int = 0


@dataclass(frozen=True)
class RankingRef(Record):
    """Backbones, the most promising first; those that could not be tried come last."""

    digest: str
    rows: tuple[RankedBackbone, ...]
    #: Size of the sample.
    images: int

    @property
    def chosen(self) -> RankedBackbone:
        """The one to use."""
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
    """A backbone's rank, and the result of training on it: None if it was not trained."""

    name: str
    predicted_rank: float
    log_loss: float | None
    accuracy: float | None


@dataclass(frozen=True)
class AgreementRef(Record):
    """A ranking compared with the results on the validation images."""

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
    #: How many values each part of the features has, in their order; empty if they are one part.
    parts: tuple[int, ...] = ()
    #: First column, and the one after the last, of what describes a photo in brief; empty: all columns.
    summary: tuple[int, int] | tuple[()] = ()

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
    """The pretrained weights compared with random ones: linear probes, scored on validation images."""

    digest: str
    sentence: str
    #: Training images that the probes learned from; 0 without a check.
    images: int
    #: Accuracy and log loss (nats) of `pretrained`, `random` and `majority`.
    scores: dict[str, dict[str, float]]
    #: Gains in accuracy and log loss over random weights, above 0 if the pretrained ones are better.
    gains: dict[str, Gain]
    #: Validation images that the probes were scored on, and how many of their groups are independent.
    validated: int = 0
    units: int = 0

    @property
    @override
    def numbers(self) -> dict[str, float]:
        scores = {f"{who}_{name}": value for who, found in self.scores.items() for name, value in found.items()}
        gains = {f"{name}_gain": gain for name, gain in self.gains.items()}
        bounds = {f"{name}_{end}": getattr(gain, end) for name, gain in gains.items() for end in ("low", "high")}
        return scores | {name: gain.value for name, gain in gains.items()} | bounds
