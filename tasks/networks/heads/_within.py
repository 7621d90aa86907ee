"""The covariance of features within classes, by its principal axes, and the linear classifier that follows from it.

With fewer images than features an estimate of it is singular; it is drawn towards a multiple of the identity. It is
never formed where it would be larger than the images: with few of them, the axes follow from their products.
"""

from dataclasses import dataclass

import numpy as np

from tasks.networks import heads

#: Variances below this share of the largest one count as none.
LEAST = 1e-6


@dataclass(frozen=True)
class Within:
    """Class means float64[k, d] of features over `scale`, and principal axes [d, r] of the variance within classes."""

    means: np.ndarray
    scale: np.ndarray
    axes: np.ndarray
    variances: np.ndarray
    #: The share of the identity that is best on average, 0 to 1: Ledoit and Wolf 2004,
    #: https://doi.org/10.1016/S0047-259X(03)00096-4.
    shrinkage: float

    def linear(self, shrinkage: float) -> tuple[np.ndarray, np.ndarray]:
        """Weights [d, k] and biases [k] whose logits are half the negative squared distances, up to a constant."""
        shrinkage = max(shrinkage, LEAST)
        usual = max(float(self.variances.sum()) / len(self.scale), 1e-12)
        along = 1 / ((1 - shrinkage) * self.variances + shrinkage * usual)
        seen = self.axes.T @ self.means.T
        aside = (self.means.T - self.axes @ seen) / (shrinkage * usual)
        metric = aside + self.axes @ (along[:, None] * seen)
        return metric / self.scale[:, None], -0.5 * (self.means.T * metric).sum(axis=0)


def within(flat: np.ndarray, labels: np.ndarray, classes: int, most: int) -> Within:
    """Of features float[n, d] and labels int[n] of a number of classes.

    `most`: the largest matrix that is formed has so many rows; images beyond are left out where the features are more.
    """
    means = heads.class_means(flat, labels, classes)
    rows: np.ndarray | slice = slice(None)
    if min(flat.shape) > most:
        rows = np.sort(np.random.default_rng(0).permutation(len(flat))[:most])
    apart = flat[rows] - means[labels[rows]].astype(np.float32)
    scale = apart.std(axis=0, dtype=np.float64)
    # A feature that differs between classes alone would decide everything.
    scale = np.where(scale > 1e-6, scale, max(float(scale.max()), 1e-6))
    apart = apart / scale.astype(np.float32)
    n, d = apart.shape
    values, vectors = np.linalg.eigh((apart @ apart.T if n < d else apart.T @ apart).astype(np.float64) / n)
    kept = values > LEAST * max(float(values.max()), 1e-12)
    values, axes = values[kept], vectors[:, kept]
    if n < d:
        axes = apart.T @ (axes / np.sqrt(values * n))
    squares = (apart.astype(np.float64) ** 2).sum(axis=1)
    return Within(means / scale, scale, axes.astype(np.float64), values, _ledoit_wolf(values, squares, d))


def _ledoit_wolf(variances: np.ndarray, squares: np.ndarray, features: int) -> float:
    """The shrinkage, from the variances along the axes and each row's squared length."""
    spread = (variances**2).sum()
    apart = spread - variances.sum() ** 2 / features
    noise = ((squares**2).mean() - spread) / len(squares)
    return float(min(noise / apart, 1.0)) if apart > 0 and noise > 0 else float(apart <= 0)
