"""What may be dropped: what nobody has used for long, and what is too much for the disk."""

import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from tasks.runtime import progress
from tasks.runtime.home import home, store_limit
from tasks.runtime.store import commits, inventory, uses
from tasks.runtime.store.inventory import ASIDE, ENGINES, FACTS, FLAT, FOLDERS, KINDS, TABLES, WORKING, Item

#: Days without use after which folders, results and logs are dropped.
UNUSED = 30
#: What is dropped for the limit, the first first. A flat array is a copy of a table.
FIRST = (ASIDE, FLAT, TABLES, ENGINES, FOLDERS)
#: Folders of data sets, which `headstart labels apply` reads.
DATASETS = "store/datasets/"


def prune(used: Collection[str], datasets: Collection[str], days: float, delete: bool) -> list[dict[str, Any]]:
    """For each kind, what is there and what is to go; deletes it if told so.

    `used`: tables that registered versions were trained from; `datasets`: digests of their data sets. Tables of no
    version go, the rest after `days` without use. What was used since a run began that is still going on stays.
    """
    goes = _rule(used, datasets, days)
    there = list(inventory.items())
    dropped = [item for item in there if goes(item)]
    for item in dropped if delete else []:
        item.drop()
    rows = []
    for kind in KINDS:
        held, out = ([item for item in these if item.kind == kind] for these in (there, dropped))
        if held:
            there_is, goes_out = ((len(these), sum(item.bytes for item in these)) for these in (held, out))
            rows.append(row(kind, there_is, goes_out, delete, [item.name for item in out]))
    return rows


def row(
    kind: str, held: tuple[int, int], out: tuple[int, int], deleted: bool, names: Collection[str] = ()
) -> dict[str, Any]:
    """What is said of a kind: count and bytes of what is there, and of what goes."""
    return {
        "kind": kind,
        "count": held[0],
        "bytes": held[1],
        "drop_count": out[0],
        "drop_bytes": out[1],
        "deleted": deleted and out[0] > 0,
        "names": list(names),
    }


def _rule(used: Collection[str], datasets: Collection[str], days: float) -> Callable[[Item], bool]:
    """Which items go."""
    begun = uses.since()
    long_ago = min(begun, time.time() - days * 86400)

    def goes(item: Item) -> bool:
        if item.kind == TABLES and item.name.endswith(".lance"):  # of an older release: nothing reads it any more
            return item.used < begun
        if item.kind == TABLES and not item.name.startswith(FACTS):
            return item.used < begun and item.name not in used
        if item.kind == FOLDERS and item.name.removeprefix(DATASETS) in datasets:
            return False
        if item.kind == FLAT and not ((of := commits.of_flat(item.name)) and commits.exist(of[:1])[0]):
            return item.used < begun
        # A download goes on where it stopped.
        if item.kind == ASIDE or (item.kind == WORKING and not item.name.endswith(".part")):
            return item.used < begun
        return item.used < long_ago

    return goes


def within_limit() -> None:
    """Drop what was not used for the longest time until the store is within `HEADSTART_STORE_LIMIT`, if there is one.

    Tables go before folders. What a run that is going on has used stays, and so do data sets.
    """
    limit = store_limit()
    if limit is None:
        return
    size = _size()
    if size <= limit:
        return
    begun = uses.since()
    free = [
        item
        for item in inventory.items()
        if item.kind in FIRST and item.used < begun and not item.name.startswith(DATASETS)
    ]
    if commits.local() is None:
        free = [item for item in free if "/" in item.name]  # without those on an object store
    dropped = []
    for item in sorted(free, key=lambda item: (FIRST.index(item.kind), item.used)):
        if size <= limit:
            break
        with suppress(OSError):  # another run was faster
            item.drop()
        size -= item.bytes
        dropped.append(item)
    names = f"Dropped {', '.join(item.name for item in dropped)}" if dropped else "Dropped nothing"
    still = f"; it still holds {size / 1e9:.3g} GB, which running commands or data sets need" if size > limit else ""
    progress.say(f"The store is over HEADSTART_STORE_LIMIT ({limit / 1e9:.3g} GB). {names}{still}.")


def _size() -> int:
    """Bytes of all files of the store on this machine."""
    tops = {home() / "store", commits.local() or home() / "store"}
    return sum(_bytes(file) for top in tops for file in top.rglob("*"))


def _bytes(file: Path) -> int:
    try:
        return file.stat().st_size if file.is_file() else 0
    except FileNotFoundError:
        return 0
