"""The challenger is significantly better than the champion; with a margin, significantly not worse by more than that.

Both predict the same test images today. Accuracy: exact McNemar test on the images that only one of them gets right,
and Tango's interval; any other metric: a paired bootstrap.
"""

from tasks.evaluation.gates import Case
from tasks.evaluation.statistics import paired
from tasks.records import GateResult
from tasks.runtime import plugins

NAME = "not_worse_than_champion"


def check(case: Case, *, metric: str = "accuracy", margin: float = 0.0) -> GateResult:
    """Passes without a champion; undecided if there are too few test images.

    `margin`: how much worse the metric may be, in its own unit; 0 requires a gain.
    """
    new = case.metric(metric)
    if case.champion is None:
        return GateResult(NAME, "passed", f"there is no champion yet; {metric} {new:.4f}", {metric: new})
    score = plugins.entry("metrics", metric)
    old, rows = float(score(case.labels, case.champion)), len(case.labels)
    fixed, broken = paired.fixed_and_broken(case.labels, case.challenger, case.champion)
    p = paired.mcnemar(fixed, broken)
    if metric == "accuracy":
        found = paired.shares(fixed, broken, rows, case.level)
    else:
        found = paired.bootstrap(case.labels, case.challenger, case.champion, score, case.level, case.seed)
    # For some metrics lower is better; from here on, higher means that the challenger is better.
    better = found if plugins.load("metrics", metric).HIGHER_IS_BETTER else _turned(found)
    sure = p <= case.level if metric == "accuracy" and not margin else better.low > -margin or better.high < -margin
    numbers = {metric: new, f"champion_{metric}": old, "fixed": float(fixed), "broken": float(broken), "p": p}
    numbers |= {"gain": better.value, "gain_low": better.low, "gain_high": better.high, "margin": margin}
    reason = _reason(metric, new, old, fixed, broken, p, better, rows, case.level)
    if not sure:
        return GateResult(NAME, "undecided", f"{reason}: too few images to decide", numbers, case.more(better, -margin))
    return GateResult(NAME, "passed" if better.value > -margin else "failed", reason, numbers)


def _turned(found: paired.Difference) -> paired.Difference:
    return paired.Difference(-found.value, -found.high, -found.low, found.spread, found.rows)


def _reason(  # each argument is one of the numbers that the sentence shows
    metric: str,
    new: float,
    old: float,
    fixed: int,
    broken: int,
    p: float,
    better: paired.Difference,
    rows: int,
    level: float,
) -> str:
    interval = f"{better.low:+.4f} to {better.high:+.4f}"
    return (
        f"{metric} {new:.4f} against the champion's {old:.4f} on the same {rows} test images; {fixed} fixed, {broken} "
        f"broken, p = {p:.2g}; gain {better.value:+.4f} ({interval}, {1 - level:.1%} interval)"
    )
