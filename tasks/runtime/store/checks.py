"""Everything that the store holds, compared with its checksums."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tasks.runtime.home import home
from tasks.runtime.store import checksums, commits, folders, inventory, photos
from tasks.runtime.store.checksums import COLUMN
from tasks.runtime.store.commits import DAMAGED, Broken
from tasks.runtime.store.inventory import FLAT, FOLDERS, RESULTS, TABLES


@dataclass(frozen=True)
class Damage:
    """Something that is damaged: its kind, its name, and what is wrong with it."""

    kind: str
    name: str
    wrong: str
    #: Whether it can be computed again, or fetched again.
    again: bool = True

    def set_aside(self) -> None:
        """Put it away, so that it is computed again where it can be."""
        if self.kind == TABLES:
            commits.set_aside(commits.uri(self.name), self.wrong)
        elif self.kind == FOLDERS:
            folders.set_aside(self.name, self.wrong)
        elif self.kind == RESULTS:
            found = home() / self.name
            found.replace(found.with_name(f"{found.name}{DAMAGED}"))
        elif self.again:  # it is written again from its table, or fetched again
            (home() / self.name).unlink(missing_ok=True)


def damaged() -> Iterator[Damage]:
    """Tables, flat arrays, stage folders and copies of photos that are not as they were written. Reads all of them."""
    for item in inventory.items():
        wrong = ""
        if item.kind == TABLES and not item.name.endswith(".lance"):
            wrong = _table(item.name)
        elif item.kind == FLAT:
            wrong = _flat(home() / item.name)
        elif item.kind == FOLDERS:
            wrong = folders.damage(item.name)
        if wrong:
            yield Damage(item.kind, item.name, wrong)
    for copy in photos.copies():
        if not photos.sound(copy.name):
            yield Damage("photos", str(copy.relative_to(home())), "it has other bytes than were fetched")


def _table(name: str) -> str:
    try:
        dataset = commits.opened(commits.uri(name))
        if dataset is None:
            return ""
        own = [column for column in dataset.schema.names if column != COLUMN]
        with commits.reading():
            for batch in dataset.to_batches(batch_size=1024):
                if not len(batch):
                    continue
                if own == ["key", "value"]:
                    found = checksums.of_rows(batch["key"].to_pylist(), _values(batch["value"]))
                else:
                    found = checksums.of_cells(batch.select(own))
                if (found != batch[COLUMN].to_numpy()).any():
                    raise Broken("rows have other bytes than were written")
    except Broken as damage:
        return str(damage)
    return ""


def _values(column: object) -> np.ndarray:
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)  # type: ignore[attr-defined,arg-type]


def _flat(file: Path) -> str:
    """What is wrong with the flat copy of the newest version of a table; "" for another, which is not read any more."""
    of = commits.of_flat(file.name)
    try:
        dataset = commits.opened(commits.uri(of[0])) if of else None
        if of is None or dataset is None or str(dataset.version) != of[1]:
            return ""
        with commits.reading():
            table = dataset.to_table(columns=["key", COLUMN])
    except Broken:  # said of the table itself
        return ""
    try:
        values = np.load(file, mmap_mode="r")
    except (ValueError, EOFError):
        return "it is no array"
    keys, expected = table["key"].to_pylist(), table[COLUMN].to_numpy()
    if len(values) != len(keys):
        return f"it has {len(values)} rows, its table {len(keys)}"
    for start in range(0, len(keys), 1024):
        part = slice(start, start + 1024)
        if (checksums.of_rows(keys[part], values[part]) != expected[part]).any():
            return "rows have other bytes than were written"
    return ""
