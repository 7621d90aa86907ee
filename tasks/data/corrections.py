"""Labels corrected by a person: one CSV file per recipe in the home folder, read by the recipe's next run.

The source's own files are not changed. A correction names an image by its key, the sha256 of its bytes, so that it
stays valid when the file is moved.

Nothing can compute these labels again. So the file's first line is a checksum of the rest, and no process changes the
file while another one does. Without that line, as older releases wrote it or after a person has changed it, the rows
are read as they are; the next change adds it.
"""

from __future__ import annotations

import io
import os
import re
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.records import Corrections
from tasks.runtime import escapes, locks
from tasks.runtime.errors import DataError, DependencyError, UsageError, few
from tasks.runtime.home import home
from tasks.runtime.store import checksums, folders
from tasks.runtime.store.writing import replacing

#: Columns of the table that a person fills in, and of the stored table.
NEEDED = ("recipe", "dataset", "key", "corrected")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,255}")
KEPT = ("key", "uri", "label", "corrected")
#: How the first line of a stored table begins; the checksum of all that follows is its end.
CHECKSUM = "# crc32 "
KEY = re.compile("[0-9a-f]{64}")


def from_corrections(recipe: str) -> Corrections:
    """All corrections of a recipe."""
    return Corrections({row["key"]: row["corrected"] for row in kept(recipe)})


def recipes() -> list[str]:
    """Names of the recipes that have corrections."""
    return sorted(file.stem for file in (home() / "labels").glob("*.csv"))


def kept(recipe: str) -> list[dict[str, str]]:
    """Key, path, label and corrected label of every correction of a recipe.

    Raises `DependencyError` if the file is damaged.
    """
    file = _file(recipe)
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return []
    try:
        return _rows(data.decode())
    except ValueError as wrong:
        # What the decoder and the parser say of it is no help.
        found = wrong if type(wrong) is ValueError else "other bytes"
        raise DependencyError(
            f"{file}: expected corrected labels as headstart labels apply wrote them, found {found}. Put the file of a "
            "backup in its place. Without one, move it away, and apply again the tables that you filled in; "
            "data.parquet of each version in MLflow has the labels that it was trained on. If a person has changed the "
            f"file, delete its line that begins with {CHECKSUM.strip()!r}: the rest is then taken as it is."
        ) from None


def _rows(text: str) -> list[dict[str, str]]:
    """The rows of a stored table. Raises `ValueError` with what is wrong with them."""
    first, _, rest = text.partition("\n")
    if not first.startswith(CHECKSUM):
        rest = text
    elif first != _checksum(rest):
        raise ValueError("other bytes than the checksum says")
    table = pd.read_csv(io.StringIO(rest), dtype=str, keep_default_na=False)
    if tuple(table) != KEPT:
        raise ValueError(f"the columns {few(table, 4)}, not {', '.join(KEPT)}")
    for name, wrong in (
        ("key that is no sha256", ~table["key"].str.fullmatch(KEY)),
        ("key that is there twice", table["key"].duplicated()),
        ("row without a label", (table[["label", "corrected"]] == "").any(axis=1)),
    ):
        if wrong.any():
            raise ValueError(f"a {name} in row {wrong.argmax() + 1}")
    return table.to_dict("records")


def _checksum(rows: str) -> str:
    return f"{CHECKSUM}{checksums.of_text(rows):08x}"


def apply(file: Path) -> tuple[str, list[dict[str, Any]]]:
    """Store the corrections of a table that a person has filled in; returns the recipe and the changes.

    The table is `label_suspects.csv` of an audit. Raises `UsageError` when the file is not one, `DataError` when a
    key or a class is not in the data set that the table was made from, or one key has two labels.
    """
    recipe, rows, images = _filled_in(file)
    with _alone(recipe):
        before = {row["key"]: row for row in kept(recipe)}
        after = before | {
            key: {"key": key, "uri": images.loc[key, "uri"], "label": _own(images.loc[key]), "corrected": label}
            for key, label in rows.items()
        }
        # A correction that equals the source's label is dropped.
        _write(recipe, [row for row in after.values() if row["corrected"] != row["label"]])
    now = {row["key"]: row["corrected"] for row in before.values()}
    changes = [(after[key], now.get(key, after[key]["label"]), label) for key, label in rows.items()]
    return recipe, [_change(row, images, was, label) for row, was, label in changes if was != label]


def undo(file: Path) -> tuple[str, list[dict[str, Any]]]:
    """Remove the corrections of the rows filled in in a table; returns the recipe and the changes."""
    recipe, rows, images = _filled_in(file)
    with _alone(recipe):
        before = kept(recipe)
        _write(recipe, [row for row in before if row["key"] not in rows])
    return recipe, [_change(row, images, row["corrected"], row["label"]) for row in before if row["key"] in rows]


def unapplied(file: Path) -> int:
    """How many labels that are filled in in a table are not stored: they would be lost with it.

    Raises `UsageError` when the file is no such table.
    """
    filled = _filled(file)
    stored = {(name, row["key"]): row["corrected"] for name in set(filled["recipe"]) for row in kept(name)}
    return sum(
        row["corrected"].strip() not in (label, escapes.cell(label))
        for row in filled.to_dict("records")
        for label in [stored.get((row["recipe"], row["key"]), row.get("label", ""))]
    )


def _change(row: dict[str, str], images: pd.DataFrame, was: str, label: str) -> dict[str, Any]:
    return {"key": row["key"], "uri": row["uri"], "split": images.loc[row["key"], "split"], "from": was, "to": label}


def _filled_in(file: Path) -> tuple[str, dict[str, str], pd.DataFrame]:
    """Recipe, label by key of the rows that are filled in, and the images of the data set, by key."""
    filled = _filled(file)
    if filled.empty:
        raise DataError(f"{file}: expected labels in the column corrected, found none. Fill in the rows to correct.")
    recipe, dataset = (_only(file, filled, column) for column in ("recipe", "dataset"))
    images = _images(file, dataset)
    # A person may copy a label from another cell, where it is written for spreadsheets.
    written = {escapes.cell(label): label for label in images["label"]}
    filled = filled.assign(corrected=filled["corrected"].str.strip().map(lambda text: written.get(text, text)))
    _check(file, filled, images)
    return recipe, dict(zip(filled["key"], filled["corrected"], strict=True)), images


def _filled(file: Path) -> pd.DataFrame:
    """The rows of a table that a person has filled in."""
    table = _read(file)
    absent = [column for column in NEEDED if column not in table]
    if absent:
        raise UsageError(
            f"{file}: expected the columns of an audit's label_suspects.csv, found no {', '.join(absent)}."
        )
    return table[table["corrected"].str.strip() != ""]


def _check(file: Path, filled: pd.DataFrame, images: pd.DataFrame) -> None:
    unknown = [key for key in filled["key"] if key not in images.index]
    if unknown:
        raise DataError(
            f"{file}: expected keys of the data set, found {len(unknown)} others, among them {few(unknown, 1)}."
        )
    known = sorted(images["label"].unique())
    other = sorted(set(filled["corrected"]) - set(known))
    if other:
        raise DataError(
            f"{file}: expected the classes {', '.join(known)} in the column corrected, found {few(other, 1)}."
        )
    labels = filled.groupby("key")["corrected"].nunique()
    if (labels > 1).any():
        raise DataError(f"{file}: expected one label for each key, found several for {labels.idxmax()!r}.")


def _images(file: Path, dataset: str) -> pd.DataFrame:
    path = f"store/datasets/{Path(dataset).name}/images.parquet"
    if folders.missing([path]):
        raise DataError(
            f"{file}: expected a table of this home folder, found the data set {dataset!r}, which is not in {home()}. "
            "Train the recipe here, or name its home with --home."
        )
    return folders.frame(path).set_index("key")


def _own(image: pd.Series) -> str:
    """The label that the source gives."""
    return str(image["label"] if pd.isna(image["corrected_from"]) else image["corrected_from"])


def _only(file: Path, table: pd.DataFrame, column: str) -> str:
    found = sorted(set(table[column]))
    if len(found) > 1 or not found[0]:
        raise DataError(f"{file}: expected one value in the column {column}, found {few(found)}.")
    # It becomes a part of a path.
    if not NAME.fullmatch(found[0]):
        raise DataError(f"{file}: expected a name in the column {column}, found {few(found)}.")
    return str(found[0])


def _read(file: Path) -> pd.DataFrame:
    """Read as text: a label 007 must stay as it is written."""
    try:
        return pd.read_csv(file, dtype=str, keep_default_na=False)
    except OSError as error:
        raise UsageError(
            f"{file}: expected the label_suspects.csv of an audit, found none ({error.strerror}). headstart labels "
            "suspects NAME writes one."
        ) from None
    except ValueError:
        raise UsageError(f"{file}: expected the label_suspects.csv of an audit, found no CSV table.") from None


def _alone(recipe: str) -> AbstractContextManager[None]:
    file = _file(recipe)
    return locks.alone(file.with_name(f".{file.name}.lock"), f"changing {file}")


def _write(recipe: str, rows: list[dict[str, str]]) -> None:
    """Write all rows or nothing, even when interrupted."""
    file = _file(recipe)
    if not rows:
        file.unlink(missing_ok=True)
        return
    text = pd.DataFrame(rows, columns=list(KEPT)).sort_values("key").to_csv(index=False, lineterminator="\n")
    with replacing(file) as working, working.open("wb") as out:
        out.write(f"{_checksum(text)}\n{text}".encode())
        out.flush()
        os.fsync(out.fileno())


def _file(recipe: str) -> Path:
    return home() / "labels" / f"{Path(recipe).name}.csv"


def corrected(rows: pd.DataFrame, corrections: Corrections) -> pd.DataFrame:
    """The rows with corrected labels; `corrected_from` has the source's label where it was changed."""
    replacement = rows["key"].map(corrections.labels).astype(object)
    changed = replacement.notna() & (replacement != rows["label"])
    own = rows["label"].astype(object)
    return rows.assign(label=own.where(~changed, replacement), corrected_from=own.where(changed, None))
