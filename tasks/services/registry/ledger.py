"""The ledger of a registered model: what was done to its champion, and what is being done right now.

It is kept in tags of the registered model, so that every machine that shares the registry sees it, also on the model's
page in MLflow. Only the holder of the lock (`tasks/services/registry/locks.py`) writes here.

Each entry holds the SHA-256 of the text of the one before, and another tag that of the newest, so that an entry that
was changed or removed shows (a hash chain: Haber and Stornetta, 1991, https://doi.org/10.1007/BF00196791). It does not
hold off who may write tags and rewrites them all. Entries of 0.1 have no such digest: the chain starts after them.
"""

import getpass
import hashlib
import json
import platform
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from tasks.records import LedgerEntry
from tasks.runtime.errors import DataError
from tasks.services.registry import registered_models
from tasks.services.registry.registered_models import ALIASES

ENTRY, HEAD, INTENT = "headstart.ledger.", "headstart.ledger_head", "headstart.pending"
TAG = re.compile(re.escape(ENTRY) + "([0-9]{6})")
#: Actions that make a version the champion because a run or a person decided so.
MOVES = ("promote", "rollback")
#: Characters of a reason. A tag of a registered model has 5,000 in PostgreSQL; an intent holds more than the reason.
REASON = 1000


@dataclass(frozen=True)
class Intent:
    """A started move of aliases: the aliases before and after it, and the entry that ends it."""

    entry: LedgerEntry
    before: dict[str, str]
    after: dict[str, str]


def entries(name: str) -> list[LedgerEntry]:
    """All entries that can be read, the oldest first; their numbers are 1, 2, … without a gap."""
    return examined(registered_models.model(name).tags)[0]


def examined(tags: dict[str, str]) -> tuple[list[LedgerEntry], list[str]]:
    """From the tags of a registered model: the entries that can be read, the oldest first, and what is wrong.

    Each sentence names an entry, what was expected and what was found. Never raises for a broken entry.
    """
    texts = _texts(tags)
    found: dict[int, LedgerEntry] = {}
    wrong: list[str] = []
    for number, text in texts.items():
        try:
            found[number] = _entry(number, text)
        except ValueError as error:
            wrong.append(f"Entry {number}: expected the JSON of an entry, found {error}.")
    for one, following in pairwise([0, *texts]):
        if following > one + 1:
            wrong.append(f"Entry {one + 1}: expected it before entry {following}, found none.")
    chained = [number for number, entry in found.items() if entry.previous_hash]
    for number in chained:
        before = number - 1
        if not before and found[number].previous_hash != _digest(""):
            wrong.append("Entry 1: expected none before it, found the digest of one.")
        elif before in texts and found[number].previous_hash != _digest(texts[before]):
            wrong.append(f"Entry {before}: expected the text whose digest entry {number} holds, found another.")
    wrong += [
        f"Entry {number}: expected the digest of the entry before, found none: it was changed, or is one of 0.1."
        for number, entry in found.items()
        if not entry.previous_hash and chained and number > chained[0]
    ]
    return list(found.values()), wrong + _headless(tags, texts, chained)


def _headless(tags: dict[str, str], texts: dict[int, str], chained: list[int]) -> list[str]:
    """What is wrong with the newest entry, of which the tag `HEAD` holds number and digest."""
    number, _, digest = tags.get(HEAD, "").partition(" ")
    if not number:  # a process may have died right after the first entry
        gone = bool(chained) and chained[0] < max(texts)
        return [f"The tag {HEAD}: expected the digest of the newest entry, found none."] if gone else []
    if not re.fullmatch("[0-9]{1,6}", number):
        return [f"The tag {HEAD}: expected a number and a digest, found {tags[HEAD]!r:.60}."]
    if int(number) > max(texts, default=0):
        return [f"Entry {number}: expected it as the newest, as the tag {HEAD} says, found none."]
    if int(number) in texts and digest != _digest(texts[int(number)]):
        return [f"Entry {number}: expected the text whose digest the tag {HEAD} holds, found another."]
    return []


def next_entry(  # each argument is a field of the entry
    name: str, action: str, version: str, before: str, after: str, why: str, evidence: str, who: str = ""
) -> LedgerEntry:
    """The next entry: with the next number, the current time, and, unless `who` is given, this user."""
    texts = _texts(registered_models.model(name).tags)
    newest = max(texts, default=0)
    when = datetime.now(UTC).isoformat(timespec="seconds")
    reason = " ".join(why.split())[:REASON]
    link = _digest(texts.get(newest, ""))
    return LedgerEntry(newest + 1, action, version, who[:200] or user(), when, before, after, reason, evidence, link)


def write(name: str, entry: LedgerEntry) -> None:
    """Add an entry."""
    text = _text(entry.summary())
    registered_models.tag_model(name, f"{ENTRY}{entry.number:06}", text)
    registered_models.tag_model(name, HEAD, f"{entry.number} {_digest(text)}")


def begin(name: str, intent: Intent) -> None:
    """Write down the move that is about to start, for recovery after a crash."""
    parts = {"entry": intent.entry.summary(), "before": intent.before, "after": intent.after}
    registered_models.tag_model(name, INTENT, _text(parts))


def begun(name: str) -> Intent | None:
    """The move that was started and not finished; None if there is none. Raises `DataError` if it cannot be read."""
    text = registered_models.model(name).tags.get(INTENT)
    if not text:
        return None
    try:
        parts = _object(text)
        before, after = _aliases(parts.get("before")), _aliases(parts.get("after"))
        return Intent(LedgerEntry.from_summary(_dict(parts.get("entry"))), before, after)
    except ValueError as error:
        raise DataError(
            f"Expected the tag {INTENT} of {name} to hold a move of aliases that was interrupted, found {error}. "
            f"Look at the aliases of {name} in MLflow, put them right, and delete the tag."
        ) from None


def end(name: str) -> None:
    """Mark the move as finished."""
    registered_models.untag_model(name, INTENT)


def _texts(tags: dict[str, str]) -> dict[int, str]:
    """The texts of the entries by number, in order, whatever is in them."""
    numbered = {int(found[1]): text for tag, text in tags.items() if (found := TAG.fullmatch(tag))}
    return dict(sorted(numbered.items()))


def _entry(number: int, text: str) -> LedgerEntry:
    entry = LedgerEntry.from_summary(_object(text))
    if entry.number != number:
        raise ValueError(f"the number {entry.number}")
    return entry


def _object(text: str) -> dict[str, Any]:
    try:
        return _dict(json.loads(text))
    except (json.JSONDecodeError, RecursionError):
        raise ValueError(f"{text!r:.60}") from None


def _dict(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{value!r:.60}")
    return value


def _aliases(value: Any) -> dict[str, str]:
    """Versions by alias."""
    if not all(alias in ALIASES and isinstance(version, str) for alias, version in _dict(value).items()):
        raise ValueError(f"{value!r:.60}")
    return value


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def withdrawn(written: list[LedgerEntry]) -> dict[str, LedgerEntry]:
    """Versions that an older champion replaced, with the entry; not those that became champion again."""
    found: dict[str, LedgerEntry] = {}
    for entry in written:
        if entry.action not in MOVES:
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
