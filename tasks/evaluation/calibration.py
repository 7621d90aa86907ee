"""Calibration: temperature, prediction sets, selective prediction (when to abstain), and novelty.

All terms come from the validation images. Labels are int[n]; probabilities are float[n, classes], each row sums to 1.
"""

import numpy as np

#: Smaller probabilities are raised to this one, whose logarithm is finite in float32.
FLOOR = 1e-30
#: Range of temperatures to search, and the standard deviation of the prior on their logarithm.
TEMPERATURES, SPREAD = (0.05, 20.0), 0.5
#: Smaller distances are rounding errors.
NEAREST = 1e-3
#: How far a threshold is below the probability that it comes from, since float32 rounds.
ROUNDING = 1e-6
#: How many shares of the answers are tested for precision, and the significance level of all tests together.
STEPS, SIGNIFICANCE = 10, 0.1


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
    by class (Sadinle et al. 2019, https://arxiv.org/abs/1609.00451), by MAPIE. A class with too few images uses the
    threshold of all images together; if those are too few, it is 0 and every set contains every class.
    """
    own = probabilities[np.arange(len(labels)), labels]
    every = _threshold(own, coverage)
    each = [_threshold(own[labels == number], coverage) for number in range(probabilities.shape[1])]
    return np.array([(every or 0.0) if found is None else found for found in each])


def _threshold(own: np.ndarray, coverage: float) -> float | None:
    """The threshold for probabilities of the true class; None if they are too few."""
    from mapie.conformity_scores import LACConformityScore

    if (len(own) + 1) * coverage > len(own):
        return None
    quantile = LACConformityScore().get_conformity_score_quantiles(
        1 - own[:, None], np.array([1 - coverage]), cv="prefit"
    )
    return float(1 - quantile[0]) - ROUNDING


def sets(probabilities: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Which classes are in the prediction set of each image, bool[n, classes]; the most probable one always is."""
    return (probabilities >= thresholds) | (probabilities == probabilities.max(axis=1, keepdims=True))


def surest(
    labels: np.ndarray, probabilities: np.ndarray, precision: float, groups: np.ndarray | None = None
) -> tuple[float, bool]:
    """The lowest confidence at which the answers reach `precision`, and whether a test confirmed it.

    Learn then test (Angelopoulos et al. 2021, https://arxiv.org/abs/2110.01052): exact binomial tests of the most
    confident tenth of the answers, the most confident two tenths and so on, each at a tenth of the significance level.
    If no test rejects, the result is the lowest confidence at which the observed precision is high enough; if there is
    none, it is 1.01, which always abstains.
    """
    from scipy.stats import binomtest

    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    order = np.argsort(-confidence, kind="stable")
    counts, hits = np.arange(1, len(labels) + 1), right[order].cumsum()
    # Answers of equal confidence are all given or all withheld.
    ends = np.flatnonzero(np.append(np.diff(confidence[order]) != 0, True))
    tested = {int(ends[ends >= round(len(labels) * step / STEPS) - 1][0]) for step in range(1, STEPS + 1)}
    level = SIGNIFICANCE / STEPS
    passed = [at for at in tested if binomtest(int(hits[at]), at + 1, precision, "greater").pvalue <= level]
    last = max(passed or ends[hits[ends] / counts[ends] >= precision], default=-1)
    return (float(confidence[order[last]]) - ROUNDING if last >= 0 else 1.01), bool(passed)


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
