"""Processes that promote at the same moment, and processes that are killed while they do."""

import itertools
import os
import random
import signal
import time
from collections.abc import Callable
from typing import Any

import warm

from tasks.runtime.errors import DataError
from tasks.services import tracking
from tasks.services.registry import ledger, promotion, registered_models

#: What a promotion writes, in this order: the intent, previous, champion, challenger, the entry, its
#: digest, no intent, the note.
WRITES = (
    "set_registered_model_tag",
    "set_registered_model_alias",
    "delete_registered_model_alias",
    "delete_registered_model_tag",
    "set_model_version_tag",
)
POINTS = [(number, when) for number in range(1, 9) for when in ("before", "after")]


class Crowd:
    """So many processes, which promote a version each when they are told to, all at once."""

    def __init__(self, size: int) -> None:
        context = warm.context()
        self.gate = context.Barrier(size)
        self.answers = context.Queue()
        self.orders = [context.Queue() for _ in range(size)]
        self.processes = [warm.forked(_obey, self.gate, q, self.answers) for q in self.orders]
        for process in self.processes:
            process.start()

    def promote(self, name: str, versions: list[str], force: bool) -> list[str]:
        """Each process promotes one of the versions; what each says: `promoted`, `there already`, or the refusal."""
        for queue, version in zip(self.orders, versions, strict=True):
            queue.put((name, version, force))
        return [self.answers.get(timeout=600) for _ in versions]

    def end(self) -> None:
        """Let them go."""
        for queue in self.orders:
            queue.put(None)
        for process in self.processes:
            process.join()


def _obey(gate: Any, orders: Any, answers: Any) -> None:
    while order := orders.get():
        name, version, force = order
        gate.wait()
        try:
            answers.put("promoted" if promotion.promote(name, version, force=force) else "there already")
        except Exception as error:
            answers.put(str(error))


def race(name: str, versions: list[str], rounds: int) -> list[str]:
    """Rounds of a crowd, one process a version, by turns forced and not; what was wrong, a sentence each."""
    crowd, problems = Crowd(len(versions)), []
    try:
        for number in range(rounds):
            force, before = number % 2 == 0, len(ledger.entries(name))
            champion = registered_models.aliases_of(name).get("champion", "")
            for version in [] if force else versions:
                tracking.client().set_model_version_tag(name, version, "headstart.opponent", champion)
            turned = versions[number % len(versions) :] + versions[: number % len(versions)]
            said = crowd.promote(name, turned, force)
            done = said.count("promoted")
            # Who asks for the champion is told so, at whatever moment; of the others all, or the first alone.
            if not force and done != 1:
                problems.append(f"round {number}: {done} promoted against the same champion")
            refused = [text for text in said if text not in ("promoted", "there already")]
            if force and refused:
                problems.append(f"round {number}: {refused[0]}")
            if not all("as when version" in text for text in refused):
                problems.append(f"round {number}: {refused}")
            if len(ledger.entries(name)) - before != done:
                problems.append(f"round {number}: {done} promotions, {len(ledger.entries(name)) - before} entries")
            problems += [f"round {number}: {problem}" for problem in disorder(name)]
    finally:
        crowd.end()
    return problems


def disorder(name: str) -> list[str]:
    """Where ledger and aliases do not go together."""
    entries, aliases = ledger.entries(name), registered_models.aliases_of(name)
    found = []
    if [entry.number for entry in entries] != list(range(1, len(entries) + 1)):
        found.append(f"the ledger has a gap: {[entry.number for entry in entries]}")
    for one, next_one in itertools.pairwise(entries):
        if next_one.before != one.after:
            found.append(f"entry {next_one.number} goes from {next_one.before}, entry {one.number} to {one.after}")
    moves = [entry for entry in entries if entry.action in ("promote", "rollback")]
    expected = (moves[-1].after, moves[-1].before) if moves else ("", "")
    if (aliases.get("champion", ""), aliases.get("previous", "")) != expected:
        found.append(f"champion and previous are {aliases}, the ledger says {expected}")
    return found


def kill(name: str, versions: list[str], bad: str, moment: tuple[int, str] | float) -> None:
    """Promote versions by turns in a process that dies by SIGKILL: at a point of `POINTS`, or after so many seconds.

    Before that it tries a version that was changed, `bad`.
    """
    ready = warm.context().Event()
    process = warm.forked(_promote_until_killed, name, versions, bad, moment, ready)
    process.start()
    if isinstance(moment, float):
        ready.wait()
        time.sleep(moment)
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL


def _promote_until_killed(
    name: str, versions: list[str], bad: str, moment: tuple[int, str] | float, ready: Any
) -> None:
    try:
        promotion.promote(name, bad, force=True)
    except DataError:
        ready.set()
    if isinstance(moment, tuple):
        _arm(*moment)
    for version in itertools.cycle(versions):
        promotion.promote(name, version, force=True)


def _arm(number: int, when: str) -> None:
    client, count = tracking.client(), 0

    def armed(write: Callable[..., Any]) -> Callable[..., Any]:
        def last(*args: Any) -> None:
            nonlocal count
            count += 1
            if count == number and when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            write(*args)
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)

        return last

    for write in WRITES:
        setattr(client, write, armed(getattr(client, write)))


def moments(count: int, seed: int = 0) -> list[tuple[int, str] | float]:
    """All points, then moments at random within the first three seconds of promotions."""
    draw = random.Random(seed)
    return [*POINTS, *(draw.uniform(0, 3) for _ in range(count))][:count]
