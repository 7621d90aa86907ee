"""Calibration: temperature, prediction sets, selective prediction (when to abstain), and novelty.

All terms come from the validation images. Labels are int[n]; probabilities are float[n, classes], each row sums to 1.
"""

import numpy as np

from tasks.evaluation.statistics import clusters, proportions
from tasks.records import CalibrationTerms

#: Smaller probabilities are raised to this one, whose logarithm is finite in float32.
FLOOR = 1e-30
#: Range of temperatures to search, and the standard deviation of the prior on their logarithm.
TEMPERATURES, SPREAD = (0.05, 20.0), 0.5
#: Smaller distances are rounding errors.
NEAREST = 1e-3
#: How far a threshold is below the probability that it comes from, since float32 rounds.
ROUNDING = 1e-6
#: The probability that a confidence is taken for precise enough and is not.
SIGNIFICANCE = 0.1


def temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The number to divide logits by, above 0; above 1 if the network is overconfident.

    Guo et al. 2017, https://arxiv.org/abs/1706.04599, section 4.2, with a normal prior of mean 0 on the logarithm: few
    images, or only correctly classified ones, leave it near 1.
    """
    from scipy.optimize import minimize_scalar

    def loss(logarithm: float) -> float:
        of_labels = tempered(probabilities, np.exp(logarithm))[np.arange(len(labels)), labels]
        return float(-np.log(np.maximum(of_labels, FLOOR)).sum() + (logarithm / SPREAD) ** 2 / 2)

    return float(np.exp(minimize_scalar(loss, bounds=tuple(np.log(TEMPERATURES)), method="bounded").x))


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Softmax of the logarithm of the probabilities divided by the temperature, float64[n, classes]."""
    from scipy.special import softmax

    return softmax(np.log(np.maximum(probabilities.astype(np.float64), FLOOR)) / temperature, axis=1)


def set_thresholds(
    labels: np.ndarray, probabilities: np.ndarray, coverage: float, groups: np.ndarray | None = None
) -> np.ndarray:
    """The lowest probability at which each class is in the prediction set, float64[classes].

    For images of any class, the set contains that class with probability `coverage`: split-conformal prediction class
    by class (Sadinle et al. 2019, https://arxiv.org/abs/1609.00451). With groups this holds for an image of a new
    group: each group counts once, its rows in parts (Lee, Barber and Willett 2023, https://arxiv.org/abs/2306.06342).
    A class with fewer than `enough(coverage)` groups has the threshold 0 and is in every set.
    """
    own, code = probabilities[np.arange(len(labels)), labels], clusters.codes(groups, len(labels))
    classes = range(probabilities.shape[1])
    return np.array([_threshold(own[labels == one], code[labels == one], coverage) for one in classes])


def enough(coverage: float) -> int:
    """How many groups of a class are needed for a threshold of its own."""
    return int(np.ceil(coverage / (1 - coverage) - 1e-9))


def _threshold(own: np.ndarray, groups: np.ndarray, coverage: float) -> float:
    """The threshold for probabilities of the true class; 0 if there are too few groups."""
    units = clusters.number(groups, len(own))
    if units < enough(coverage):
        return 0.0
    _, code, rows = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.argsort(own, kind="stable")
    # The new image's own group counts as one more, below all others.
    below = np.append(0.0, (1 / rows[code[order]]).cumsum())[:-1] + 1
    allowed = (1 - coverage) * (units + 1) + 1e-9
    return max(float(own[order[below <= allowed][-1]]) - ROUNDING, 0.0)


def sets(probabilities: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Which classes are in the prediction set of each image, bool[n, classes]; the most probable one always is."""
    return (probabilities >= thresholds) | (probabilities == probabilities.max(axis=1, keepdims=True))


def surest(
    labels: np.ndarray, probabilities: np.ndarray, precision: float, groups: np.ndarray | None = None
) -> float | None:
    """The lowest confidence at which the answers are shown to reach `precision`; None if none is shown to.

    Fixed-sequence testing, from Learn then Test (Angelopoulos et al. 2021, https://arxiv.org/abs/2110.01052): exact
    binomial tests of the surest answers, first of as few as can pass if all are right, then of twice as many and so on,
    each at the full significance level, up to the first that does not pass. Of rows in groups, as many groups are
    needed, and they count as `proportions.counted` says.
    """
    from scipy.special import betainc

    confidence, right = probabilities.max(axis=1), (probabilities.argmax(axis=1) == labels).astype(np.float64)
    order = np.argsort(-confidence, kind="stable")
    confidence, right, code = confidence[order], right[order], clusters.codes(groups, len(labels))[order]
    # Answers of equal confidence are all given or all withheld; as many groups as rows are needed.
    ends = np.flatnonzero(np.append(np.diff(confidence) != 0, True))
    met = np.sort(np.unique(code, return_index=True)[1])
    least, found = fewest(precision), None
    for count in range(least, len(met) + 1, least):
        last = int(ends[np.searchsorted(ends, met[count - 1])])
        hits, rows = proportions.counted(right[: last + 1], code[: last + 1], SIGNIFICANCE)
        # The probability of as many hits if a share `precision` is right.
        if not hits or betainc(hits, rows - hits + 1, precision) > SIGNIFICANCE:
            break
        found = float(confidence[last]) - ROUNDING
    return found


def fewest(precision: float) -> int:
    """How many independent answers, all right, show a precision."""
    return int(np.ceil(np.log(SIGNIFICANCE) / np.log(precision)))


def notes(
    labels: np.ndarray, terms: CalibrationTerms, classes: tuple[str, ...], groups: np.ndarray | None
) -> tuple[str, ...]:
    """What the validation images, labels int[n], are too few or too hard to show, as sentences."""
    code = clusters.codes(groups, len(labels))
    units = [clusters.number(code[labels == number], int((labels == number).sum())) for number in range(len(classes))]
    few = [f"{name} ({count})" for name, count in zip(classes, units, strict=True) if count < enough(terms.coverage)]
    found = []
    if few:
        found.append(
            f"In every prediction set, since their independent validation images are fewer than "
            f"{enough(terms.coverage)}: {', '.join(few)}."
        )
    if terms.sure_from is None:
        found.append(
            f"It never abstains: on {clusters.number(groups, len(labels))} independent validation "
            f"images, no confidence was shown to make {terms.precision:.0%} of the answers right. To show it, "
            f"the {fewest(terms.precision)} surest answers at least have to be right."
        )
    return tuple(found)


def distances(features: np.ndarray, reference: np.ndarray, neighbours: int) -> np.ndarray:
    """Cosine distance from each image to its k-th nearest reference image, 0 to 2, float64[n].

    Both are features, float[n, values]. Sun et al. 2022, https://arxiv.org/abs/2204.06507, detect out-of-distribution
    images with it.
    """
    nearness = unit(features) @ unit(reference).T
    return 1 - np.partition(nearness, -neighbours, axis=1)[:, -neighbours]


def unit(features: np.ndarray) -> np.ndarray:
    """The rows scaled to length 1, float64; rows of length 0 stay 0."""
    values = features.reshape(len(features), -1).astype(np.float64)
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)


def limit(distances: np.ndarray, false_alarms: float) -> float:
    """The distance above which an image counts as novel: a share `false_alarms` of similar images at most.

    The conformal quantile, or the largest distance if the images are too few for one.
    """
    rank = int(np.ceil((len(distances) + 1) * (1 - false_alarms)))
    return max(float(np.sort(distances)[min(rank, len(distances)) - 1]), NEAREST)
