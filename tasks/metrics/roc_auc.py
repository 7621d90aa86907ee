"""Area under the ROC curve; for more than two classes the mean over each class against the rest."""

import numpy as np

HIGHER_IS_BETTER = True


def score(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """0 to 1, higher is better, 0.5 is chance."""
    from sklearn.metrics import roc_auc_score

    if probabilities.shape[1] == 2:
        return float(roc_auc_score(labels, probabilities[:, 1]))
    known = np.arange(probabilities.shape[1])
    return float(roc_auc_score(labels, probabilities, multi_class="ovr", labels=known))
