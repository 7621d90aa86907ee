"""A look at a folder, a table or a data set of TFDS: its kind, what is in it, and what is odd."""

import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.data import splits
from tasks.data.files import tables, walk
from tasks.data.sources import NOTES, listing, normalised
from tasks.data.sources.proposals import columns
from tasks.records import SPLITS
from tasks.runtime import plugins
from tasks.runtime.errors import DataError, UsageError
from tasks.runtime.home import expanded
from tasks.runtime.store import remote
from tasks.settings import Source, Split

TFDS = "tfds:"
#: Tables that people put beside their photos; a text file is seldom one.
TABLES = tuple(suffix for suffix in tables.SUFFIXES if suffix != ".txt")


@dataclass(frozen=True)
class Proposal:
    """A name and a source for a first recipe, with the reason for each choice by the setting's full name."""

    name: str
    source: Source
    why: dict[str, str]
    #: What was assumed to read a table.
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """What a source holds: files by class, by split (None: to be drawn) and by the reason why they are set aside."""

    classes: dict[str, int]
    splits: dict[str, int] | None
    aside: dict[str, int]
    notes: tuple[str, ...]
    #: Labels that look the same, a tuple for each class that they seem to be.
    alike: tuple[tuple[str, ...], ...]


def propose(path: str, given: dict[str, Any]) -> Proposal:
    """A source for what is at a path, or after `tfds:`; `given` are options that a person has named.

    Raises `UsageError` if nothing is there or if the columns of a table cannot be guessed.
    """
    if path.startswith(TFDS):
        name = path.removeprefix(TFDS)
        source = Source(kind="tfds", options={"name": name} | given)
        return Proposal(_name(re.split("[/:]", name)[0]), source, {"source.kind": "a data set of TFDS"})
    where = remote.place(path, "PATH")
    if isinstance(where, str):
        raise UsageError(_by_hand(where))
    if remote.scheme(path):
        path = str(where)
    place = expanded(path)
    if not place.is_dir() and not place.is_file():
        raise UsageError(
            f"Expected a folder of photos, a table ({', '.join(tables.SUFFIXES)}) or {TFDS}NAME, found none at {path} "
            f"({place.absolute()})."
        )
    table, name = _table(place), place.resolve().name
    notes: tuple[str, ...] = ()
    if table is None:
        why = {"source.kind": "the classes are the names of folders"}
        source = Source(kind="folder", options={"path": path} | given)
    else:
        name = table.resolve().parent.name if table.name in tables.METADATA else table.stem if place.is_file() else name
        base = expanded(given.get("root", table.parent))
        read = tables.read(table, given.get("encoding"))
        found, reasons = columns.guess(read.cells.drop(index=list(read.errors)), base, given)
        if read.guessed:
            found["encoding"], reasons["encoding"] = read.guessed, "a guess, as the table is not UTF-8"
        notes = read.notes
        why = {f"source.options.{key}": text for key, text in reasons.items()}
        why["source.kind"] = "a table names the photos"
        shown = path if place.is_file() else os.path.join(path, table.name)  # noqa: PTH118 - as it is written
        source = Source(kind="manifest", options={"path": shown} | found | given)
    why["name"] = f"experiment and registered model, from {name}"
    if not place.is_absolute():
        why["source.options.path"] = "seen from the folder in which commands run"
    return Proposal(_name(name), source, why, notes)


def _by_hand(address: str) -> str:
    """The message for an address, which is not looked at."""
    options = f'path = "{address}"'
    kind = "manifest" if address.lower().endswith(tables.SUFFIXES) else "folder"
    if kind == "folder" and remote.scheme(address) in remote.WEB:
        # Nobody can list what is there.
        kind, options = "manifest", f'path = "TABLE.csv", root = "{address}"'
    return (
        f"PATH: expected a folder or a table on this machine, or {TFDS}NAME, found the address {address}. Write a "
        f'recipe with these lines by hand, and run headstart check: name = "NAME", [source], kind = "{kind}", '
        f"options = {{ {options} }}."
    )


def look(source: Source) -> Found:
    """What a source holds, without reading the photos."""
    rows = listing(source)
    used = rows[rows["error"].isna()]
    classes = used["label"].value_counts().sort_index()
    given = used["split"].dropna()
    notes = list(rows.attrs[NOTES])
    if blank := int(used["label"].isna().sum()):
        notes.append(f"{blank} files have no label.")
    known = used[used["label"].notna()].assign(key=None)
    few = splits.few(known, Split()) if len(known) else {}
    if few:
        shown = ", ".join(f"{label} ({n})" for label, n in few.items())
        notes.append(f"Classes with too few images or groups for all splits will be set aside (split.rare): {shown}.")
    same = classes.index.to_series().groupby(normalised).agg(tuple)
    return Found(
        classes={str(label): int(n) for label, n in classes.items()},
        splits={name: int((given == name).sum()) for name in SPLITS} if len(given) else None,
        aside={str(reason): int(n) for reason, n in rows["error"].value_counts().items()},
        notes=tuple(notes),
        alike=tuple(labels for labels in same if len(labels) > 1),
    )


def _table(place: Path) -> Path | None:
    """The table that a path means: a file, Hugging Face's in a folder, or the only one beside at most one folder."""
    if place.is_file():
        if place.suffix.lower() not in tables.SUFFIXES:
            raise UsageError(
                f"Expected a folder or a table ({', '.join(tables.SUFFIXES)}), found the file {place}. A folder "
                "needs one sub-folder of photos for each class."
            )
        return place
    if there := [place / name for name in tables.METADATA if (place / name).is_file()]:
        return there[0]
    beside = [f for f in walk.loose(place) if f.suffix.lower() in TABLES and f.is_file()]
    if not beside or _classes(place) > 1:
        return None
    if len(beside) > 1:
        raise UsageError(
            f"Expected one sub-folder of {place} for each class, or one table, found the tables "
            f"{', '.join(f.name for f in beside)}. Name one of them: headstart init {beside[0]}"
        )
    return beside[0]


def _classes(folder: Path) -> int:
    """How many classes the folder has as a source."""
    try:
        found: pd.DataFrame = plugins.entry("sources", "folder")(path=folder)
    except DataError:
        return len(walk.folders(folder))
    return int(found["label"].nunique())


def _name(text: str) -> str:
    """A recipe's name: Latin letters without accents, digits, - _ and . from a name of any kind."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", plain).strip("-_.")[:100]
    return name if name and name != "Default" else f"{name or 'my'}-photos"
