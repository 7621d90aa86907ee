"""The challenger is significantly better than the champion; with a margin, significantly not worse by more than that.

Both predict the same test images today, which neither was trained on, of classes that both know. Accuracy: exact
McNemar test on the images that only one of them gets right, and Tango's interval, or signs of groups; any other metric:
a paired bootstrap of the groups.
"""

from dataclasses import replace

import numpy as np

from tasks.evaluation.gates import ALONE, Case, Pair
from tasks.evaluation.statistics import paired
from tasks.records import GateResult
from tasks.runtime import plugins

NAME = "not_worse_than_champion"


def check(case: Case, *, metric: str = "accuracy", margin: float = 0.0) -> GateResult:
    """Passes without a champion; undecided if there are too few test images.

    `margin`: how much worse the metric may be, in its own unit; 0 requires a gain.
    """
    score, pair = plugins.entry("metrics", metric), case.pair
    if pair is None:
        new = case.metric(metric)
        return GateResult(NAME, "passed", f"{ALONE}; {metric} {new:.4f}", {metric: new})
    if few := case.too_few(NAME):
        return few
    new, old = (float(score(pair.labels, model)) for model in pair.models)
    gains = pair.gains
    p, better, sure = _compared(case, pair, metric, margin)
    fixed, broken = ((sign * gains > 0).sum() for sign in (1, -1))
    numbers = {metric: new, f"champion_{metric}": old, "fixed": float(fixed), "broken": float(broken), "p": p}
    numbers |= {"gain": better.value, "gain_low": better.low, "gain_high": better.high, "margin": margin}
    numbers |= {"images": float(better.rows), "independent": float(better.units)}
    if better.units < better.rows:
        # What would be said if each image stood alone, so that a person sees what groups change.
        alone_p, alone, decided = _compared(case, replace(pair, groups=None), metric, margin)
        numbers |= {"p_by_images": alone_p, "gain_low_by_images": alone.low, "gain_high_by_images": alone.high}
        numbers |= {"decided_by_images": float(decided)}
    reason = (
        f"{metric} {new:.4f} against the champion's {old:.4f} on the same {better.rows} test images; {fixed} fixed, "
        f"{broken} broken, p = {p:.2g}; gain {better.value:+.4f} ({better.low:+.4f} to {better.high:+.4f}, "
        f"{1 - case.level:.1%} interval){case.apart}"
    )
    if not sure:
        # Only these of the newly labelled test images are of classes that both know.
        share = float(np.isin(case.labels, pair.labels).mean())
        more = case.more([(better, share)], -margin)
        return GateResult(NAME, "undecided", f"{reason}: too few images to decide", numbers, more)
    return GateResult(NAME, "passed" if better.value > -margin else "failed", reason, numbers)


def _compared(case: Case, pair: Pair, metric: str, margin: float) -> tuple[float, paired.Difference, bool]:
    """The p-value of equal accuracies, by how much the metric is better for the challenger, and if that decides."""
    p = paired.p_value(pair.gains, pair.groups, case.seed)
    if metric == "accuracy":
        found = paired.shares(pair.gains, case.level, pair.groups)
    else:
        score = plugins.entry("metrics", metric)
        found = paired.bootstrap(pair.labels, pair.models, score, case.level, case.seed, pair.groups)
    # For some metrics lower is better; from here on, higher means that the challenger is better.
    better = found if plugins.load("metrics", metric).HIGHER_IS_BETTER else found.turned
    sure = p <= case.level if metric == "accuracy" and not margin else better.low > -margin or better.high < -margin
    return p, better, sure
