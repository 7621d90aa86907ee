"""Findings in words: whether transfer helps, and what a search found."""

from collections.abc import Sequence
from typing import Any

from tasks.records import Gain, Gap, TunedRef


def weights(scores: dict[str, dict[str, float]], gains: dict[str, Gain]) -> str:
    """What pretrained weights are worth beside random ones, of accuracies 0 to 1 and log losses in nats.

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
            f"The pretrained weights make the probabilities better than random ones do, log loss {losses}, but gain "
            f"no accuracy for sure, {_points(gain)}: {beside}."
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

    `reached`: images with which scratch would reach transfer's last error, where a power law tells.
    """
    said = answer(gaps)
    if said == "unknown":
        return "No verdict: at no number of images were both transfer and training from scratch measured."
    worse = next((gap for gap in reversed(gaps) if gap.gain.high < 0), None)
    if said == "does not help":
        return (
            f"Transfer does not help here: at none of {len(gaps)} sizes does it gain accuracy for sure; with "
            f"{gaps[-1].images:,} training images it gains {_points(gaps[-1].gain)}."
        )
    if said == "harms" and worse:
        return (
            f"Transfer harms here: with {worse.images:,} training images it loses {_points(worse.gain, -1)} of "
            f"accuracy to {worse.scratch}, and at no size does it gain any for sure."
        )
    end = _to_the_end(gaps[-1], reached) if said == "helps" else _caught_up(gaps, worse)
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
    start = f"Training from scratch does not catch up with the {last.images:,} images that are here"
    if reached is None:
        return f"{start}, and its points do not tell when it would."
    return (
        f"{start}; by a power law through its errors, an extrapolation, {last.scratch} would need about "
        f"{float(f'{reached:.2g}'):,.0f} to reach what {last.transfer} reaches with them."
    )


def _caught_up(gaps: Sequence[Gap], worse: Gap | None) -> str:
    after = max(at for at, gap in enumerate(gaps) if gap.gain.low > 0) + 1
    said = f"From {gaps[after].images:,} images on training from scratch is not significantly worse"
    if worse and worse.images >= gaps[after].images:
        return f"{said}; with {worse.images:,} {worse.scratch} is better, by {_points(worse.gain, -1)}."
    return f"{said}."


def _points(gain: Gain, sign: int = 1) -> str:
    """A gain in percentage points with its interval."""
    low, high = sorted((sign * gain.low, sign * gain.high))
    return f"{100 * sign * gain.value:.1f} points ({100 * low:.1f} to {100 * high:.1f})"


def search(tuned: TunedRef) -> str:
    """What was searched, and the best that was found."""
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
