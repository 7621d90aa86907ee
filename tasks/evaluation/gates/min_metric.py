"""Absolute thresholds: `at_least = {accuracy = 0.8}`, `at_most = {log_loss = 0.5}`."""

from tasks.evaluation.gates import Case
from tasks.records import GateResult


def check(
    case: Case, *, at_least: dict[str, float] | None = None, at_most: dict[str, float] | None = None
) -> GateResult:
    """Every named metric of the challenger is on the right side of its threshold."""
    low, high = at_least or {}, at_most or {}
    found = {name: case.metric(name) for name in (*low, *high)}
    wrong = [f"{name} {found[name]:.4f} is below {limit}" for name, limit in low.items() if not found[name] >= limit]
    wrong += [f"{name} {found[name]:.4f} is above {limit}" for name, limit in high.items() if not found[name] <= limit]
    reason = (
        "; ".join(wrong) or "; ".join(f"{name} {value:.4f}" for name, value in found.items()) or "no thresholds set"
    )
    return GateResult("min_metric", "failed" if wrong else "passed", reason, found)
