"""Share of rows whose class their nearest neighbours predict, without the row itself.

Cosine similarity and the vote are those of Wu et al. 2018, https://arxiv.org/abs/1805.01978; as a measure of transfer:
Puigcerver et al. 2021, https://arxiv.org/abs/2009.13239.
"""

import numpy as np

#: Neighbours that vote, fewer than in a classifier: a rare class has few rows in a sample.
NEIGHBOURS = 5
TEMPERATURE = 0.07


def score(features: np.ndarray, labels: np.ndarray) -> float:
    """Leave-one-out accuracy, 0 to 1; a neighbour's vote counts exp(similarity / temperature)."""
    values = features.astype(np.float64)
    directions = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
    similarity = directions @ directions.T
    np.fill_diagonal(similarity, -np.inf)
    nearest = np.argsort(-similarity, axis=1)[:, : min(NEIGHBOURS, len(labels) - 1)]
    votes = np.exp(np.take_along_axis(similarity, nearest, axis=1) / TEMPERATURE)
    classes, own = np.unique(labels, return_inverse=True)
    tally = np.zeros((len(labels), len(classes)))
    np.add.at(tally, (np.arange(len(labels))[:, None], own[nearest]), votes)
    return float((tally.argmax(axis=1) == own).mean())
