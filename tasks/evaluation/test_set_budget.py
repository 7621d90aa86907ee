"""How often a test set was used, and the significance level of the next decision on it.

Repeated decisions on the same test images select models that fit them by chance. Every decision spends a part of the
significance level, so that all decisions on one test set together are wrong with at most the probability allowed for
one (alpha spending: Lan and DeMets 1983, Biometrika 70:659-663, https://doi.org/10.1093/biomet/70.3.659). A test set
that shares images with that of an earlier decision is not a new one: the decision counts whole, however many they are.
"""

from collections.abc import Iterable, Sequence

#: Keys in a sketch, and characters of each key: what a tag in MLflow has room for. Two test sets of which at least one
#: image in a hundred is common are told with a probability of 99 %.
SKETCH, LENGTH = 512, 12


def sketch(keys: Iterable[str]) -> str:
    """The smallest image keys, shortened: enough to see later whether two test sets share images.

    Keys are digests, so the smallest ones are a random sample: bottom-k sketches, Cohen and Kaplan 2007,
    https://doi.org/10.1145/1281100.1281133.
    """
    return " ".join(sorted(key[:LENGTH] for key in keys)[:SKETCH])


def worn(today: str, earlier: Sequence[str]) -> int:
    """How many earlier decisions used any of today's test images, from the sketches."""
    ours = set(today.split())
    return sum(not ours.isdisjoint(each.split()) for each in earlier)


def level(significance: float, worn: int) -> float:
    """Significance level of the next decision: 1/2, 1/6, 1/12, … of `significance`, which is their sum."""
    return significance / ((1 + worn) * (2 + worn))
