"""Promotion and rollback: the only way to change the champion.

A move of aliases is written down before it starts and ends with an entry in the ledger. If its process is killed in
between, the next process that takes the lock or lists the versions first undoes the move. A version is verified before
any alias points to it.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tasks.records import LedgerEntry
from tasks.runtime import progress
from tasks.runtime.errors import DataError, DependencyError, brief
from tasks.runtime.escapes import markdown
from tasks.services.registry import ledger, locks, registered_models, versions
from tasks.services.registry.ledger import Intent
from tasks.services.registry.registered_models import CHALLENGER, CHAMPION, PREVIOUS

#: Tags of a version: prefix of the gates' answers, and the digest of its training.
GATE, MODEL = "headstart.gate.", "headstart.digest"


def promote(
    name: str, version: str, why: str = "", force: bool = False, who: str = "", verified: bool = False
) -> LedgerEntry | None:
    """Make a version the champion; the current champion becomes `previous`. None if it is the champion already.

    Raises `DataError` if the version fails its verification, or, unless `force`, if the champion is not the one that
    it was compared with. `verified`: this process has just verified it.
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
    """Exchange champion and `previous`: a second rollback undoes the first.

    Raises `DataError` if there is no `previous`, or if it fails its verification.
    """
    repair(name)
    seen = registered_models.aliases_of(name)
    version = seen.get(PREVIOUS)
    if version is None:
        raise DataError(
            f"Expected {name} to have a previous champion, found none: there is nothing to roll back to. headstart "
            f"models {name} lists its versions."
        )
    versions.verify(name, version)
    with _alone(name):
        now = registered_models.aliases_of(name)
        if any(now.get(alias) != seen.get(alias) for alias in (CHAMPION, PREVIOUS)):
            raise DataError(
                f"Expected the aliases of {name} to be {_listed(seen)}, found {_listed(now)}: another process moved "
                f"them. Try again."
            )
        return _move(name, "rollback", version, now, why, versions.version_of(name, version).run_id or "", who)


def reject(name: str, version: str, why: str = "", who: str = "") -> LedgerEntry:
    """Write down that a person rejected this version; nothing else changes."""
    with _alone(name):
        champion = registered_models.aliases_of(name).get(CHAMPION, "")
        run = versions.version_of(name, version).run_id or ""
        entry = ledger.next_entry(name, "reject", version, champion, champion, why, run, who)
        ledger.write(name, entry)
    versions.note(name, version, f"rejected by {entry.who}{f': {entry.why}' if entry.why else ''}")
    return entry


def introduce(name: str, version: str, decision: str, reason: str, approval: bool) -> None:
    """Make a version that was just verified the `challenger`, and the champion if nothing prevents it.

    It waits for a person if `approval` is set, or if the same model was champion and was rolled back.
    """
    with _alone(name):
        registered_models.place(name, registered_models.aliases_of(name) | {CHALLENGER: version})
        withdrawn = taken_back(name, version)
    if decision == "keep" or (decision == "undecided" and not approval):
        return
    if withdrawn:
        note = f"its model was rolled back in entry {withdrawn.number} of the ledger ({withdrawn.why or 'no reason'})"
    elif approval:
        note = "the recipe requires a person's approval"
    else:
        promote(name, version, f"gates: {decision}. {reason}", verified=True)
        return
    versions.note(name, version, f"waits, since {note}: headstart promote {name} {version}")


def verify(address: str) -> dict[str, Any]:
    """Verify the version at `NAME@alias`, `NAME/version` or `NAME`, on this machine, and the ledger of its model."""
    wrong = checked(re.split("[@/]", address)[0])[1]
    return versions.verify(*versions.resolve(address)) | {"ledger_problems": wrong}


def verify_all() -> list[dict[str, Any]]:
    """Verify every version of every model. Raises `DataError` naming all that failed, after each was looked at."""
    found, wrong = [], []
    for version, _ in versions.versions():
        try:
            one = versions.verify(version.name, version.version)
            found.append(one | {"ledger_problems": checked(version.name)[1]})
        except DataError as error:
            wrong.append(str(error))
    if wrong:
        raise DataError("\n".join([f"{len(wrong)} of {len(wrong) + len(found)} versions failed.", *wrong]))
    return found


def verdict(name: str, version: str) -> str:
    """What a person needs to know to approve a version, Markdown."""
    tags = versions.version_of(name, version).tags
    champion = registered_models.aliases_of(name).get(CHAMPION)
    gates = [
        f"- {markdown(tag.removeprefix(GATE))}: {markdown(value)}"
        for tag, value in sorted(tags.items())
        if tag.startswith(GATE)
    ]
    lines = [
        f"# Should version {version} become the champion of {markdown(name)}?",
        f"The gates say **{markdown(tags.get('headstart.gate', 'nothing'))}**. "
        + markdown(tags.get("headstart.gate_reason", "")),
        "\n".join(gates),
        f"The champion is version {champion}." if champion else "There is no champion yet.",
        markdown(tags.get("headstart.backbone", "")),
    ]
    return "\n\n".join(line for line in lines if line)


def overview(name: str | None) -> list[dict[str, Any]]:
    """Every version of one model or of all, the newest first, each with its entries in the ledger.

    What is wrong with a model's ledger stands with each of its versions, and stops nothing.
    """
    found = []
    for model in registered_models.names() if name is None else [name]:
        written, wrong = checked(model)
        for version, aliases in versions.versions(model):
            entries = [entry.summary() for entry in written if entry.version == str(version.version)]
            found.append(versions.describe(version, aliases) | {"ledger": entries, "ledger_problems": wrong})
    return found


def checked(name: str) -> tuple[list[LedgerEntry], list[str]]:
    """The entries of a model's ledger, after a move that died is undone, and what is wrong with it, as sentences."""
    wrong = []
    try:
        repair(name)
    except DataError as error:
        wrong.append(str(error))
    model = registered_models.find(name)
    entries, broken = ledger.examined(model.tags) if model else ([], [])
    return entries, [f"The ledger of {name} is broken. {sentence}" for sentence in broken] + wrong


def history(name: str) -> list[dict[str, Any]]:
    """The ledger as rows, the newest first."""
    shown = ("number", "action", "version", "from", "to", "who", "when", "why")
    return [{key: entry.summary()[key] for key in shown} for entry in reversed(ledger.entries(name))]


def repair(name: str) -> str:
    """Undo a move that a dead process left unfinished; returns what was done, "" for nothing."""
    if not registered_models.known(name) or ledger.begun(name) is None:
        return ""
    with locks.held(registered_models.address(), name):  # a move that is still running ends first
        return _settle(name)


@contextmanager
def _alone(name: str) -> Iterator[None]:
    with locks.held(registered_models.address(), name):
        _settle(name)
        yield


def _move(name: str, action: str, version: str, now: dict[str, str], why: str, evidence: str, who: str) -> LedgerEntry:
    entry = ledger.next_entry(name, action, version, now.get(CHAMPION, ""), version, why, evidence, who)
    after = {alias: other for alias, other in now.items() if other != version} | {CHAMPION: version}
    if entry.before:
        after[PREVIOUS] = entry.before
    try:
        ledger.begin(name, Intent(entry, now, after))
        registered_models.place(name, after)
        ledger.write(name, entry)
    except BaseException as error:
        done = _settle(name)
        raise DependencyError(f"The {action} of {name} version {version} failed: {brief(error)}. {done}") from error
    ledger.end(name)
    versions.note(name, version, "")
    return entry


def _settle(name: str) -> str:
    """Finish a started move if its entry is in the ledger, else restore the aliases; the caller holds the lock."""
    intent = ledger.begun(name)
    if intent is None:
        return ""
    entry = intent.entry
    move = f"The {entry.action} of {name} version {entry.version} by {entry.who} at {entry.when}"
    written = {each.number: each for each in ledger.entries(name)}.get(entry.number)
    if written is not None and written.action == entry.action:
        registered_models.place(name, intent.after)
        message = f"{move} was interrupted after it was done; nothing had to be undone."
    else:
        there = {alias: version for alias, version in intent.before.items() if versions.find(name, version)}
        registered_models.place(name, there)
        message = f"{move} was interrupted; the aliases are as they were before: {_listed(there)}."
        champion = intent.before.get(CHAMPION, "")
        if written is None:
            ledger.write(
                name, ledger.next_entry(name, "repair", entry.version, champion, champion, message, entry.evidence)
            )
    ledger.end(name)
    progress.say(message)
    return message


def _as_compared(name: str, version: str) -> None:
    """Raise `DataError` if the champion is not the one that the version was compared with."""
    champion = registered_models.aliases_of(name).get(CHAMPION, "")
    compared = versions.version_of(name, version).tags.get("headstart.opponent", "")
    if champion in (compared, version) or (champion and _same_model(name, champion, version)):
        return
    moved = next((entry for entry in reversed(ledger.entries(name)) if entry.after == champion), None)
    since = f" since {moved.when} ({moved.action} by {moved.who}, entry {moved.number} of the ledger)" if moved else ""
    raise DataError(
        f"Expected {_champion(compared)} of {name}, as when version {version} was compared, found "
        f"{_champion(champion)}{since}. Run the recipe again to compare with the current champion, or promote it "
        f"anyway: headstart promote {name} {version} --force."
    )


def _same_model(name: str, one: str, other: str) -> bool:
    """Whether two versions hold the same training: a repeated run is compared with what it replaced."""
    models = [versions.version_of(name, each).tags.get(MODEL) for each in (one, other)]
    return bool(models[0]) and models[0] == models[1]


def _circumstances(why: str, tags: dict[str, str], force: bool) -> str:
    """The reason, with the gates' decision if it was not `promote`, and whether it was forced."""
    gate = tags.get("headstart.gate", "promote")
    return " ".join([why, *([f"[gates: {gate}]"] if gate != "promote" else []), *(["[forced]"] if force else [])])


def _champion(version: str) -> str:
    return f"version {version} as champion" if version else "no champion"


def taken_back(name: str, version: str) -> LedgerEntry | None:
    """The entry with which a version of the same model was rolled back, if none has become champion since."""
    written = ledger.entries(name)

    def same(other: str) -> bool:
        return versions.find(name, other) is not None and _same_model(name, other, version)

    for other, entry in ledger.withdrawn(written).items():
        since = {later.after for later in written if later.number >= entry.number and later.action in ledger.MOVES}
        if same(other) and not any(map(same, since)):
            return entry
    return None


def _listed(aliases: dict[str, str]) -> str:
    return ", ".join(f"{alias} {version}" for alias, version in sorted(aliases.items())) or "no alias"
