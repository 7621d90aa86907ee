"""Progress of long work: bars where the command has set a console, and calls of whoever watches."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

from tasks.runtime.errors import without_secrets
from tasks.runtime.escapes import printable

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")

console: "Console | None" = None

#: Gets what is being done, how much of it is done, and how much there is, each time that a part is done.
watcher: ContextVar[Callable[[str, int, int], None] | None] = ContextVar("watcher", default=None)


def reached(what: str, done: int, total: int) -> None:
    """Tell whoever watches how much is done."""
    if watching := watcher.get():
        watching(what, done, total)


def say(line: str) -> None:
    """Print a line of progress, also into the log of the run."""
    line = without_secrets(line)
    logging.getLogger("headstart").info(line)
    if console is not None:
        console.print(printable(line), markup=False, soft_wrap=True)


def track(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """Pass the items on, and show how many of `total` are done, how many per second, and the time left."""
    yield from counted(((item, 1) for item in items), total, what)


def counted(items: Iterable[tuple[T, int]], total: int, what: str) -> Iterator[T]:
    """Like `track`, for items of several units each: pairs of (item, units)."""
    items = _watched(items, total, what)
    if console is None or not console.is_terminal:
        yield from (item for item, _ in items)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:<15}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
    )
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task(what, total=total, rate="")
        for item, units in items:
            yield item
            speed = bar.tasks[0].speed
            bar.update(task, advance=units, rate=f"{speed:.0f}/s" if speed else "")


def _watched(items: Iterable[tuple[T, int]], total: int, what: str) -> Iterator[tuple[T, int]]:
    done = 0
    for item, units in items:
        yield item, units
        done += units
        reached(what, done, total)
