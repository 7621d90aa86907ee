"""No class, and optionally no slice, gets worse by more than a margin, whatever the overall gain."""

import numpy as np

from tasks.evaluation.gates import Case, Pair
from tasks.evaluation.statistics import paired
from tasks.records import GateResult
from tasks.runtime.plugins import Share

NAME = "no_class_regression"


def check(case: Case, *, margin: Share = 0.05, slices: bool = False) -> GateResult:
    """In each class and slice, accuracy is significantly not lower than the champion's by more than `margin`.

    All parts must pass, so none needs a stricter level (intersection-union test: Berger 1982, Technometrics
    24:295-300, https://doi.org/10.1080/00401706.1982.10487790). To fail, a part must be significantly worse after
    correction for their number (Bonferroni). A part that is too small to tell is undecided.
    """
    pair = case.pair
    if few := case.too_few(NAME):
        return few
    assert pair  # else there were too few
    parts = {f"class {case.classes[at]}": pair.labels == at for at in case.shared}
    parts |= {name: rows for name, rows in pair.slices.items() if case.slices[name].any()} if slices else {}
    empty = [name for name, rows in parts.items() if not rows.any()]
    parts = {name: rows for name, rows in parts.items() if rows.any()}
    found = {name: _gain(pair, rows, case.level) for name, rows in parts.items()}
    strict = {name: _gain(pair, rows, case.level / len(parts)) for name, rows in parts.items()}
    worse = [name for name, gain in strict.items() if gain.high < -margin]
    unsure = [name for name, gain in found.items() if gain.low <= -margin]
    numbers = {f"gain {name}": gain.value for name, gain in found.items()} | {"margin": margin}
    if worse:
        named = ", ".join(_shown(name, strict[name]) for name in worse)
        return GateResult(NAME, "failed", f"worse: {named}{case.apart}", numbers)
    if not unsure and not empty:
        least = min(found, key=lambda name: found[name].value)
        return GateResult(NAME, "passed", f"lowest gain: {_shown(least, found[least])}{case.apart}", numbers)
    # Only a share of the newly labelled images is in a part, and all parts have to pass.
    more = case.more([(gain, parts[name].sum() / len(case.labels)) for name, gain in found.items()], -margin)
    named = ", ".join((*(_shown(name, found[name]) for name in unsure), *(f"{name} (no image)" for name in empty)))
    said = f"a loss above {margin:.2%} is possible: {named}{case.apart}"
    # How many more images there would be of a part that has none is not known.
    return GateResult(NAME, "undecided", said, numbers, None if empty else more)


def _gain(pair: Pair, rows: np.ndarray, level: float) -> paired.Difference:
    return paired.shares(pair.gains[rows], level, pair.of(rows))


def _shown(name: str, gain: paired.Difference) -> str:
    return f"{name} {gain.value:+.2%} ({gain.low:+.2%} to {gain.high:+.2%})"
