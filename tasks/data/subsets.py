"""Parts of the training images: stratified, and nested, so that a larger part contains the smaller ones of its seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Part:
    """A share of the images of each class, or `per_class` of them where that is not 0."""

    share: float = 1.0
    per_class: int = 0

    def images_in(self, count: int) -> int:
        """Number of images from a class of `count`: at least one, at most all."""
        return min(count, max(1, self.per_class or round(self.share * count)))


def rows(labels: np.ndarray, part: Part, seed: int) -> np.ndarray:
    """Ascending positions of the part among int[n] labels: the first of each class in an order that `seed` draws."""
    order = np.random.default_rng(seed).permutation(len(labels))
    classes = [order[labels[order] == label] for label in np.unique(labels)]
    return np.sort(np.concatenate([own[: part.images_in(len(own))] for own in classes]))


def at_most(labels: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Positions of about `most` rows, stratified, at least one per class; all rows if there are no more."""
    return rows(labels, Part(share=min(1.0, most / len(labels))), seed)


def replayed(labels: np.ndarray, most: int, least: int, seed: int) -> np.ndarray:
    """Ascending positions of about `most` rows, as many of each class as there are, but `least` or more of each."""
    return rows(labels, Part(per_class=max(least, -(-most // len(np.unique(labels))))), seed)


def parts(shares: Sequence[float], per_class: Sequence[int], counts: Sequence[int]) -> dict[int, Part]:
    """Parts of classes of `counts` images by their number of images, ascending; one part for each number."""
    every = [Part(share=share) for share in shares] + [Part(per_class=count) for count in per_class]
    found = {sum(part.images_in(count) for count in counts): part for part in every}
    return dict(sorted(found.items()))
