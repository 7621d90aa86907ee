"""The challenger gets few images wrong that the champion gets right, whatever it gains elsewhere.

Yan et al. 2021, Positive-Congruent Training, https://arxiv.org/abs/2011.09161.
"""

from tasks.evaluation.gates import Case
from tasks.evaluation.statistics import paired
from tasks.records import GateResult


def check(case: Case, *, at_most: float = 0.05) -> GateResult:
    """The exact (Clopper-Pearson) interval of the share of negative flips among all images is below `at_most`."""
    from statsmodels.stats.proportion import proportion_confint

    name = "max_negative_flips"
    if case.champion is None:
        return GateResult(name, "passed", "there is no champion yet", {})
    rows = len(case.labels)
    _, broken = paired.fixed_and_broken(case.labels, case.challenger, case.champion)
    low, high = (float(end) for end in proportion_confint(broken, rows, case.level, method="beta"))
    share = broken / rows
    found = paired.Difference(share, low, high, (share * (1 - share)) ** 0.5, rows)
    reason = f"{broken} of {rows} test images ({share:.2%}, {low:.2%} to {high:.2%}) were right and are now wrong"
    numbers = {"negative_flips": float(broken), "share": share, "low": low, "high": high, "at_most": at_most}
    if high <= at_most or low > at_most:
        outcome = "passed" if high <= at_most else "failed"
        return GateResult(name, outcome, f"{reason}; at most {at_most:.2%} are allowed", numbers)
    more = case.more(found, at_most)
    return GateResult(name, "undecided", f"{reason}; not enough images to compare with {at_most:.2%}", numbers, more)
