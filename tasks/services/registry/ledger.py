"""The ledger of a registered model: what was done to its champion, and what is being done right now.

It is kept in tags of the registered model, so that every machine that shares the registry sees it, also on the model's
page in MLflow. Only the holder of the lock (`tasks/services/registry/locks.py`) writes here.
"""

import getpass
import json
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tasks.records import LedgerEntry
from tasks.services.registry import registered_models

ENTRY, INTENT = "headstart.ledger.", "headstart.pending"
#: Characters of a reason. A tag of a registered model has 5,000 in PostgreSQL; an intent holds more than the reason.
REASON = 1000


@dataclass(frozen=True)
class Intent:
    """A started move of aliases: the aliases before and after it, and the entry that ends it."""

    entry: LedgerEntry
    before: dict[str, str]
    after: dict[str, str]


def entries(name: str) -> list[LedgerEntry]:
    """All entries, the oldest first; their numbers are 1, 2, … without a gap."""
    tags = registered_models.model(name).tags
    found = [LedgerEntry.from_summary(json.loads(text)) for tag, text in tags.items() if tag.startswith(ENTRY)]
    return sorted(found, key=lambda entry: entry.number)


def next_entry(  # each argument is a field of the entry
    name: str, action: str, version: str, before: str, after: str, why: str, evidence: str, who: str = ""
) -> LedgerEntry:
    """The next entry: with the next number, the current time, and, unless `who` is given, this user."""
    written = entries(name)
    number = written[-1].number + 1 if written else 1
    when = datetime.now(UTC).isoformat(timespec="seconds")
    reason = " ".join(why.split())[:REASON]
    return LedgerEntry(number, action, version, who[:200] or user(), when, before, after, reason, evidence)


def write(name: str, entry: LedgerEntry) -> None:
    """Add an entry."""
    registered_models.tag_model(name, f"{ENTRY}{entry.number:06}", _text(entry.summary()))


def begin(name: str, intent: Intent) -> None:
    """Write down the move that is about to start, for recovery after a crash."""
    parts = {"entry": intent.entry.summary(), "before": intent.before, "after": intent.after}
    registered_models.tag_model(name, INTENT, _text(parts))


def begun(name: str) -> Intent | None:
    """The move that was started and not finished; None if there is none."""
    text = registered_models.model(name).tags.get(INTENT)
    if not text:
        return None
    parts = json.loads(text)
    return Intent(LedgerEntry.from_summary(parts["entry"]), parts["before"], parts["after"])


def end(name: str) -> None:
    """Mark the move as finished."""
    registered_models.untag_model(name, INTENT)


def withdrawn(written: list[LedgerEntry]) -> dict[str, LedgerEntry]:
    """Versions that an older champion replaced, with the entry; not those that became champion again."""
    found: dict[str, LedgerEntry] = {}
    for entry in written:
        if entry.action not in ("promote", "rollback"):
            continue
        found.pop(entry.after, None)
        if entry.before and int(entry.after) < int(entry.before):
            found[entry.before] = entry
    return found


def user() -> str:
    """Who runs this process, and where."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        name = "unknown"
    return f"{name}@{platform.node()}"


def _text(parts: dict[str, Any]) -> str:
    return json.dumps(parts, ensure_ascii=False, separators=(",", ":"))
