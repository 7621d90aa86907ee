"""Are new images like the ones before? Tests of samples, each with the chance of so large a difference by accident."""

from collections.abc import Mapping

import numpy as np

#: A p-value below is reported as drift, the smallest of several being multiplied by their number (Bonferroni).
LEVEL = 0.05


def of_answers(
    said: Mapping[str, int], before: Mapping[str, int], novel: int | None, false_alarms: float
) -> tuple[tuple[str, ...], dict[str, float]]:
    """Sentences and p-values: of the classes that were named, against `before`, and of how many images are new.

    `said`, `before`: images by the class that the same version calls them. `novel`: images that it calls new, of which
    images like the others are `false_alarms` at most.
    """
    p = {"classes": _classes(said, before)}
    images = sum(said.values())
    sentences = {"classes": f"Classes are named as often as among the validation images (p = {p['classes']:.2g})."}
    level = LEVEL / (1 if novel is None else 2)
    if p["classes"] < level:
        shares = (
            f"{name} {n / images:.1%}, before {before[name] / sum(before.values()):.1%}" for name, n in said.items()
        )
        sentences["classes"] = f"Classes are named in other shares (p = {p['classes']:.2g}): {'; '.join(shares)}."
    if novel is not None:
        p["novelty"] = _more(novel, images, false_alarms)
        more = "More images than expected are" if p["novelty"] < level else "No more images than expected are"
        sentences["novelty"] = (
            f"{more} unlike the training images: {novel / max(images, 1):.1%} (p = {p['novelty']:.2g}), "
            f"{false_alarms:.0%} of the validation images."
        )
    return tuple(sentences.values()), p


def _classes(said: Mapping[str, int], before: Mapping[str, int]) -> float:
    """Of a chi-squared test of two rows of counts; 1 where there is nothing to compare."""
    from scipy.stats import chi2_contingency

    counts = np.array([[said[name], before.get(name, 0)] for name in said])
    counts = counts[counts.sum(axis=1) > 0]
    if len(counts) < 2 or (counts.sum(axis=0) == 0).any():
        return 1.0
    return float(chi2_contingency(counts).pvalue)


def _more(hits: int, images: int, share: float) -> float:
    """Of a binomial test whether a share is larger."""
    from scipy.stats import binomtest

    return float(binomtest(hits, images, share, "greater").pvalue) if images else 1.0
