"""The challenger predicts one image fast enough on the machine that evaluates it."""

from tasks.evaluation.gates import Case
from tasks.records import GateResult
from tasks.runtime.plugins import Above0


def check(case: Case, *, milliseconds: Above0 = 200.0) -> GateResult:
    """Median time of the network for one prepared image, without decoding it."""
    if case.latency is None:
        raise ValueError("expected a network to measure, found none")
    found = case.latency()
    holds = found <= milliseconds
    reason = f"{found:.1f} ms an image, {'at most' if holds else 'above'} {milliseconds:g} ms"
    return GateResult("max_latency", "passed" if holds else "failed", reason, {"milliseconds": found})
