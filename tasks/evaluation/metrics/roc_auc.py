"""Area under the ROC curve; for more than two classes the mean over each class that occurs against the rest."""

import numpy as np

HIGHER_IS_BETTER = True


def score(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """0 to 1, higher is better, 0.5 is chance.

    The share of pairs, a row of the class and another row, in which the first has the higher probability; ties count
    half: Hanley and McNeil 1982, https://doi.org/10.1148/radiology.143.1.7063747. scikit-learn's `roc_auc_score`, at
    least 15 times as fast: an interval needs a thousand scores. NaN if all rows are of one class.
    """
    from scipy.stats import rankdata

    classes = probabilities.shape[1]
    chosen = [1] if classes == 2 else range(classes)
    areas = []
    for number in chosen:
        own = labels == number
        rows, others = own.sum(), (~own).sum()
        if rows and others:
            areas.append((rankdata(probabilities[:, number])[own].sum() - rows * (rows + 1) / 2) / (rows * others))
    return float(np.mean(areas)) if areas else float("nan")
