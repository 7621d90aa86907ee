"""Do two samples come from one distribution, class by class? Permutation tests, valid for any sample size.

Which images are new is shuffled within each class, so that changed class shares alone give no small p-value. Everything
else in the statistics (means, principal components, folds) comes from both samples together and is the same for every
shuffle: p-values then keep their level exactly (Phipson and Smyth 2010, Permutation p-values should never be zero,
https://arxiv.org/abs/1603.05766). Components fitted to the old sample alone would be wrong: new images would differ on
them although nothing has changed. Images are assumed to be independent.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

#: Principal components that are compared, and rows that each needs.
COMPONENTS, ROWS_EACH = 64, 10
#: Cross-validation folds of the classifier, and shuffles that are computed together.
TURNS, CHUNK = 5, 1000
#: Smaller relative differences are rounding errors, which scaling to equal variance would amplify.
ROUNDING = 1e-6


@dataclass(frozen=True)
class Compared:
    """P-values of the energy test over all classes and of each by its number, and of the domain classifier."""

    energy: float
    classes: dict[int, float]
    classifier: float
    #: Share of pairs of one class, one new and one old, in which the classifier finds the new one.
    auc: float


def compare(
    new: np.ndarray, old: np.ndarray, new_labels: np.ndarray, old_labels: np.ndarray, draws: int, seed: int
) -> Compared:
    """Two samples of features, float[n, values] and float[m, values], with labels int[n] and int[m].

    Each label needs two images in each sample. `draws`: shuffles; the smallest p-value is 1 / (draws + 1).
    """
    from threadpoolctl import threadpool_limits

    labels = np.concatenate([new_labels, old_labels])
    with threadpool_limits(1):  # in many products of small matrices, threads wait for each other
        return _compared(np.concatenate([new, old]), labels, np.arange(len(labels)) < len(new), draws, seed)


def _compared(features: np.ndarray, labels: np.ndarray, new: np.ndarray, draws: int, seed: int) -> Compared:
    scores = _scores(features, labels, seed)
    samples = _shuffled(new, labels, draws, np.random.default_rng(seed))
    energies = {int(label): _energy(scores[rows], samples[rows]) for label, rows in _classes(labels)}
    aucs = _aucs(scores, samples, labels, seed)
    return Compared(
        _p(np.sum(list(energies.values()), axis=0)),
        {label: _p(energy) for label, energy in energies.items()},
        _p(aucs),
        float(aucs[0]),
    )


def _classes(labels: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Each label with its rows."""
    return ((label, np.flatnonzero(labels == label)) for label in np.unique(labels))


def _p(statistics: np.ndarray) -> float:
    """Share of draws that are as large as the first one, the observed value."""
    return float((statistics >= statistics[0] - 1e-6 * abs(statistics[0])).mean())


def _centred(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The rows minus the mean of their class."""
    found = values.astype(np.float32)
    for _, rows in _classes(labels):
        found[rows] -= found[rows].mean(axis=0)
    return found


def _scores(features: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """Principal components of the differences within classes, at equal variance: float32[n, components]."""
    from sklearn.decomposition import PCA

    count = max(1, min(COMPONENTS, len(features) // ROWS_EACH, features.shape[1]))
    centred = _centred(features, labels)
    if np.abs(centred).max() <= ROUNDING * np.abs(features).max():
        return np.zeros((len(features), 1), np.float32)
    pca = PCA(count, svd_solver="randomized", random_state=seed)
    scores = pca.fit_transform(centred)
    spread = np.sqrt(pca.explained_variance_)
    kept = spread > ROUNDING * spread[0]
    return scores[:, kept] / spread[kept]


def _shuffled(new: np.ndarray, labels: np.ndarray, draws: int, random: np.random.Generator) -> np.ndarray:
    """Which rows are new, float32[n, 1 + draws]: as observed, then shuffled within each class."""
    found = np.repeat(new.astype(np.float32)[:, None], 1 + draws, axis=1)
    for _, rows in _classes(labels):
        found[rows, 1:] = random.permuted(found[rows, 1:], axis=0)
    return found


def _energy(scores: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Energy distance of the two samples of one class in each column, times its harmonic size: float[columns].

    Székely and Rizzo 2013, https://doi.org/10.1016/j.jspi.2013.03.018; sums over classes as in Rizzo and Székely 2010,
    https://doi.org/10.1214/09-AOAS245. Means are over pairs of different images: distances of 0 from an image to itself
    would hide the shift of a small sample with a smaller spread.
    """
    from sklearn.metrics.pairwise import euclidean_distances

    apart = euclidean_distances(scores)
    apart -= apart.mean() * (1 - np.eye(len(apart)))  # changes only the rounding of the sums below
    apart = apart.astype(np.float32)
    new = samples[:, 0].sum()
    old = len(samples) - new
    within_new = np.einsum("nd,nd->d", apart @ samples, samples)
    of_new = apart.sum(axis=1) @ samples
    within_old = apart.sum() - 2 * of_new + within_new
    across = (of_new - within_new) / (new * old)
    return (2 * across - within_new / (new * (new - 1)) - within_old / (old * (old - 1))) * new * old / (new + old)


def _aucs(scores: np.ndarray, samples: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """AUC of a domain classifier on images that it has not seen, over pairs of one class: float[columns].

    The classifier is Fisher's discriminant as a least-squares fit, solved once for a thousand shuffles.
    Lopez-Paz and Oquab 2017, Revisiting Classifier Two-Sample Tests, https://arxiv.org/abs/1610.06545.
    """
    from scipy.stats import rankdata
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import KFold, cross_val_predict

    folds = KFold(TURNS, shuffle=True, random_state=seed)
    # Centred before: an intercept for each fold would reveal how many new images the other folds have.
    model = Ridge(1.0, fit_intercept=False)
    found = []
    for start in range(0, samples.shape[1], CHUNK):
        part = samples[:, start : start + CHUNK]
        predicted = cross_val_predict(model, scores, _centred(part, labels), cv=folds).reshape(part.shape)
        wins, pairs = np.zeros(part.shape[1]), 0.0
        for _, rows in _classes(labels):
            new = part[rows, 0].sum()
            wins += (rankdata(predicted[rows], axis=0) * part[rows]).sum(axis=0) - new * (new + 1) / 2
            pairs += new * (len(rows) - new)
        found.append(wins / pairs)
    return np.concatenate(found)
