"""Findings in words: whether transfer helps, and what a search found."""

from collections.abc import Sequence
from typing import Any

from tasks.records import Gain, Gap, TunedRef


def weights(scores: dict[str, dict[str, float]], gains: dict[str, Gain]) -> str:
    """How pretrained weights compare with random ones, by accuracies (0 to 1) and log losses in nats.

    `scores`: of `pretrained`, `random` and `majority`; `gains`: of `accuracy` and `log_loss` over random weights.
    """
    gain = gains["accuracy"]
    seen = {name: f"{found['accuracy']:.1%}" for name, found in scores.items()}
    beside = f"{seen['pretrained']} against {seen['random']}, and {seen['majority']} for the most frequent class alone"
    if gain.low > 0:
        return f"The pretrained weights gain {_points(gain)} of accuracy over random ones: {beside}."
    if gain.high < 0:
        return f"The pretrained weights harm here: they lose {_points(gain, -1)} of accuracy to random ones, {beside}."
    if gains["log_loss"].low > 0:
        losses = f"{scores['pretrained']['log_loss']:.3f} against {scores['random']['log_loss']:.3f}"
        return (
            f"The pretrained weights give better probabilities than random ones, log loss {losses}, but no significant "
            f"gain in accuracy, {_points(gain)}: {beside}."
        )
    return f"The pretrained weights do not help here: they gain {_points(gain)} of accuracy over random ones, {beside}."


def answer(gaps: Sequence[Gap]) -> str:
    """`helps` (to the last size), `catches up` (scratch does), `does not help`, `harms`, or `unknown` without gaps."""
    if not gaps:
        return "unknown"
    if any(gap.gain.low > 0 for gap in gaps):
        return "helps" if gaps[-1].gain.low > 0 else "catches up"
    return "harms" if any(gap.gain.high < 0 for gap in gaps) else "does not help"


def comparison(gaps: Sequence[Gap], reached: float | None = None) -> str:
    """The verdict over gaps in ascending order of their images.

    `reached`: images with which scratch would reach transfer's last error, if a power law predicts it.
    """
    result = answer(gaps)
    if result == "unknown":
        return "No verdict: transfer and training from scratch were not measured at the same number of images."
    worse = next((gap for gap in reversed(gaps) if gap.gain.high < 0), None)
    if result == "does not help":
        return (
            f"Transfer does not help here: its gain in accuracy is significant at none of {len(gaps)} sizes; with "
            f"{gaps[-1].images:,} training images it gains {_points(gaps[-1].gain)}."
        )
    if result == "harms" and worse:
        return (
            f"Transfer harms here: with {worse.images:,} training images it loses {_points(worse.gain, -1)} of "
            f"accuracy to {worse.scratch}, and its gain is significant at no size."
        )
    end = _to_the_end(gaps[-1], reached) if result == "helps" else _caught_up(gaps, worse)
    return f"{_gained(gaps)} {end}"


def _gained(gaps: Sequence[Gap]) -> str:
    helping = [gap for gap in gaps if gap.gain.low > 0]
    first, last = helping[0], helping[-1]
    more = f", with {last.images:,} {_points(last.gain)}" if first != last else ""
    return (
        f"Transfer helps: with {first.images:,} training images it gains {_points(first.gain)} of accuracy over "
        f"training from scratch{more}."
    )


def _to_the_end(last: Gap, reached: float | None) -> str:
    start = f"Training from scratch does not catch up with the {last.images:,} images available"
    if reached is None:
        return f"{start}, and its points do not show when it would."
    return (
        f"{start}; extrapolated by a power law through its errors, {last.scratch} would need about "
        f"{float(f'{reached:.2g}'):,.0f} images to be as accurate as {last.transfer} is with them."
    )


def _caught_up(gaps: Sequence[Gap], worse: Gap | None) -> str:
    after = max(at for at, gap in enumerate(gaps) if gap.gain.low > 0) + 1
    message = f"From {gaps[after].images:,} images on, training from scratch is not significantly worse"
    if worse and worse.images >= gaps[after].images:
        return f"{message}; with {worse.images:,}, {worse.scratch} is better by {_points(worse.gain, -1)}."
    return f"{message}."


def _points(gain: Gain, sign: int = 1) -> str:
    """A gain in percentage points with its interval."""
    low, high = sorted((sign * gain.low, sign * gain.high))
    return f"{100 * sign * gain.value:.1f} points ({100 * low:.1f} to {100 * high:.1f})"


def search(tuned: TunedRef) -> str:
    """How long the search took, and the best that it found."""
    head = tuned.head
    options = "".join(f", {name} {_short(value)}" for name, value in head["options"].items())
    images = f"in {tuned.folds} folds" if tuned.folds > 1 else "on the validation images"
    return (
        f"{tuned.trials} trials in {tuned.seconds:.0f} s, {tuned.pruned} of them ended early. The best, with a loss "
        f"of {tuned.validation_loss:.4f} {images}: head {head['kind']}{options}, learning rate "
        f"{_short(head['learning_rate'])}, weight decay {_short(head['weight_decay'])}, pooling {tuned.pooling}, "
        f"views {', '.join(tuned.views)}."
    )


def _short(value: Any) -> str:
    """A setting for people: three digits of a number."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
