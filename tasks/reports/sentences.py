"""Findings in words: whether transfer helps, and what a search found."""

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.evaluation.gates import rounded
from tasks.evaluation.statistics import equivalence
from tasks.records import Gain, Gap, TunedRef

#: Findings at which training from scratch is behind by less than matters, if at all.
CAUGHT_UP = ("none", "loss")


def weights(scores: dict[str, dict[str, float]], gains: dict[str, Gain], margin: float) -> str:
    """How pretrained weights compare with random ones, by accuracies (0 to 1) and log losses in nats.

    `scores`: of `pretrained`, `random` and `majority`; `gains`: of `accuracy` and `log_loss` over random weights;
    `margin`: smallest gain in accuracy that matters. Their words follow from the intervals alone, see `equivalence`.
    """
    gain, losses = gains["accuracy"], gains["log_loss"]
    found, points = equivalence.finding(gain, margin), _points(gain)
    seen = {name: f"{found['accuracy']:.1%}" for name, found in scores.items()}
    beside = f"{seen['pretrained']} against {seen['random']}, and {seen['majority']} for the most frequent class alone"
    if found == "gain":
        return f"The pretrained weights gain {points} of accuracy over random ones{_small(gain, margin)}: {beside}."
    if found == "loss":
        return f"The pretrained weights harm here: they lose {_points(gain, -1)} of accuracy to random ones, {beside}."
    if losses.low > 0 or losses.high < 0:
        both = f"log loss {scores['pretrained']['log_loss']:.3f} against {scores['random']['log_loss']:.3f}"
        better = "better" if losses.low > 0 else "worse"
        accuracy = _excluded(margin) if found == "none" else "whether they gain accuracy cannot be told"
        return (
            f"The pretrained weights give {better} probabilities than random ones, {both}, but {accuracy}, "
            f"{points}: {beside}{_more(gain)}."
        )
    if found == "none":
        return f"The pretrained weights do not help here: {_excluded(margin)}, {points} over random ones, {beside}."
    return (
        f"It cannot be told whether the pretrained weights help here: they gain {points} of accuracy over random ones, "
        f"{beside}{_more(gain)}."
    )


def _small(gain: Gain, margin: float) -> str:
    return f", less than the {_percent(margin)} that matter" if gain.high < margin else ""


def _excluded(margin: float) -> str:
    return f"a gain of {_percent(margin)} of accuracy or more is excluded"


def _more(gain: Gain) -> str:
    return f"; about {rounded(gain.more):,} more validation images would tell" if gain.more else ""


def _percent(margin: float) -> str:
    return f"{100 * margin:g} points"


def answer(gaps: Sequence[Gap], margin: float) -> str:
    """`helps`, `catches up` (scratch does), `does not help`, `harms`, `cannot be told`, or `unknown` without gaps.

    `margin`: smallest gain in accuracy that matters.
    """
    found = [equivalence.finding(gap.gain, margin) for gap in gaps]
    if not found:
        return "unknown"
    if "gain" in found:
        return "catches up" if found[-1] in CAUGHT_UP else "helps"
    if "loss" in found:
        return "harms"
    return "cannot be told" if "open" in found else "does not help"


def comparison(gaps: Sequence[Gap], margin: float, reached: tuple[float, float] | None = None) -> str:
    """The verdict over gaps in ascending order of their images.

    `reached`: range of images with which scratch would reach transfer's last error, if its points predict it.
    """
    result = answer(gaps, margin)
    if result == "unknown":
        return "No verdict: transfer and training from scratch were not measured at the same number of images."
    last, worse = gaps[-1], next((gap for gap in reversed(gaps) if gap.gain.high < 0), None)
    with_last = f"with {last.images:,} training images it gains {_seen(last)}"
    if result == "cannot be told":
        return f"It cannot be told whether transfer helps here: {with_last} of accuracy{_needed(gaps, margin)}."
    if result == "does not help":
        return f"Transfer does not help here: {_excluded(margin)} at all of {len(gaps)} sizes; {with_last}."
    if result == "harms" and worse:
        return (
            f"Transfer harms here: with {worse.images:,} training images it loses {_points(worse.gain, -1)} of "
            f"accuracy to {worse.scratch}, and a gain is shown at no size."
        )
    end = _to_the_end(gaps, margin, reached) if result == "helps" else _caught_up(gaps, margin, worse)
    return f"{_gained(gaps, margin)} {end}"


def shortened(short: Mapping[str, tuple[int, int]]) -> str:
    """That some methods were trained less often than others; "" if none was."""
    each = ", ".join(f"{method} has {count} of {most} trainings" for method, (count, most) in short.items())
    return f" The methods were not trained equally often: {each}." if each else ""


def _gained(gaps: Sequence[Gap], margin: float) -> str:
    helping = [gap for gap in gaps if gap.gain.low > 0]
    first, last = helping[0], helping[-1]
    more = f", with {last.images:,} {_points(last.gain)}" if first != last else ""
    return (
        f"Transfer helps: with {first.images:,} training images it gains {_points(first.gain)} of accuracy over "
        f"training from scratch{more}{_small(last.gain, margin)}."
    )


def _to_the_end(gaps: Sequence[Gap], margin: float, reached: tuple[float, float] | None) -> str:
    last = gaps[-1]
    if last.gain.low <= 0:
        return (
            f"Whether training from scratch has caught up with {last.images:,} images cannot be told: there transfer "
            f"gains {_seen(last)}{_needed(gaps, margin)}."
        )
    start = f"Training from scratch does not catch up with the {last.images:,} images available"
    if reached is None:
        return f"{start}, and its points do not show when it would."
    low, high = (f"{float(f'{end:.2g}'):,.0f}" for end in reached)
    needed = f"about {low} to {high} images" if high != "inf" else f"more than about {low} images, if any number,"
    return (
        f"{start}; extrapolated by a power law with a floor through its errors, {last.scratch} would need {needed} to "
        f"be as accurate as {last.transfer} is with them."
    )


def _caught_up(gaps: Sequence[Gap], margin: float, worse: Gap | None) -> str:
    found = [equivalence.finding(gap.gain, margin) for gap in gaps]
    first = gaps[max(at for at, each in enumerate(found) if each not in CAUGHT_UP) + 1]
    message = f"From {first.images:,} images on, {_excluded(margin)}"
    if worse and worse.images >= first.images:
        return f"{message}; with {worse.images:,}, {worse.scratch} is better by {_points(worse.gain, -1)}."
    return f"{message}."


def _needed(gaps: Sequence[Gap], margin: float) -> str:
    """What would tell, at the largest size that is open."""
    gap = next(gap for gap in reversed(gaps) if equivalence.finding(gap.gain, margin) == "open")
    at = f" at {gap.images:,} training images" if gap is not gaps[-1] else ""
    if gap.trainings < 2:
        return f"; each method was trained once, and only further trainings (compare.seeds) would tell{at}"
    if gap.more_trainings:
        return f"; about {gap.more_trainings} more trainings of each method (compare.seeds) would tell{at}"
    if gap.gain.more:
        return f"; about {rounded(gap.gain.more):,} more validation images would tell{at}"
    return f"; it would take more trainings (compare.seeds) and more validation images{at}"


def _seen(gap: Gap) -> str:
    """The gain of a gap, which a single training gives no interval for."""
    return _points(gap.gain) if gap.trainings > 1 else f"{100 * gap.gain.value:.1f} points"


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


def view(name: str, rise: float) -> str:
    """A view that is trained on, and in which held-out photos are answered otherwise: their log loss rises, in nats."""
    return (
        f"In the view {name.replace('_', ' ')} held-out photos are answered otherwise (log loss +{rise:.2f}): it may "
        "show another class. Leave it out of images.views if it does."
    )
