"""The gap between the newest and older images: how often its interval holds it, and how often newer ones seem worse."""

from functools import cache, partial

from tasks.evaluation import metrics, time_gap
from tests.statistics import draws

SHARES = [0.6, 0.3, 0.1]
#: Recalls of the classes on older images, and on the newest ones where time changes them.
BEFORE, AFTER = (0.92, 0.85, 0.8), (0.85, 0.75, 0.6)
#: Newest and older images, alone and in groups of `EACH`, whose rights and wrongs have a correlation of about 0.1.
ALONE, GROUPED, EACH, ALIKE = (400, 160), (1000, 500), 20, 0.25
MANY, RUNS = 300_000, 1000


@cache
def _truth(name: str, recalls: tuple[float, ...]) -> float:
    return metrics.evaluate(*draws.classified(0, SHARES, list(recalls), MANY)[:2])[name]


def _gap(name: str, now: tuple[float, ...], each: int, run: int) -> tuple[float, float]:
    """The interval of the gap of a metric where the newest images have the recalls `now`."""
    sides = []
    for place, (recalls, rows) in enumerate(zip((now, BEFORE), GROUPED if each > 1 else ALONE, strict=True)):
        labels, said, groups = draws.classified(
            2 * run + 1 + place, SHARES, list(recalls), rows, each, ALIKE if each > 1 else 0.0
        )
        value = metrics.evaluate(labels, said)[name]
        sides.append((value, *metrics.interval(name, labels, said, run, groups)))
    return time_gap.difference(*sides)


def _covered(name: str, now: tuple[float, ...], each: int, seed: int) -> tuple[float, float]:
    """How often the interval holds the gap of very many images."""
    gap = _truth(name, now) - _truth(name, BEFORE)

    def once(run: int) -> bool:
        low, high = _gap(name, now, each, run)
        return low <= gap <= high

    return draws.share(once, seed, RUNS)


def _worse(each: int, seed: int) -> tuple[float, float]:
    """How often the model is said to do worse on newer images where nothing changes."""
    return draws.share(lambda run: _gap("accuracy", BEFORE, each, run)[1] < 0, seed, 2 * RUNS)


HOW = ((ALONE, 1, ""), (GROUPED, EACH, f" in groups of {EACH}"))
LINES = [
    *(
        (
            f"gap of {name}, {newest} newest and {older} older images{how}, {what}",
            "0.93 to 0.97",
            partial(_covered, name, now, each),
        )
        for name in ("accuracy", "balanced_accuracy")
        for now, what in ((BEFORE, "nothing changes"), (AFTER, "the newest are harder"))
        for (newest, older), each, how in HOW
    ),
    *(
        (
            f"{newest} newest and {older} older images{how}, nothing changes",
            "worse on the newest in at most 0.025",
            partial(_worse, each),
        )
        for (newest, older), each, how in HOW
    ),
]
