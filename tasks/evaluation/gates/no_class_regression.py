"""No class, and optionally no slice, gets worse by more than a margin, whatever the overall gain."""

import numpy as np

from tasks.evaluation.gates import Case
from tasks.evaluation.statistics import paired
from tasks.records import GateResult

NAME = "no_class_regression"


def check(case: Case, *, margin: float = 0.05, slices: bool = False, min_images: int = 10) -> GateResult:
    """In each class and slice, accuracy is significantly not lower than the champion's by more than `margin`.

    All parts must pass, so none needs a stricter level (intersection-union test: Berger 1982, Technometrics
    24:295-300, https://doi.org/10.1080/00401706.1982.10487790). To fail, a part must be significantly worse after
    correction for their number (Bonferroni). Parts with fewer than `min_images` test images are skipped, and named.
    """
    if case.champion is None:
        return GateResult(NAME, "passed", "there is no champion yet", {})
    parts = {f"class {name}": case.labels == at for at, name in enumerate(case.classes)}
    parts |= dict(case.slices) if slices else {}
    judged = {name: rows for name, rows in parts.items() if rows.sum() >= min_images}
    if not judged:
        return GateResult(NAME, "undecided", f"no class has {min_images} test images", {}, None)
    found = {name: _gain(case, rows, case.level) for name, rows in judged.items()}
    strict = {name: _gain(case, rows, case.level / len(judged)) for name, rows in judged.items()}
    worse = [name for name, gain in strict.items() if gain.high < -margin]
    unsure = [name for name, gain in found.items() if gain.low <= -margin]
    least = min(found, key=lambda name: found[name].value)
    numbers = {f"gain {name}": gain.value for name, gain in found.items()} | {"margin": margin}
    few = (
        f"; too few images to judge {', '.join(sorted(parts.keys() - judged.keys()))}"
        if len(judged) < len(parts)
        else ""
    )
    if worse or not unsure:
        named = ", ".join(_shown(name, strict[name]) for name in worse) or _shown(least, found[least])
        return GateResult(
            NAME, "failed" if worse else "passed", f"{'worse' if worse else 'lowest gain'}: {named}{few}", numbers
        )
    # Only a share of the newly labelled images is in the part.
    more = [(case.more(found[name], -margin), judged[name].mean()) for name in unsure]
    images = max((int(np.ceil(count / share)) for count, share in more if count), default=0) or None
    named = ", ".join(_shown(name, found[name]) for name in unsure)
    return GateResult(NAME, "undecided", f"a loss above {margin:.2%} is possible: {named}{few}", numbers, images)


def _gain(case: Case, rows: np.ndarray, level: float) -> paired.Difference:
    assert case.champion is not None  # the caller has checked
    fixed, broken = paired.fixed_and_broken(case.labels[rows], case.challenger[rows], case.champion[rows])
    return paired.shares(fixed, broken, int(rows.sum()), level)


def _shown(name: str, gain: paired.Difference) -> str:
    return f"{name} {gain.value:+.2%} ({gain.low:+.2%} to {gain.high:+.2%})"
