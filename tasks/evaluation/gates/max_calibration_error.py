"""The challenger's confidence is about as high as its accuracy: a limit on its expected calibration error."""

from tasks.evaluation.gates import Case
from tasks.records import GateResult


def check(case: Case, *, at_most: float = 0.1) -> GateResult:
    """The metric `ece` of the challenger, 0 to 1; on few images it tends to be too high."""
    found = case.metric("ece")
    holds = found <= at_most
    reason = f"calibration error {found:.4f}, {'at most' if holds else 'above'} {at_most}"
    return GateResult("max_calibration_error", "passed" if holds else "failed", reason, {"ece": found})
