"""Records of problems in the data that would bias the evaluation."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from typing_extensions import override

from tasks.records.base import Record
from tasks.runtime.home import home


@dataclass(frozen=True)
class DuplicatePair:
    """Two images in different splits that show the same."""

    #: The copy first, then its possible original: path, split and label of each.
    uris: tuple[str, str]
    splits: tuple[str, str]
    labels: tuple[str, str]
    #: How the original was changed, for people.
    change: str
    #: Correlation of the aligned images' fine structure, at most 1.
    similarity: float
    #: Cosine of the frozen features minus their mean; bits of 64 in which the perceptual hashes differ.
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
    #: 0 to 1, lower if the label is less likely.
    score: float


@dataclass(frozen=True)
class Shortcut:
    """How well some file facts alone predict the label of training images: balanced accuracy, cross-validated."""

    facts: str
    score: float
    interval: tuple[float, float]
    #: Score of always predicting the most frequent class.
    chance: float
    #: Whether the interval is above chance by more than the recipe's margin.
    flagged: bool


@dataclass(frozen=True)
class AuditRef(Record):
    """Problems in the data that would bias the evaluation; nothing was changed. `path`: tables and pictures."""

    digest: str
    #: Empty if there was no audit.
    path: str = ""
    #: The first of them, the most alike or most suspicious first; the tables hold all.
    pairs: tuple[DuplicatePair, ...] = ()
    suspects: tuple[LabelSuspect, ...] = ()
    shortcuts: tuple[Shortcut, ...] = ()
    #: Pairs in different splits.
    duplicates: int = 0
    #: Of those in different splits: pairs with every pixel equal, and pairs whose labels differ.
    same_pixels: int = 0
    conflicting: int = 0
    #: Images of each split that have a copy in another.
    copied: dict[str, int] = dataclasses.field(default_factory=dict)
    #: Images whose label was judged, in each split, and those of them whose label is probably wrong.
    judged: dict[str, int] = dataclasses.field(default_factory=dict)
    suspected: dict[str, int] = dataclasses.field(default_factory=dict)
    #: What could not be checked, and why; a sentence each.
    notes: tuple[str, ...] = ()
    #: By part of the audit.
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    #: Pairs within one split.
    within: int = 0

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
        """CSV of all judged images, the most suspicious first, with a column for corrections."""
        return f"{self.path}/label_suspects.csv"

    @property
    def suspects_picture(self) -> str:
        """PNG of the first suspects."""
        return f"{self.path}/label_suspects.png"

    @property
    @override
    def numbers(self) -> dict[str, float]:
        by_facts = {shortcut.facts.replace(" ", "_"): shortcut for shortcut in self.shortcuts}
        counts = {name: getattr(self, name) for name in ("duplicates", "within", "same_pixels", "conflicting")}
        return (
            counts
            | {f"copied_{split}": n for split, n in self.copied.items()}
            | {f"suspected_{split}": n for split, n in self.suspected.items()}
            | {f"{name}_balanced_accuracy": shortcut.score for name, shortcut in by_facts.items()}
            | {"flagged_shortcuts": sum(shortcut.flagged for shortcut in self.shortcuts)}
            | {f"{part}_seconds": seconds for part, seconds in self.seconds.items()}
        )

    def summary(self) -> dict[str, Any]:
        """Its part of the `--json` output."""
        names = ("duplicates_table", "duplicates_picture", "suspects_table", "suspects_picture")
        counts = ("duplicates", "within", "same_pixels", "conflicting", "copied", "judged", "suspected")
        shortcuts = [dataclasses.asdict(one) | {"interval": list(one.interval)} for one in self.shortcuts]
        return (
            {name: getattr(self, name) for name in counts}
            | {"shortcuts": shortcuts, "notes": list(self.notes)}
            | {name: (home() / getattr(self, name)).as_uri() if self.path else "" for name in names}
        )
