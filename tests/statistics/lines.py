"""The lines of all parts, and how one is measured."""

import time
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from threadpoolctl import threadpool_limits

SEED = 7


def parts() -> list[str]:
    """The modules beside this one that have lines."""
    names = [module.name for module in iter_modules([str(Path(__file__).parent)])]
    return [name for name in names if name not in ("__main__", "draws", "lines", "small_data")]


def places(wanted: list[str]) -> list[tuple[str, int]]:
    """Each line of some parts, or of all: its part, and its place there."""
    return [(part, at) for part in wanted or parts() for at in range(len(_lines(part)))]


def measured(place: tuple[str, int]) -> tuple[str, str, str, float]:
    """Procedure, claim, what was measured with its Monte-Carlo standard error, and seconds."""
    started = time.perf_counter()
    procedure, claim, measure = _lines(place[0])[place[1]]
    with threadpool_limits(1):  # the lines fill the cores
        value, error = measure(seed=SEED)
    return procedure, claim, f"{value:.3f} ± {error:.3f}", time.perf_counter() - started


def _lines(part: str) -> list:
    return import_module(f"tests.statistics.{part}").LINES
