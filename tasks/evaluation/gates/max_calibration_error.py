"""The challenger's confidence is about as high as its accuracy: a limit on its expected calibration error."""

from statistics import NormalDist

from tasks.evaluation import metrics
from tasks.evaluation.gates import Case
from tasks.evaluation.statistics import paired
from tasks.records import GateResult
from tasks.runtime.plugins import Share

NAME = "max_calibration_error"


def check(case: Case, *, at_most: Share = 0.1) -> GateResult:
    """The interval of the metric `ece` of the challenger, 0 to 1, is not above `at_most`; it fails if it lies above."""
    found, rows = case.metric("ece"), len(case.labels)
    low, high = metrics.interval("ece", case.labels, case.challenger, case.seed, case.groups, case.level)
    numbers = {"ece": found, "low": low, "high": high, "at_most": at_most}
    reason = f"calibration error {found:.4f} ({low:.4f} to {high:.4f})"
    if high <= at_most or low > at_most:
        passed = high <= at_most
        return GateResult(NAME, "passed" if passed else "failed", f"{reason}, {_side(passed)} {at_most}", numbers)
    # A row's part of the error, as the width of the interval has it.
    spread = (high - low) / 2 / NormalDist().inv_cdf(1 - case.level / 2) * rows**0.5
    more = case.more([(paired.Difference(found, low, high, spread, rows, rows, rows), 1.0)], at_most)
    return GateResult(NAME, "undecided", f"{reason}; not enough images to compare with {at_most}", numbers, more)


def _side(passed: bool) -> str:
    return "at most" if passed else "above"
