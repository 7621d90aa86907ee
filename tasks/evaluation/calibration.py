"""Calibration: temperature, prediction sets, selective prediction (when to abstain), and novelty.

All terms are read off the validation images; labels are int[n], probabilities float[n, classes], whose rows sum to 1.
"""

import numpy as np

#: Probabilities below are taken for this one, whose logarithm float32 still has.
FLOOR = 1e-30
#: Temperatures that are looked at, and the standard deviation of their logarithm before anything is known.
TEMPERATURES, SPREAD = (0.05, 20.0), 0.5
#: Distances below are rounding.
NEAREST = 1e-3
#: Thresholds lie so far below the probability that they were read off, which float32 rounds.
ROUNDING = 1e-6
#: Shares of the answers that are tested for their precision, and how often a lower one may pass.
STEPS, SIGNIFICANCE = 10, 0.1


def temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """What logits are to be divided by, above 0; above 1 where the network is too sure of itself.

    Guo et al. 2017, https://arxiv.org/abs/1706.04599, section 4.2, with a normal prior of mean 0 on the logarithm: few
    images, or such that are all right, say little, and leave it near 1.
    """
    from scipy.optimize import minimize_scalar

    def loss(logarithm: float) -> float:
        of_labels = tempered(probabilities, np.exp(logarithm))[np.arange(len(labels)), labels]
        return float(-np.log(np.maximum(of_labels, FLOOR)).sum() + (logarithm / SPREAD) ** 2 / 2)

    return float(np.exp(minimize_scalar(loss, bounds=tuple(np.log(TEMPERATURES)), method="bounded").x))


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """The softmax of the probabilities' logarithms over the temperature, float64[n, classes]."""
    from scipy.special import softmax

    return softmax(np.log(np.maximum(probabilities.astype(np.float64), FLOOR)) / temperature, axis=1)


def set_thresholds(labels: np.ndarray, probabilities: np.ndarray, coverage: float) -> np.ndarray:
    """The probability from which on each class belongs to the set, float64[classes].

    So chosen that the set of an image of any one class holds that class with chance `coverage`: split-conformal
    prediction class by class (Sadinle et al. 2019, https://arxiv.org/abs/1609.00451), by MAPIE. A class with too few
    images takes the threshold of all together; where those are too few, it is 0 and every set holds every class.
    """
    own = probabilities[np.arange(len(labels)), labels]
    every = _threshold(own, coverage)
    each = [_threshold(own[labels == number], coverage) for number in range(probabilities.shape[1])]
    return np.array([(every or 0.0) if found is None else found for found in each])


def _threshold(own: np.ndarray, coverage: float) -> float | None:
    """Of probabilities of the true class; None where they are too few."""
    from mapie.conformity_scores import LACConformityScore

    if (len(own) + 1) * coverage > len(own):
        return None
    quantile = LACConformityScore().get_conformity_score_quantiles(
        1 - own[:, None], np.array([1 - coverage]), cv="prefit"
    )
    return float(1 - quantile[0]) - ROUNDING


def sets(probabilities: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Which classes are in the set of each image, bool[n, classes]; the likeliest always is."""
    return (probabilities >= thresholds) | (probabilities == probabilities.max(axis=1, keepdims=True))


def surest(labels: np.ndarray, probabilities: np.ndarray, precision: float) -> tuple[float, bool]:
    """The lowest confidence from which on answers are right as often as `precision`, and whether that was shown.

    Learn then test (Angelopoulos et al. 2021, https://arxiv.org/abs/2110.01052): exact binomial tests of the surest
    tenth of the answers, of the surest two tenths and so on, each at a tenth of the significance. Where none rejects,
    the images show no such confidence; then it is the lowest at which the share of right ones was as high. 1.01, which
    abstains always, where none was.
    """
    from scipy.stats import binomtest

    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    order = np.argsort(-confidence, kind="stable")
    counts, hits = np.arange(1, len(labels) + 1), right[order].cumsum()
    # Of equal confidences all are answered or none.
    ends = np.flatnonzero(np.append(np.diff(confidence[order]) != 0, True))
    tested = {int(ends[ends >= round(len(labels) * step / STEPS) - 1][0]) for step in range(1, STEPS + 1)}
    level = SIGNIFICANCE / STEPS
    held = [at for at in tested if binomtest(int(hits[at]), at + 1, precision, "greater").pvalue <= level]
    last = max(held or ends[hits[ends] / counts[ends] >= precision], default=-1)
    return (float(confidence[order[last]]) - ROUNDING if last >= 0 else 1.01), bool(held)


def distances(features: np.ndarray, reference: np.ndarray, neighbours: int) -> np.ndarray:
    """Cosine distance from each image to its k-th nearest reference image, 0 to 2, float64[n].

    Both are features, float[n, values]. Sun et al. 2022, https://arxiv.org/abs/2204.06507, tell by it what is out of
    distribution.
    """
    nearness = unit(features) @ unit(reference).T
    return 1 - np.partition(nearness, -neighbours, axis=1)[:, -neighbours]


def unit(features: np.ndarray) -> np.ndarray:
    """Rows of length 1, float64; those of length 0 stay."""
    values = features.reshape(len(features), -1).astype(np.float64)
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)


def limit(distances: np.ndarray, false_alarms: float) -> float:
    """The distance from which on an image counts as new, so that at most such a share of the like of these does.

    The conformal quantile; the largest distance where the images are too few for one.
    """
    rank = int(np.ceil((len(distances) + 1) * (1 - false_alarms)))
    return max(float(np.sort(distances)[min(rank, len(distances)) - 1]), NEAREST)
