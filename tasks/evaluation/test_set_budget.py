"""How often a test set was used, and the significance level of the next decision on it.

Repeated decisions on the same test images select models that fit them by chance. Every decision spends a part of the
significance level, so that all decisions on one test set together are wrong with at most the probability allowed for
one (alpha spending: Lan and DeMets 1983, Biometrika 70:659-663, https://doi.org/10.1093/biomet/70.3.659). If the test
set has grown since, an earlier decision counts for the share of images that it used.
"""

from collections.abc import Iterable, Sequence

#: Keys in a sketch (the share of common images is accurate to about 1/√64 = 0.12), and characters of each key.
SKETCH, LENGTH = 64, 12


def sketch(keys: Iterable[str]) -> str:
    """The smallest image keys, shortened: enough to estimate later how many images two test sets share.

    Keys are digests, so the smallest ones are a random sample: bottom-k sketches, Cohen and Kaplan 2007,
    https://doi.org/10.1145/1281100.1281133.
    """
    return " ".join(sorted(key[:LENGTH] for key in keys)[:SKETCH])


def overlap(today: str, earlier: str) -> float:
    """Share of today's test set, 0 to 1, that an earlier one contained, from their sketches."""
    ours, theirs = today.split(), earlier.split()
    # A full sketch has no information beyond its largest key.
    known = [key for key in ours if len(theirs) < SKETCH or key <= theirs[-1]]
    return sum(key in set(theirs) for key in known) / len(known) if known else 0.0


def worn(today: str, earlier: Sequence[str]) -> float:
    """Earlier decisions on today's test images, each weighted by the share of them that it used."""
    return sum(overlap(today, each) for each in earlier)


def level(significance: float, worn: float) -> float:
    """Significance level of the next decision: 1/2, 1/6, 1/12, … of `significance`, which is their sum."""
    return significance / ((1 + worn) * (2 + worn))
