"""Records of the data: facts, corrected labels, the checked data set, prepared images."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from typing_extensions import override

from tasks.records.base import Record
from tasks.runtime.home import home

PREFIX = "slice_"


@dataclass(frozen=True)
class FactsRef(Record):
    """What ingest read: one row per image, in a Parquet file."""

    path: str
    digest: str
    images: int
    rejected: int
    #: What the source passed over, a sentence each.
    notes: tuple[str, ...] = ()
    #: Files that were not known from an earlier run.
    computed: int = dataclasses.field(default=0, compare=False)

    @property
    @override
    def numbers(self) -> dict[str, float]:
        return {"images": self.images, "rejected": self.rejected, "images_read": self.computed}


@dataclass(frozen=True)
class Corrections:
    """Labels that a person has corrected, by the images' keys; the source keeps its own."""

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
    #: Labels that a person has corrected and that are still different in the source.
    corrected: int = 0

    @property
    @override
    def files(self) -> tuple[str, ...]:
        return (self.path, self.data_docs) if self.data_docs else (self.path,)

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
        """The part of the `--json` output about the data."""
        return {
            "classes": list(self.classes),
            "images": self.counts | {"rejected": self.rejected},
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
