"""The challenger gets few images wrong that the champion gets right, whatever it gains elsewhere.

Yan et al. 2021, Positive-Congruent Training, https://arxiv.org/abs/2011.09161.
"""

from tasks.evaluation.gates import Case
from tasks.evaluation.statistics import bootstrap, clusters, paired, proportions
from tasks.records import GateResult


def check(case: Case, *, at_most: float = 0.05) -> GateResult:
    """The exact (Clopper-Pearson) interval of the share of negative flips among all images is below `at_most`."""
    name = "max_negative_flips"
    if case.champion is None:
        return GateResult(name, "passed", "there is no champion yet", {})
    rows = len(case.labels)
    before, after = (bootstrap.correct(case.labels, said) for said in (case.champion, case.challenger))
    flipped = before * (1 - after)
    broken, share = int(flipped.sum()), float(flipped.mean())
    low, high = proportions.exact(flipped, case.groups, case.level)
    spread = (share * (1 - share) * clusters.design_effect(flipped, case.groups)) ** 0.5
    found = paired.Difference(share, low, high, spread, rows)
    reason = f"{broken} of {rows} test images ({share:.2%}, {low:.2%} to {high:.2%}) were right and are now wrong"
    numbers = {"negative_flips": float(broken), "share": share, "low": low, "high": high, "at_most": at_most}
    if high <= at_most or low > at_most:
        outcome = "passed" if high <= at_most else "failed"
        return GateResult(name, outcome, f"{reason}; at most {at_most:.2%} are allowed", numbers)
    more = case.more(found, at_most)
    return GateResult(name, "undecided", f"{reason}; not enough images to compare with {at_most:.2%}", numbers, more)
