"""The records that travel between stages: paths, digests and numbers, never arrays or models.

Paths are relative to the home folder, so that a home can be moved. A record's `digest` names the content that it
refers to; the cache key of the next stage is made of it.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from typing_extensions import override

from tasks.runtime.home import home

SPLITS = ("train", "validation", "test")


def digest(*parts: Any) -> str:
    """SHA-256 (first 20 hex digits) of JSON-like values, settings and records; equal values give equal digests."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=_plain).encode()).hexdigest()[:20]


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value):
        return getattr(value, "digest", None) or dataclasses.asdict(value)  # type: ignore[arg-type]
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no stable digest; pass a record, settings or plain values")


def _short(value: Any) -> str:
    """A setting for people: three digits of a number."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


class Record:
    """What every record can say of itself."""

    @property
    def numbers(self) -> dict[str, float]:
        """What MLflow keeps of it as metrics."""
        return {}

    @property
    def files(self) -> tuple[str, ...]:
        """Paths that must be there for the record to be worth anything, relative to the home folder."""
        return tuple(getattr(self, name) for name in ("path", "predictions") if hasattr(self, name))

    @property
    def stored(self) -> tuple[str, ...]:
        """Names of the tables that must be there too, wherever the store is."""
        return ()


@dataclass(frozen=True)
class FactsRef(Record):
    """What ingest read: one row an image, in a Parquet file."""

    path: str
    digest: str
    images: int
    rejected: int

    @property
    @override
    def numbers(self) -> dict[str, float]:
        return {"images": self.images, "rejected": self.rejected}


@dataclass(frozen=True)
class Corrections:
    """Labels that a person has put right, by the images' keys; the source keeps its own."""

    labels: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class DatasetRef(Record):
    """The images that passed validation: Parquet rows of (key, uri, label, group, split, corrected_from, facts)."""

    path: str
    digest: str
    classes: tuple[str, ...]
    counts: dict[str, int]
    rejected: int
    duplicates: int
    expectations: int
    warnings: tuple[str, ...]
    data_docs: str
    #: Labels that a person has put right and that the source still has otherwise.
    corrected: int = 0

    @property
    @override
    def numbers(self) -> dict[str, float]:
        counts = {f"images_{split}": float(n) for split, n in self.counts.items()}
        return counts | {
            "rejected": self.rejected,
            "duplicates": self.duplicates,
            "expectations": self.expectations,
            "warnings": len(self.warnings),
            "corrected_labels": self.corrected,
        }

    def summary(self) -> dict[str, Any]:
        """What `--json` says of the data."""
        return {
            "classes": list(self.classes),
            "images": {split: self.counts[split] for split in SPLITS} | {"rejected": self.rejected},
            "data_docs": (home() / self.data_docs).as_uri(),
            "warnings": list(self.warnings),
            "corrected_labels": self.corrected,
        }


@dataclass(frozen=True)
class ImagesRef(Record):
    """Prepared images of a data set: a table of (key, uint8[size, size, 3]), or how to prepare them each time."""

    dataset: DatasetRef
    table: str
    digest: str
    size: int
    fit: str
    max_pixels: int
    kept: bool
    computed: int
    #: Images that were prepared before.
    reused: int = 0

    @property
    @override
    def stored(self) -> tuple[str, ...]:
        return (self.table,) if self.kept else ()

    @property
    @override
    def numbers(self) -> dict[str, float]:
        return {"images_decoded": self.computed, "images_reused": self.reused}


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

    def table(self) -> list[dict[str, Any]]:
        """A row for each candidate, for people."""
        return [
            {"backbone": row.name, "rank": "" if row.skipped else round(row.rank, 2)}
            | {name: round(row.scores[name], 4) if row.scores else "" for name in self.chosen.scores}
            | {
                "parameters": row.parameters or "",
                "images_per_second": row.images_per_second or "",
                "seconds": round(row.seconds, 1) or "",
                "skipped": row.skipped,
            }
            for row in self.rows
        ]


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

    def table(self) -> list[dict[str, Any]]:
        """A row for each backbone, for people."""
        return [
            {
                "backbone": row.name,
                "predicted rank": round(row.predicted_rank, 2),
                "validation log loss": "" if row.log_loss is None else round(row.log_loss, 4),
                "validation accuracy": "" if row.accuracy is None else round(row.accuracy, 4),
            }
            for row in self.rows
        ]


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
class DuplicatePair:
    """Two images in different splits that show the same."""

    #: The copy first, then what it was perhaps made from: path, split and label of each.
    uris: tuple[str, str]
    splits: tuple[str, str]
    labels: tuple[str, str]
    #: What was done to the original, for people.
    change: str
    #: Correlation of the aligned images' fine structure, at most 1.
    similarity: float
    #: Cosine of the frozen features, their mean taken off; bits of 64 in which the perceptual hashes differ.
    cosine: float
    bits: int


@dataclass(frozen=True)
class LabelSuspect:
    """An image whose label is probably wrong."""

    key: str
    uri: str
    split: str
    label: str
    suggested: str
    #: 0 to 1, lower where the label is less likely.
    score: float


@dataclass(frozen=True)
class Shortcut:
    """How well some facts of a file alone tell the label of training images: balanced accuracy, cross-validated."""

    facts: str
    score: float
    interval: tuple[float, float]
    #: What always naming the most frequent class gives.
    chance: float
    #: Whether the interval lies above chance by more than the recipe's margin.
    flagged: bool


@dataclass(frozen=True)
class AuditRef(Record):
    """What in the data would spoil the verdict; nothing was changed. `path`: a folder with the tables and pictures."""

    digest: str
    #: Empty where nothing was looked for.
    path: str = ""
    #: The first of them, the most alike or most suspicious first; the tables hold all.
    pairs: tuple[DuplicatePair, ...] = ()
    suspects: tuple[LabelSuspect, ...] = ()
    shortcuts: tuple[Shortcut, ...] = ()
    duplicates: int = 0
    #: Pairs with every pixel equal, and pairs whose labels differ.
    same_pixels: int = 0
    conflicting: int = 0
    #: Images of each split that have a copy in another.
    copied: dict[str, int] = dataclasses.field(default_factory=dict)
    #: Images whose label was judged, in each split, and those of them whose label is probably wrong.
    judged: dict[str, int] = dataclasses.field(default_factory=dict)
    suspected: dict[str, int] = dataclasses.field(default_factory=dict)
    #: What could not be looked for, and why; a sentence each.
    notes: tuple[str, ...] = ()
    #: Of each part.
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    @override
    def files(self) -> tuple[str, ...]:
        every = (self.duplicates_table, self.duplicates_picture, self.suspects_table, self.suspects_picture)
        return every if self.path else ()

    @property
    def duplicates_table(self) -> str:
        """CSV of all pairs, relative to the home folder."""
        return f"{self.path}/duplicates.csv"

    @property
    def duplicates_picture(self) -> str:
        """PNG of the first pairs, side by side."""
        return f"{self.path}/duplicates.png"

    @property
    def suspects_table(self) -> str:
        """CSV of all judged images, the most suspicious first, with a column to put them right in."""
        return f"{self.path}/label_suspects.csv"

    @property
    def suspects_picture(self) -> str:
        """PNG of the first suspects."""
        return f"{self.path}/label_suspects.png"

    @property
    @override
    def numbers(self) -> dict[str, float]:
        told = {shortcut.facts.replace(" ", "_"): shortcut for shortcut in self.shortcuts}
        counts = {"duplicates": self.duplicates, "same_pixels": self.same_pixels, "conflicting": self.conflicting}
        return (
            counts
            | {f"copied_{split}": n for split, n in self.copied.items()}
            | {f"suspected_{split}": n for split, n in self.suspected.items()}
            | {f"{name}_balanced_accuracy": shortcut.score for name, shortcut in told.items()}
            | {"flagged_shortcuts": sum(shortcut.flagged for shortcut in self.shortcuts)}
            | {f"{part}_seconds": seconds for part, seconds in self.seconds.items()}
        )

    def summary(self) -> dict[str, Any]:
        """What `--json` says of it."""
        names = ("duplicates_table", "duplicates_picture", "suspects_table", "suspects_picture")
        counts = ("duplicates", "same_pixels", "conflicting", "copied", "judged", "suspected")
        told = [dataclasses.asdict(one) | {"interval": list(one.interval)} for one in self.shortcuts]
        return (
            {name: getattr(self, name) for name in counts}
            | {"shortcuts": told, "notes": list(self.notes)}
            | {name: (home() / getattr(self, name)).as_uri() if self.path else "" for name in names}
        )


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
    def sentence(self) -> str:
        """What was searched and found, for people."""
        head = self.head
        options = "".join(f", {name} {_short(value)}" for name, value in head["options"].items())
        images = f"in {self.folds} folds" if self.folds > 1 else "on the validation images"
        return (
            f"{self.trials} trials in {self.seconds:.0f} s, {self.pruned} of them ended early. The best, with a loss "
            f"of {self.validation_loss:.4f} {images}: head {head['kind']}{options}, step size "
            f"{_short(head['learning_rate'])}, weight decay {_short(head['weight_decay'])}, pooling {self.pooling}, "
            f"views {', '.join(self.views)}."
        )

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


@dataclass(frozen=True)
class SliceScore:
    """How the shipped model does on a part of the test images against the rest, and what fine-tuning did to that."""

    column: str
    value: str
    images: int
    #: On the slice alone.
    metrics: dict[str, float]
    #: What gaps are in.
    metric: str
    #: The metric on the slice less that on the rest, with an interval that holds for all slices together.
    gap: float
    interval: tuple[float, float]
    #: `worse`, `better` or `no sure gap`.
    verdict: str
    #: The gap of the probe on the frozen network, and the interval of the gap less that one.
    probe_gap: float
    change_interval: tuple[float, float]
    #: `reduced`, `grown` or `no sure change`.
    change: str

    @property
    def flagged(self) -> bool:
        """Whether the gap's interval leaves out zero."""
        return self.interval[0] > 0 or self.interval[1] < 0

    @property
    def changed(self) -> bool:
        """Whether the interval of the change leaves out zero."""
        return self.change_interval[0] > 0 or self.change_interval[1] < 0


@dataclass(frozen=True)
class Gain:
    """How much better one model is than another on the same rows, with the 95 % interval."""

    value: float
    low: float
    high: float


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


@dataclass(frozen=True)
class Terms:
    """What a version says of its own answers: it is packed with them."""

    #: Its logits are divided by.
    temperature: float
    #: Probability from which on each class is in the set, for the wanted `coverage`.
    set_thresholds: tuple[float, ...]
    coverage: float
    #: Confidence below which it abstains, for the wanted `precision`; and whether validation images show that.
    sure_from: float
    precision: float
    shown: bool
    #: It is new when its so-manieth neighbour is farther than the limit; None where no features can be had.
    neighbours: int
    limit: float | None
    false_alarms: float

    def summary(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        return dataclasses.asdict(self) | {"set_thresholds": list(self.set_thresholds)}


@dataclass(frozen=True)
class CalibrationRef(Record):
    """How far the answers of a model can be believed, as the validation images say."""

    digest: str
    terms: Terms
    #: Features of some training images, float32[n, values], in NumPy's format; "" where they cannot be had.
    reference: str
    #: Validation images, and their log loss (nats) and calibration error before and after.
    images: int
    log_loss: tuple[float, float]
    ece: tuple[float, float]
    #: Share of them that it does not abstain from, and that it calls new.
    answered: float
    novel: float
    #: How many of them it calls by each class' name.
    said: tuple[int, ...]

    @property
    @override
    def files(self) -> tuple[str, ...]:
        return (self.reference,) if self.reference else ()

    @property
    @override
    def numbers(self) -> dict[str, float]:
        names = ("temperature", "sure_from")
        pairs = {"log_loss": self.log_loss, "ece": self.ece}
        return (
            {name: float(getattr(self.terms, name)) for name in names}
            | {f"{name}_{when}": v[i] for name, v in pairs.items() for i, when in enumerate(("before", "after"))}
            | {"answered": self.answered, "called_new": self.novel}
        )


@dataclass(frozen=True)
class Coverage:
    """How often sets held the label, with Wilson's 95 % interval: of all test images, or of those of one class."""

    name: str
    images: int
    value: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Belief:
    """How what a version says of its own answers held on the test images."""

    #: Of all, and of each class.
    coverage: Coverage
    classes: tuple[Coverage, ...]
    #: Mean number of classes in a set.
    set_size: float
    #: Share of the images that it does not abstain from, and how often those answers are right; 0 where it always does.
    answered: float
    precision: float
    precision_interval: tuple[float, float]
    #: Share that it calls new; None where it cannot tell.
    novel: float | None
    #: Calibration error without the temperature.
    uncalibrated_ece: float

    def summary(self) -> dict[str, Any]:
        """What `--json` says of it."""
        each = [dataclasses.asdict(one) | {"interval": list(one.interval)} for one in (self.coverage, *self.classes)]
        ends = {"precision_interval": list(self.precision_interval)}
        return dataclasses.asdict(self) | ends | {"coverage": each[0], "classes": each[1:]}

    @property
    def numbers(self) -> dict[str, float]:
        """What MLflow keeps of it."""
        novel = {} if self.novel is None else {"called_new": self.novel}
        names = ("set_size", "answered", "precision", "uncalibrated_ece")
        each = {"answered_precision" if name == "precision" else name: float(getattr(self, name)) for name in names}
        return each | {"coverage": self.coverage.value} | novel


@dataclass(frozen=True)
class ClassScore:
    """How the model does on one class of the test images."""

    name: str
    images: int
    precision: float
    recall: float
    f1: float
    #: Of the recall: 95 %, Wilson's.
    interval: tuple[float, float]


@dataclass(frozen=True)
class Report(Record):
    """The scores of a model on the test rows, with 95 % intervals, and the files that show them."""

    #: Table of the scores by class; the figures lie beside it.
    path: str
    digest: str
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    predictions: str
    belief: Belief
    classes: tuple[ClassScore, ...] = ()
    #: The worst first; and the rung on the frozen network that their gaps are compared with.
    slices: tuple[SliceScore, ...] = ()
    probe: str = ""

    @property
    @override
    def numbers(self) -> dict[str, float]:
        bounds = {f"{name}_{end}": v[i] for name, v in self.intervals.items() for i, end in enumerate(("low", "high"))}
        worst = {"worst_slice_gap": self.slices[0].gap} if self.slices else {}
        flagged = {"flagged_slices": sum(score.flagged for score in self.slices)}
        return self.metrics | bounds | worst | flagged | self.belief.numbers

    def slices_summary(self) -> dict[str, Any]:
        """What `--json` says of the slices."""
        shown = ("column", "value", "images", "metric", "gap", "interval", "flagged", "probe_gap", "change")
        return {
            "judged": len(self.slices),
            "flagged": sum(score.flagged for score in self.slices),
            "probe": self.probe,
            "worst": next(({name: getattr(score, name) for name in shown} for score in self.slices), None),
        }


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


@dataclass(frozen=True)
class VersionRef(Record):
    """A version in the model registry."""

    name: str
    version: str
    aliases: tuple[str, ...]
    digest: str
    #: Why it is no champion although the gates would have it; what to do.
    note: str = ""

    @property
    @override
    def numbers(self) -> dict[str, float]:
        return {"version": float(self.version)}


@dataclass(frozen=True)
class LedgerEntry:
    """What was done to the champion of a registered model, or was refused to be done."""

    number: int
    #: `promote`, `rollback`, `repair` (an interrupted one was undone) or `reject` (a person said no).
    action: str
    version: str
    who: str
    #: UTC, ISO 8601.
    when: str
    #: The champion before and after; "" for none.
    before: str
    after: str
    why: str
    #: The MLflow run that the version came from.
    evidence: str

    def summary(self) -> dict[str, Any]:
        """As it is kept and shown: the champions are `from` and `to`."""
        names = {"before": "from", "after": "to"}
        return {names.get(name, name): value for name, value in dataclasses.asdict(self).items()}

    @classmethod
    def of(cls, summary: dict[str, Any]) -> "LedgerEntry":
        """The entry that has this summary."""
        names = {"from": "before", "to": "after"}
        return cls(**{names.get(name, name): value for name, value in summary.items()})


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
class NewsRef(Record):
    """What is in the data that the newest version has not seen, and whether that is enough to decide."""

    digest: str
    #: `train`, `skip`, or "" where what is new has to be weighed.
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
class WeighedRef(Record):
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


@dataclass(frozen=True)
class Retraining:
    """What a look at the data ended with."""

    recipe: str
    decision: str
    reason: str
    #: What had it looked at: a schedule, new data, a person.
    why: str
    news: NewsRef
    weighed: WeighedRef | None
    #: Where it was trained.
    outcome: "Outcome | None" = None

    def summary(self) -> dict[str, Any]:
        """The JSON object that `headstart retrain --json` prints."""
        weighed = dataclasses.asdict(self.weighed) if self.weighed else None
        if self.weighed and weighed and self.weighed.drift:
            weighed |= {"drift": self.weighed.drift.summary()}
        told = {name: getattr(self, name) for name in ("recipe", "decision", "reason", "why")}
        trained = self.outcome.summary() if self.outcome else None
        return told | {"news": dataclasses.asdict(self.news), "weighed": weighed, "trained": trained}


@dataclass(frozen=True)
class ScoresRef(Record):
    """What a version says of the images of a source: a Parquet file, a row an image."""

    path: str
    digest: str
    model: str
    version: str
    images: int
    #: Files that are no readable image; they have a row with the reason.
    unreadable: int
    #: Images that were not answered before.
    computed: int
    #: How many are called by each class' name, abstained from, and called new; None where that cannot be told.
    said: dict[str, int]
    abstained: int
    novel: int | None
    #: How the images differ from those that the version was made from, a sentence each; and with what p-value.
    drift: tuple[str, ...]
    p: dict[str, float]
    #: Of answering, without imports and start.
    seconds: float

    @property
    @override
    def numbers(self) -> dict[str, float]:
        rate = {"images_per_second": self.computed / self.seconds} if self.computed else {}
        counts = {"images": self.images, "unreadable": self.unreadable, "computed": self.computed}
        shares = {"abstained": self.abstained / max(self.images, 1)}
        if self.novel is not None:
            shares["called_new"] = self.novel / max(self.images, 1)
        return counts | shares | rate | {f"drift_p_{name}": p for name, p in self.p.items()}

    def summary(self) -> dict[str, Any]:
        """What `--json` says of it."""
        return dataclasses.asdict(self) | {"drift": list(self.drift), "path": str(home() / self.path)}


@dataclass(frozen=True)
class StageLog:
    """How long a stage took, and whether its result was there already."""

    seconds: float
    cached: bool


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a run found, for its page and its answer."""

    dataset: DatasetRef
    model: ModelRef
    ladder: LadderRef
    transfer: TransferRef
    calibration: CalibrationRef
    report: Report
    verdict: Verdict
    version: VersionRef
    #: Where the recipe left the backbone open.
    ranking: RankingRef | None = None
    #: Where the recipe wanted a search.
    tuned: TunedRef | None = None
    audit: AuditRef | None = None

    @property
    def digest(self) -> str:
        """Of all of it."""
        return digest("findings", *(getattr(self, field.name) for field in dataclasses.fields(Findings)))


@dataclass(frozen=True)
class PageRef(Record):
    """The report of a run and its model card."""

    path: str
    card: str
    digest: str

    @property
    @override
    def files(self) -> tuple[str, ...]:
        return (self.path, self.card)


@dataclass(frozen=True, kw_only=True)
class Outcome(Findings):
    """What a training run ends with; the command prints it."""

    run_id: str
    page: PageRef
    stages: dict[str, StageLog]
    seconds: float
    agreement: AgreementRef | None = None

    def summary(self) -> dict[str, Any]:
        """The JSON object that `headstart train --json` prints."""
        return {
            "run_id": self.run_id,
            "model": self.version.name,
            "version": self.version.version,
            "aliases": list(self.version.aliases),
            "note": self.version.note,
            "decision": self.verdict.decision,
            "reason": self.verdict.reason,
            "gates": [dataclasses.asdict(result) for result in self.verdict.gates],
            "test_set": {"worn": self.verdict.worn, "level": self.verdict.level},
            "rung": self.model.rung,
            "backbones": [dataclasses.asdict(row) for row in self.ranking.rows] if self.ranking else [],
            "tuned": dataclasses.asdict(self.tuned) if self.tuned else None,
            "ladder": [score.summary() for score in self.ladder.scores],
            "transfer": dataclasses.asdict(self.transfer),
            "metrics": {name: round(value, 6) for name, value in self.report.metrics.items()},
            "intervals": {name: [round(end, 6) for end in ends] for name, ends in self.report.intervals.items()},
            "calibration": self.calibration.terms.summary() | {"test": self.report.belief.summary()},
            "slices": self.report.slices_summary(),
            "audit": self.audit.summary() if self.audit else None,
            "stages": {name: dataclasses.asdict(log) for name, log in self.stages.items()},
            "seconds": round(self.seconds, 3),
            "report": (home() / self.page.path).as_uri(),
            "figures": (home() / self.report.path).parent.as_uri(),
        } | self.dataset.summary()

    def markdown(self) -> str:
        """The verdict, the scores and the stages, for Prefect's page of the flow run."""
        low_high = self.report.intervals
        scores = [
            f"| {n} | {v:.4f} | {low_high[n][0]:.4f} to {low_high[n][1]:.4f} |" for n, v in self.report.metrics.items()
        ]
        stages = [f"| {n} | {log.seconds:.1f} | {'yes' if log.cached else 'no'} |" for n, log in self.stages.items()]
        return "\n".join(
            [
                f"# {self.version.name} version {self.version.version}: {self.verdict.decision}",
                f"{self.verdict.reason}",
                "",
                "| metric | value | 95 % interval |\n|---|---|---|",
                *scores,
                "",
                "| stage | seconds | cached |\n|---|---|---|",
                *stages,
            ]
        )


PREFIX = "slice_"
