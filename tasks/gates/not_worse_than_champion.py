"""The challenger's metric is not below the champion's, both scored on the same test rows today."""

from tasks.gates import Scored
from tasks.records import GateResult


def check(
    challenger: Scored, champion: Scored | None, *, metric: str = "balanced_accuracy", margin: float = 0.0
) -> GateResult:
    """Passes without a champion. `margin`: how much lower the metric may be, in its own unit."""
    name, new = "not_worse_than_champion", challenger.metric(metric)
    if champion is None:
        return GateResult(name, True, f"there is no champion yet; {metric} {new:.4f}", {metric: new})
    old = champion.metric(metric)
    numbers = {metric: new, f"champion_{metric}": old, "margin": margin}
    reason = f"{metric} {new:.4f} against the champion's {old:.4f} on the same {len(challenger.labels)} test images"
    return GateResult(name, new >= old - margin, reason, numbers)
