"""Promotion and rollback: the one way in which a champion changes.

A move of aliases is written down before it begins and ends with an entry in the ledger. Whoever is killed in between
leaves the note behind, and the next one who takes the lock, or looks, undoes the move before anything else. A version
is verified before any alias points to it.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tasks.records import LedgerEntry
from tasks.runtime import progress
from tasks.runtime.errors import DataError, DependencyError, brief
from tasks.services.registry import ledger, locks, registered_models, versions
from tasks.services.registry.ledger import Intent
from tasks.services.registry.registered_models import CHALLENGER, CHAMPION, PREVIOUS

#: Tags of a version: what begins like a gate's answer, and the digest of its training.
GATE, MODEL = "headstart.gate.", "headstart.digest"


def promote(
    name: str, version: str, why: str = "", force: bool = False, who: str = "", verified: bool = False
) -> LedgerEntry | None:
    """Make a version the champion; the champion until now becomes `previous`. None where it is the champion already.

    Raises `DataError` when the version fails its verification, or when another champion stands there than the
    one that it was compared with, unless `force`. `verified`: this process has just verified it.
    """
    repair(name)
    found = versions.version_of(name, version)
    if not force:
        _as_compared(name, version)
    if not verified:
        versions.verify(name, version)
    with _alone(name):
        now = registered_models.aliases_of(name)
        if now.get(CHAMPION) == version:
            return None
        if not force:
            _as_compared(name, version)
        return _move(name, "promote", version, now, _circumstances(why, found.tags, force), found.run_id or "", who)


def rollback(name: str, why: str = "", who: str = "") -> LedgerEntry:
    """Make `previous` the champion again, and `previous` the champion until now: a second rollback undoes the first.

    Raises `DataError` where there is no `previous`, or where it fails its verification.
    """
    repair(name)
    seen = registered_models.aliases_of(name)
    version = seen.get(PREVIOUS)
    if version is None:
        raise DataError(
            f"Expected {name} to have a version that was its champion before, found none: there is nothing to go back "
            f"to. headstart models {name} shows what there is."
        )
    versions.verify(name, version)
    with _alone(name):
        now = registered_models.aliases_of(name)
        if any(now.get(alias) != seen.get(alias) for alias in (CHAMPION, PREVIOUS)):
            raise DataError(
                f"Expected {_told(seen)}, found that {name} has moved meanwhile to {_told(now)}. Look again."
            )
        return _move(name, "rollback", version, now, why, versions.version_of(name, version).run_id or "", who)


def reject(name: str, version: str, why: str = "", who: str = "") -> LedgerEntry:
    """Write down that a person did not want this version; nothing else changes."""
    with _alone(name):
        champion = registered_models.aliases_of(name).get(CHAMPION, "")
        run = versions.version_of(name, version).run_id or ""
        entry = ledger.next_entry(name, "reject", version, champion, champion, why, run, who)
        ledger.write(name, entry)
    versions.note(name, version, f"rejected by {entry.who}{f': {entry.why}' if entry.why else ''}")
    return entry


def introduce(name: str, version: str, decision: str, reason: str, approval: bool) -> None:
    """Let a version in that has just been verified: as `challenger`, as champion where nothing holds it back.

    A person is waited for where `approval` is wanted, and where the same model was champion and was taken back.
    """
    with _alone(name):
        registered_models.place(name, registered_models.aliases_of(name) | {CHALLENGER: version})
        taken_back = _taken_back(name, version)
    if decision == "keep" or (decision == "undecided" and not approval):
        return
    if taken_back:
        note = f"its model was taken back in entry {taken_back.number} of the ledger ({taken_back.why or 'no reason'})"
    elif approval:
        note = "the recipe wants a person's approval"
    else:
        promote(name, version, f"gates: {decision}. {reason}", verified=True)
        return
    versions.note(name, version, f"waits, since {note}: headstart promote {name} {version}")


def verify(address: str) -> dict[str, Any]:
    """Verify the version at `NAME@alias`, `NAME/version` or `NAME`, on this machine."""
    repair(re.split("[@/]", address)[0])
    return versions.verify(*versions.resolve(address))


def verdict(name: str, version: str) -> str:
    """What a person has to know who is asked about a version, Markdown."""
    tags = versions.version_of(name, version).tags
    champion = registered_models.aliases_of(name).get(CHAMPION)
    gates = [f"- {tag.removeprefix(GATE)}: {value}" for tag, value in sorted(tags.items()) if tag.startswith(GATE)]
    lines = [
        f"# Shall version {version} be the champion of {name}?",
        f"The gates say **{tags.get('headstart.gate', 'nothing')}**. {tags.get('headstart.gate_reason', '')}",
        "\n".join(gates),
        f"The champion is version {champion}." if champion else "There is no champion yet.",
        tags.get("headstart.backbone", ""),
    ]
    return "\n\n".join(line for line in lines if line)


def overview(name: str | None) -> list[dict[str, Any]]:
    """Every version of one model or of all, the newest first, each with its entries in the ledger."""
    found = []
    for model in registered_models.names() if name is None else [name]:
        repair(model)
        written = ledger.entries(model) if registered_models.known(model) else []
        for version, aliases in versions.versions(model):
            entries = [entry.summary() for entry in written if entry.version == str(version.version)]
            found.append(versions.describe(version, aliases) | {"ledger": entries})
    return found


def history(name: str) -> list[dict[str, Any]]:
    """The ledger as rows, the newest first."""
    shown = ("number", "action", "version", "from", "to", "who", "when", "why")
    return [{key: entry.summary()[key] for key in shown} for entry in reversed(ledger.entries(name))]


def repair(name: str) -> str:
    """Undo a move that was begun and not ended, by a process that is no more; says what was done, "" for nothing."""
    if not registered_models.known(name) or ledger.begun(name) is None:
        return ""
    with locks.held(registered_models.address(), name):  # whoever is still at it ends first
        return _settle(name)


@contextmanager
def _alone(name: str) -> Iterator[None]:
    with locks.held(registered_models.address(), name):
        _settle(name)
        yield


def _move(name: str, action: str, version: str, now: dict[str, str], why: str, evidence: str, who: str) -> LedgerEntry:
    entry = ledger.next_entry(name, action, version, now.get(CHAMPION, ""), version, why, evidence, who)
    wanted = {alias: other for alias, other in now.items() if other != version} | {CHAMPION: version}
    if entry.before:
        wanted[PREVIOUS] = entry.before
    try:
        ledger.begin(name, Intent(entry, now, wanted))
        registered_models.place(name, wanted)
        ledger.write(name, entry)
    except BaseException as error:
        done = _settle(name)
        raise DependencyError(f"The {action} of {name} version {version} failed: {brief(error)}. {done}") from error
    ledger.end(name)
    versions.note(name, version, "")
    return entry


def _settle(name: str) -> str:
    """Finish what was begun where its entry is in the ledger, else put the aliases back; asks for the lock."""
    intent = ledger.begun(name)
    if intent is None:
        return ""
    begun = intent.entry
    move = f"The {begun.action} of {name} version {begun.version} by {begun.who} at {begun.when}"
    written = {entry.number: entry for entry in ledger.entries(name)}.get(begun.number)
    if written is not None and written.action == begun.action:
        registered_models.place(name, intent.after)
        said = f"{move} was interrupted when it was done; nothing had to be undone."
    else:
        there = {alias: version for alias, version in intent.before.items() if versions.find(name, version)}
        registered_models.place(name, there)
        said = f"{move} was interrupted; the aliases are as they were before: {_told(there)}."
        champion = intent.before.get(CHAMPION, "")
        if written is None:
            ledger.write(
                name, ledger.next_entry(name, "repair", begun.version, champion, champion, said, begun.evidence)
            )
    ledger.end(name)
    progress.say(said)
    return said


def _as_compared(name: str, version: str) -> None:
    """Raise `DataError` where the champion is not the one that the version was compared with."""
    champion = registered_models.aliases_of(name).get(CHAMPION, "")
    compared = versions.version_of(name, version).tags.get("headstart.opponent", "")
    if champion in (compared, version) or (champion and _same_model(name, champion, version)):
        return
    moved = next((entry for entry in reversed(ledger.entries(name)) if entry.after == champion), None)
    since = f" since {moved.when} ({moved.action} by {moved.who}, entry {moved.number} of the ledger)" if moved else ""
    raise DataError(
        f"Expected {_champion(compared)} of {name}, with which version {version} was compared, found "
        f"{_champion(champion)}{since}. Run the recipe again, which compares with what is there now, or promote it "
        f"all the same: headstart promote {name} {version} --force."
    )


def _same_model(name: str, one: str, other: str) -> bool:
    """Whether two versions hold the same training: one run computed again, which is compared with what it replaced."""
    models = [versions.version_of(name, each).tags.get(MODEL) for each in (one, other)]
    return bool(models[0]) and models[0] == models[1]


def _circumstances(why: str, tags: dict[str, str], force: bool) -> str:
    """A reason, with what the gates had said where it was no yes."""
    gate = tags.get("headstart.gate", "promote")
    return " ".join([why, *([f"[gates: {gate}]"] if gate != "promote" else []), *(["[forced]"] if force else [])])


def _champion(version: str) -> str:
    return f"version {version} as champion" if version else "no champion"


def _taken_back(name: str, version: str) -> LedgerEntry | None:
    """The entry with which a version of the same model was taken back, if any."""
    entries = ledger.withdrawn(ledger.entries(name)).items()
    return next((e for other, e in entries if versions.find(name, other) and _same_model(name, other, version)), None)


def _told(aliases: dict[str, str]) -> str:
    return ", ".join(f"{alias} {version}" for alias, version in sorted(aliases.items())) or "no alias"
