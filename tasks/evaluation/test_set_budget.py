"""How worn a test set is, and how sure the next decision on it has to be.

Whoever keeps asking the same test images keeps the models that happen to suit them. Every decision spends a part of
the significance level, so that all decisions on one test set together are wrong with at most the chance that was
allowed for one (alpha spending: Lan and DeMets 1983, Biometrika 70:659-663, https://doi.org/10.1093/biomet/70.3.659).
A test set that has grown since still counts for the share of it that was there.
"""

from collections.abc import Iterable, Sequence

#: Keys in a sketch: the share of common images comes out to about 1/√of it, 0.12.
SKETCH, LENGTH = 64, 12


def sketch(keys: Iterable[str]) -> str:
    """The smallest of the images' keys, shortened: enough to tell later how many images two test sets share.

    Keys are digests, so that the smallest are as good as drawn: bottom-k sketches, Cohen and Kaplan 2007,
    https://doi.org/10.1145/1281100.1281133.
    """
    return " ".join(sorted(key[:LENGTH] for key in keys)[:SKETCH])


def overlap(today: str, earlier: str) -> float:
    """Share of today's test set, 0 to 1, that an earlier one held, from their sketches."""
    ours, theirs = today.split(), earlier.split()
    # Beyond its largest key a full sketch says nothing.
    known = [key for key in ours if len(theirs) < SKETCH or key <= theirs[-1]]
    return sum(key in set(theirs) for key in known) / len(known) if known else 0.0


def worn(today: str, earlier: Sequence[str]) -> float:
    """Decisions that were taken on today's test images, each counting for the share of them that it saw."""
    return sum(overlap(today, each) for each in earlier)


def level(significance: float, worn: float) -> float:
    """Significance level of the next decision: 1/2, 1/6, 1/12, … of the whole, which they add up to."""
    return significance / ((1 + worn) * (2 + worn))
