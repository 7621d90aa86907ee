"""Is a gain shown, is a gain that matters excluded, or can neither be told?

That no difference is shown does not show that there is none. Two one-sided tests do, each at half the level of the
interval: Schuirmann 1987, https://doi.org/10.1007/BF01068419. So words follow from the interval alone.
"""

from __future__ import annotations

from typing import Literal

from tasks.evaluation.statistics import paired
from tasks.records import Gain

#: `gain` and `loss` are certain; `none`: a gain that matters is excluded; `open`: it cannot be told.
Finding = Literal["gain", "loss", "none", "open"]
#: The interval's two-sided level, and how probably further rows shall tell.
LEVEL, POWER = 0.05, 0.8


def finding(gain: Gain, margin: float) -> Finding:
    """What the interval of a gain shows; a gain below `margin`, in its unit, does not matter."""
    if gain.low > 0:
        return "gain"
    if gain.high < 0:
        return "loss"
    return "none" if gain.high < margin else "open"


def gain(found: paired.Difference, margin: float) -> Gain:
    """A difference, whose interval is of `LEVEL`, with the further rows that would tell what it is."""
    told = Gain(found.value, found.low, found.high)
    return told if finding(told, margin) != "open" else Gain(found.value, found.low, found.high, _more(found, margin))


def _more(found: paired.Difference, margin: float) -> int | None:
    """Further rows with which the difference is probably told from none, or from one that matters."""
    each = (paired.more_rows([(found, 1.0)], target, LEVEL, POWER) for target in (0.0, margin))
    return min((more for more in each if more), default=None)
