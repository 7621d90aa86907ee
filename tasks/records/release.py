"""Records of the model registry: versions, the ledger, reports, scored sources."""

import dataclasses
import re
from dataclasses import dataclass
from typing import Any

from typing_extensions import override

from tasks.records.base import Record
from tasks.runtime.home import home


@dataclass(frozen=True)
class VersionRef(Record):
    """A version in the model registry."""

    name: str
    version: str
    aliases: tuple[str, ...]
    digest: str
    #: Why it is not the champion although the gates passed; what to do.
    note: str = ""

    @property
    @override
    def numbers(self) -> dict[str, float]:
        return {"version": float(self.version)}


#: What texts of an entry of the ledger look like.
FORMS = {
    "action": "promote|rollback|repair|reject",
    "version": "[0-9]+",
    "before": "[0-9]*",
    "after": "[0-9]*",
    "previous_hash": "([0-9a-f]{64})?",
}


@dataclass(frozen=True)
class LedgerEntry:
    """A change of the champion of a registered model, or a refused one."""

    number: int
    #: `promote`, `rollback`, `repair` (an interrupted one was undone) or `reject` (a person refused).
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
    #: SHA-256 of the text of the entry before, hex; "" in entries of 0.1.
    previous_hash: str = ""

    def summary(self) -> dict[str, Any]:
        """As it is stored and shown: the champions are `from` and `to`."""
        names = {"before": "from", "after": "to"}
        return {names.get(name, name): value for name, value in dataclasses.asdict(self).items()}

    @classmethod
    def from_summary(cls, summary: dict[str, Any]) -> "LedgerEntry":
        """The entry that has this summary. Raises `ValueError` saying what is wrong with it."""
        names = {"from": "before", "to": "after"}
        values = {names.get(name, name): value for name, value in summary.items()}
        for field in dataclasses.fields(cls):
            value = values.setdefault(field.name, None if field.default is dataclasses.MISSING else field.default)
            if type(value) is not field.type:
                raise ValueError(f"{field.name} {value!r:.60}")
        entry = cls(**{field.name: values[field.name] for field in dataclasses.fields(cls)})
        for name, pattern in FORMS.items():
            if not re.fullmatch(pattern, getattr(entry, name)):
                raise ValueError(f"{name} {getattr(entry, name)!r:.60}")
        return entry


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


@dataclass(frozen=True)
class ScoresRef(Record):
    """A version's predictions for the images of a source: a Parquet file, a row per image."""

    path: str
    digest: str
    model: str
    version: str
    images: int
    #: Files that are not readable images; they have a row with the reason.
    unreadable: int
    #: Images without an earlier prediction.
    computed: int
    #: How many are assigned to each class, abstained from, and called novel; None if the version does not say.
    said: dict[str, int]
    abstained: int | None
    novel: int | None
    #: How the images differ from those that the version was made from, as sentences; and the p-values.
    drift: tuple[str, ...]
    p: dict[str, float]
    #: Of predicting, without imports and start.
    seconds: float

    @property
    @override
    def numbers(self) -> dict[str, float]:
        rate = {"images_per_second": self.computed / self.seconds} if self.computed else {}
        counts = {"images": self.images, "unreadable": self.unreadable, "computed": self.computed}
        shares = {}
        if self.abstained is not None:
            shares["abstained"] = self.abstained / max(self.images, 1)
        if self.novel is not None:
            shares["called_new"] = self.novel / max(self.images, 1)
        return counts | shares | rate | {f"drift_p_{name}": p for name, p in self.p.items()}

    def summary(self) -> dict[str, Any]:
        """Its part of the `--json` output."""
        return dataclasses.asdict(self) | {"drift": list(self.drift), "path": str(home() / self.path)}
