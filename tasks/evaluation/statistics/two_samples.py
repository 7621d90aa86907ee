"""Do two samples come from one distribution, class by class? Permutation tests, valid for any sample size.

Which images are new is shuffled within each class, so that changed class shares alone give no small p-value. Everything
else in the statistics (means, principal components, folds) comes from both samples together and is the same for every
shuffle: p-values then keep their level exactly (Phipson and Smyth 2010, Permutation p-values should never be zero,
https://arxiv.org/abs/1603.05766). Components fitted to the old sample alone would be wrong: new images would differ on
them although nothing has changed.

Images of one group may depend on each other in any way: groups are shuffled whole, within the class that most of their
images have (as blocks: Good, Permutation, Parametric and Bootstrap Tests of Hypotheses (2005), section 3.7). Groups are
assumed to be independent of each other. Few large groups vary more than many small ones, which a shuffle would take for
a difference: see `alike`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tasks.evaluation.statistics import clusters

#: Principal components that are compared, and rows that each needs.
COMPONENTS, ROWS_EACH = 64, 10
#: Cross-validation folds of the classifier, and shuffles that are computed together.
TURNS, CHUNK = 5, 1000
#: Smaller relative differences are rounding errors, which scaling to equal variance would amplify.
ROUNDING = 1e-6
#: Shuffles of a statistic that costs little.
SHUFFLES = 10_000
#: With fewer shuffles that reach the observed value, the tail is fitted to this many of the largest.
SEEN, TAIL = 10, 250


@dataclass(frozen=True)
class Sample:
    """Features of images, float[n, values], with their labels, int[n], and groups as in `clusters`."""

    features: np.ndarray
    labels: np.ndarray
    groups: np.ndarray | None = None

    def part(self, rows: np.ndarray) -> "Sample":
        """Some of its rows."""
        return Sample(self.features[rows], self.labels[rows], None if self.groups is None else self.groups[rows])


@dataclass(frozen=True)
class Compared:
    """P-values of the energy test over all classes and of each by its number, and of the domain classifier."""

    energy: float
    classes: dict[int, float]
    classifier: float
    #: Share of pairs of one class, one new and one old, in which the classifier finds the new one.
    auc: float


def compare(new: Sample, old: Sample, draws: int, seed: int) -> Compared:
    """Two samples, each with two images of every label. `draws`: shuffles."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # in many products of small matrices, threads wait for each other
        return _compared(new, old, draws, seed)


def _compared(ours: Sample, theirs: Sample, draws: int, seed: int) -> Compared:
    new, labels, groups = joined(ours, theirs)
    scores = _scores(np.concatenate([ours.features, theirs.features]), labels, seed)
    shuffles = Shuffles(new, labels, groups)
    samples, most = shuffles.drawn(draws, np.random.default_rng(seed)), shuffles.arrangements
    energies = {int(label): _energy(scores[rows], samples[rows]) for label, rows in _classes(labels)}
    aucs = _aucs(scores, samples, labels, groups, seed)
    return Compared(
        p_value(np.sum(list(energies.values()), axis=0), most),
        {label: p_value(energy, most) for label, energy in energies.items()},
        p_value(aucs, most),
        float(aucs[0]),
    )


def seldomer(right: np.ndarray, new: np.ndarray, labels: np.ndarray, groups: np.ndarray | None, seed: int) -> float:
    """P-value, one-sided, that new rows are right less often than the others, class by class.

    `right`: float[n], 0 or 1; `new`: bool[n]; labels int[n]; groups as in `clusters`. The statistic is that of Mantel
    and Haenszel 1959, Journal of the National Cancer Institute 22:719-748, so other shares of the classes alone give no
    small p-value; its distribution is that of the shuffles.
    """
    if new.all() or not new.any():
        return 1.0
    rows = alike(new, labels, groups, seed)
    right, new, labels, groups = right[rows], new[rows], labels[rows], None if groups is None else groups[rows]
    expected = np.zeros(len(labels))
    for _, rows in _classes(labels):
        expected[rows] = right[rows].mean()
    shuffles = Shuffles(new, labels, groups)
    samples = shuffles.drawn(SHUFFLES, np.random.default_rng(seed))
    lacking = (expected - right) @ samples
    # Whole numbers of rows: what only rounding parts is a tie.
    return p_value(np.round(lacking, 3), shuffles.arrangements)


def joined(ours: Sample, theirs: Sample) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Of both samples, one after the other: which rows are new, bool[n], the labels, int[n], and the groups."""
    labels = np.concatenate([ours.labels, theirs.labels])
    return np.arange(len(labels)) < len(ours.labels), labels, together(ours.groups, theirs.groups)


def together(ours: np.ndarray | None, theirs: np.ndarray | None) -> np.ndarray | None:
    """The groups of both samples, one after the other."""
    return None if ours is None or theirs is None else np.concatenate([ours, theirs])


def alike(new: np.ndarray, labels: np.ndarray, groups: np.ndarray | None, seed: int) -> np.ndarray:
    """Rows with which the groups of both samples are alike in size within each class, drawn at random: bool[n].

    Of each group as many rows as the other sample's group at the same quantile of sizes has, or all, if it has more.
    Arguments as of `Shuffles`.
    """
    units, random = Shuffles(new, labels, groups), np.random.default_rng([seed, 1])
    sizes = np.bincount(units.code)
    kept = sizes.copy()
    for _, own in _classes(units.stratum):
        sides = [own[units.new[own] == side] for side in (True, False)]
        if not all(map(len, sides)):
            continue
        for these, others in (sides, sides[::-1]):
            ordered = these[np.lexsort((random.random(len(these)), sizes[these]))]
            places = (np.arange(len(these)) + 0.5) / len(these)
            kept[ordered] = np.minimum(
                sizes[ordered], np.quantile(sizes[others], places, method="inverted_cdf").astype(int)
            )
    order = np.lexsort((random.random(len(new)), units.code))
    found = np.empty(len(new), bool)
    found[order] = np.arange(len(new)) - (np.cumsum(sizes) - sizes)[units.code[order]] < kept[units.code[order]]
    return found


class Shuffles:
    """Which rows are new, if whole groups change places within the class of most of their rows.

    The new and the old rows of one group are shuffled as two: if they are alike, they make the samples more alike than
    the shuffled ones, and the test more cautious.
    """

    def __init__(self, new: np.ndarray, labels: np.ndarray, groups: np.ndarray | None) -> None:
        """`new`: bool[n]; `labels`: int[n]; `groups` as in `clusters`."""
        self.code = clusters.codes(None if groups is None else 2 * clusters.codes(groups, len(new)) + new, len(new))
        self.new = np.zeros(self.code.max(initial=-1) + 1, bool)
        self.new[self.code] = new
        known, place = np.unique(labels, return_inverse=True)
        self.stratum = clusters.sums(np.eye(len(known))[place], self.code).argmax(axis=1)

    def drawn(self, draws: int, random: np.random.Generator) -> np.ndarray:
        """Which rows are new, float32[n, 1 + draws]: as observed, then shuffled."""
        found = np.repeat(self.new.astype(np.float32)[:, None], 1 + draws, axis=1)
        for _, units in _classes(self.stratum):
            found[units, 1:] = random.permuted(found[units, 1:], axis=0)
        return found[self.code]

    @property
    def arrangements(self) -> float:
        """How many different shuffles there are."""
        from scipy.special import comb

        with np.errstate(over="ignore"):
            return float(np.prod([comb(len(own), self.new[own].sum()) for _, own in _classes(self.stratum)]))


def p_value(statistics: np.ndarray, arrangements: float = np.inf) -> float:
    """Probability of a value as large as the first one, the observed one, among float[1 + draws] shuffled ones.

    The share of such shuffles; where they are too few to count, by a generalised Pareto distribution of the largest:
    Knijnenburg et al. 2009, https://doi.org/10.1093/bioinformatics/btp211. Never below 1 / `arrangements`.
    """
    observed, shuffled = statistics[0], statistics[1:]
    as_large = int((statistics >= observed - 1e-6 * abs(observed)).sum())
    if as_large > SEEN or len(shuffled) < 4 * TAIL:
        return as_large / len(statistics)
    from scipy.stats import genpareto

    largest = np.sort(shuffled)[-TAIL - 1 :]
    start = (largest[0] + largest[1]) / 2
    if largest[-1] <= start:  # one value only
        return as_large / len(statistics)
    shape, _, scale = genpareto.fit(largest[1:] - start, floc=0)
    # A tail that ends says nothing about what lies beyond.
    beyond = genpareto.sf(observed - start, max(shape, 0.0), 0, scale)
    return float(np.clip(TAIL / len(shuffled) * beyond, 1 / arrangements, as_large / len(statistics)))


def _classes(labels: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Each label with its rows."""
    return ((label, np.flatnonzero(labels == label)) for label in np.unique(labels))


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
    new = samples.sum(axis=0)  # differs between shuffles where groups have images of several classes
    old = len(samples) - new
    within_new = np.einsum("nd,nd->d", apart @ samples, samples)
    of_new = apart.sum(axis=1) @ samples
    within_old = apart.sum() - 2 * of_new + within_new
    with np.errstate(divide="ignore", invalid="ignore"):
        across = (of_new - within_new) / (new * old)
        distance = 2 * across - within_new / (new * (new - 1)) - within_old / (old * (old - 1))
        return np.where(np.minimum(new, old) > 1, distance * new * old / (new + old), 0.0)


def _aucs(
    scores: np.ndarray, samples: np.ndarray, labels: np.ndarray, groups: np.ndarray | None, seed: int
) -> np.ndarray:
    """AUC of a domain classifier on images, and groups, that it has not seen, over pairs of one class: float[columns].

    The classifier is Fisher's discriminant as a least-squares fit, solved once for a thousand shuffles.
    Lopez-Paz and Oquab 2017, Revisiting Classifier Two-Sample Tests, https://arxiv.org/abs/1610.06545.
    """
    from scipy.stats import rankdata
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GroupKFold, KFold, cross_val_predict

    turns = min(TURNS, clusters.number(groups, len(labels)))
    folds = (KFold if groups is None else GroupKFold)(turns, shuffle=True, random_state=seed)
    # Centred before: an intercept for each fold would reveal how many new images the other folds have.
    model = Ridge(1.0, fit_intercept=False)
    found = []
    for start in range(0, samples.shape[1], CHUNK):
        part = samples[:, start : start + CHUNK]
        predicted = cross_val_predict(model, scores, _centred(part, labels), groups=groups, cv=folds)
        predicted = predicted.reshape(part.shape)
        wins, pairs = np.zeros(part.shape[1]), np.zeros(part.shape[1])
        for _, rows in _classes(labels):
            new = part[rows].sum(axis=0)
            wins += (rankdata(predicted[rows], axis=0) * part[rows]).sum(axis=0) - new * (new + 1) / 2
            pairs += new * (len(rows) - new)
        found.append(np.where(pairs > 0, wins / np.maximum(pairs, 1), 0.5))
    return np.concatenate(found)
