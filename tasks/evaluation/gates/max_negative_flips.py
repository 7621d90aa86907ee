"""The challenger gets few images wrong that the champion gets right, whatever it gains elsewhere.

Yan et al. 2021, Positive-Congruent Training, https://arxiv.org/abs/2011.09161.
"""

import numpy as np

from tasks.evaluation.gates import Case
from tasks.evaluation.statistics import clusters, paired, proportions
from tasks.records import GateResult
from tasks.runtime.plugins import Share

NAME = "max_negative_flips"


def check(case: Case, *, at_most: Share = 0.05) -> GateResult:
    """The exact (Clopper-Pearson) interval of the share of negative flips among all images is below `at_most`."""
    pair = case.pair
    if few := case.too_few(NAME):
        return few
    assert pair  # else there were too few
    flips = (pair.gains < 0).astype(np.float64)
    rows, broken, share = len(flips), int(flips.sum()), float(flips.mean())
    low, high = proportions.exact(flips, pair.groups, case.level)
    spread, effective = (share * (1 - share)) ** 0.5, clusters.effective(flips, pair.groups)
    found = paired.Difference(share, low, high, spread, rows, pair.units, effective)
    reason = f"{broken} of {rows} test images ({share:.2%}, {low:.2%} to {high:.2%}) were right and are now wrong"
    numbers = {"negative_flips": float(broken), "share": share, "low": low, "high": high, "at_most": at_most}
    if high <= at_most or low > at_most:
        outcome = "passed" if high <= at_most else "failed"
        return GateResult(NAME, outcome, f"{reason}; at most {at_most:.2%} are allowed{case.apart}", numbers)
    more = case.more([(found, rows / len(case.labels))], at_most)
    text = f"{reason}; not enough images to compare with {at_most:.2%}{case.apart}"
    return GateResult(NAME, "undecided", text, numbers, more)
