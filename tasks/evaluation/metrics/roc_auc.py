"""Area under the ROC curve; for more than two classes the mean over each class that occurs against the rest."""

import numpy as np

from tasks.evaluation.statistics import clusters, proportions
from tasks.evaluation.statistics.proportions import Estimate

HIGHER_IS_BETTER = True
#: A variance counts as that of so many more groups of the rarer side, for which the model's variance holds.
PRIOR = 4


def score(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """0 to 1, higher is better, 0.5 is chance.

    The share of pairs, a row of the class and another row, in which the first has the higher probability; ties count
    half: Hanley and McNeil 1982, https://doi.org/10.1148/radiology.143.1.7063747. scikit-learn's `roc_auc_score`, at
    least 15 times as fast: a bootstrap needs thousands of scores. NaN if all rows are of one class.
    """
    from scipy.stats import rankdata

    areas = []
    for number in _chosen(probabilities):
        own = labels == number
        rows, others = own.sum(), (~own).sum()
        if rows and others:
            areas.append((rankdata(probabilities[:, number])[own].sum() - rows * (rows + 1) / 2) / (rows * others))
    return float(np.mean(areas)) if areas else float("nan")


def interval(
    labels: np.ndarray, probabilities: np.ndarray, groups: np.ndarray | None, level: float, seed: int
) -> tuple[float, float]:
    """From a score interval of each class' area; a class without a row may have any area."""
    areas = [_area(labels == one, probabilities[:, one], groups, level) for one in _chosen(probabilities)]
    return proportions.mean(areas, groups)


def _chosen(probabilities: np.ndarray) -> range:
    """The classes whose areas count; of two, one says all."""
    classes = probabilities.shape[1]
    return range(1, 2) if classes == 2 else range(classes)


def _area(own: np.ndarray, scores: np.ndarray, groups: np.ndarray | None, level: float) -> Estimate:
    """The area of the rows in `own` against the others, with its interval.

    DeLong's variance from placements (Sun and Xu 2014, https://doi.org/10.1109/LSP.2014.2337313), summed over groups
    (Obuchowski 1997, https://doi.org/10.2307/2533958). From few rows it is far too small, and 0 where the sides are
    parted perfectly. It is therefore the factor, drawn towards 1, of the variance that Hanley and McNeil's model gives
    each possible area, whose score interval is that of Newcombe 2006, https://doi.org/10.1002/sim.2324, method 5.
    """
    from scipy.optimize import brentq
    from scipy.stats import rankdata

    rows, others = int(own.sum()), int((~own).sum())
    if not rows or not others:
        return Estimate(np.nan, 0.0, 1.0, np.zeros(len(own)))
    ranks = rankdata(scores)
    placed = np.empty(len(own))
    placed[own] = (ranks[own] - rankdata(scores[own])) / others
    placed[~own] = 1 - (ranks[~own] - rankdata(scores[~own])) / rows
    area = float(placed[own].mean())
    influence = (placed - area) / np.where(own, np.sqrt(rows * max(rows - 1, 1)), np.sqrt(others * max(others - 1, 1)))

    def variance(at: float) -> float:
        far = max(at, 1 - at)
        pairs = ((rows + others) / 2 - 1) * ((1 - far) / (2 - far) + far / (1 + far))
        return float(far * (1 - far) * (1 + pairs) / (rows * others))

    # The less certain side decides: of a rare class, the groups are fewer and more unequal.
    sides = [(placed[side], None if groups is None else groups[side]) for side in (own, ~own)]
    reach, edge = max(clusters.reach(level, *side) for side in sides), 1e-9
    if not np.isfinite(reach):
        return Estimate(area, 0.0, 1.0, influence)
    found = float((clusters.sums(influence, groups) ** 2).sum())
    if clusters.number(groups, len(own)) < len(own):
        found *= max(clusters.told(each, of).inflation for each, of in sides)
    factor = found / variance(area) if 0 < area < 1 else clusters.design_effect(np.zeros(len(own)), groups)
    rarer = min(clusters.number(of, len(each)) for each, of in sides)
    factor = max(factor, (factor * (rarer - 1) + PRIOR) / (rarer - 1 + PRIOR))

    def beyond(at: float) -> float:
        return abs(at - area) - reach * float(np.sqrt(factor * variance(at)))

    low = float(brentq(beyond, edge, min(area, 1 - edge))) if area > edge and beyond(edge) > 0 else 0.0
    high = float(brentq(beyond, max(area, edge), 1 - edge)) if area < 1 - edge and beyond(1 - edge) > 0 else 1.0
    return Estimate(area, low, high, influence)
