"""Copies of one photo: in different splits they make the test invalid, within one they are no independent evidence.

Candidates come from three searches (`candidates`); reported pairs also passed the alignment of their fine structure
(`alignment`). Thresholds were set on ELPV, whose cells look alike: 296 of 300 planted crops to 85 to 90 % correlate
0.95 or more, and all of 120 planted copies that were mirrored or saved as JPEG at quality 60. 48 of its own pairs were
inspected: those above 0.95 show the same cell or wafers of one piece of silicon, some below only look alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.data.audits import alignment, candidates, views

#: Similarity at 8 x 8 pixels that a pair needs to be aligned: planted crops to 85 to 90 % had 0.8 or more.
LIKELY = 0.78
#: A window larger than this is the whole image, up to rounding.
UNCUT = 0.98
SAME = "the same pixels"


@dataclass(frozen=True)
class Copy:
    """Positions of two images: the first shows the same as the second, or a part of it."""

    copy: int
    original: int
    #: Every pixel of the prepared images is equal.
    same: bool
    #: How the original was turned, one of `views.TURNS`, and the share of its side that the copy shows.
    turn: str
    share: float
    #: Correlation of the fine structure, at most 1.
    similarity: float
    #: Cosine of the frozen features minus their mean, and the bits of 64 in which the perceptual hashes differ.
    cosine: float
    bits: int

    @property
    def change(self) -> str:
        """The change to the original, as text."""
        cut = f"cut to {self.share:.0%}" if self.share < UNCUT else ""
        return SAME if self.same else ", ".join(filter(None, (self.turn, cut))) or "neither cut nor turned"


def find(
    greys: np.ndarray,
    features: np.ndarray,
    hashes: Sequence[str | None],
    splits: np.ndarray,
    least: float,
    pixels: Callable[[np.ndarray], np.ndarray],
) -> list[Copy]:
    """Pairs that correlate `least` or more, the most similar first.

    `greys`: uint8[n, 64, 64] (`views.grey`); `features`: float[n, c]; `hashes`: hex; `splits`: text[n]; `pixels`: maps
    positions, int[m], to prepared images, uint8[m, side, side, 3].
    """
    seen, hashed, known = candidates.seen(greys), candidates.hashed(hashes), candidates.of_features(features)
    pairs = candidates.pairs(seen, (hashed, known), splits)
    pairs, variants = _likely(pairs, candidates.products(seen, pairs))
    if not len(pairs):
        return []
    similarity, windows = _aligned(greys, pairs, variants)
    kept = np.flatnonzero(similarity >= least)
    kept = kept[np.argsort(-similarity[kept], kind="stable")]
    pairs, variants = pairs[kept], [variants[at] for at in kept]
    cosines = candidates.products(known, pairs)[:, 0]
    bits = (1 - candidates.products(hashed, pairs).max(axis=1, initial=-1)) * 32
    same = [_same(greys, pair, pixels) for pair in pairs]
    return [
        Copy(
            int(a),
            int(b),
            same[at],
            views.BACK.get(variants[at].turn, variants[at].turn),
            share,
            float(similarity[kept[at]]),
            cosine,
            bit,
        )
        for at, ((a, b), share, cosine, bit) in enumerate(
            zip(pairs, windows[kept, 0].tolist(), cosines.tolist(), bits.round().astype(int).tolist(), strict=True)
        )
    ]


def groups(copies: Sequence[Copy], images: int) -> np.ndarray:
    """For each pair the number of its group of connected images, int[pairs]; group 1 is the largest."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ends = np.array([(copy.copy, copy.original) for copy in copies], int).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), (images, images))
    _, member = connected_components(graph, directed=False)
    sizes = np.bincount(member)
    order = np.argsort(np.argsort(-sizes, kind="stable"))
    return order[member[ends[:, 0]]] + 1


def _likely(pairs: np.ndarray, products: np.ndarray) -> tuple[np.ndarray, list[candidates.Variant]]:
    """For each two images the likelier direction, if it reaches `LIKELY`, and its best variant."""
    best = products.max(axis=1, initial=-1)
    order = np.argsort(-best, kind="stable")
    order = order[best[order] >= LIKELY]
    _, first = np.unique(np.sort(pairs[order], axis=1), axis=0, return_index=True)
    order, every = order[np.sort(first)], candidates.variants()
    return pairs[order], [every[at] for at in products[order].argmax(axis=1)]


def _aligned(greys: np.ndarray, pairs: np.ndarray, variants: list[candidates.Variant]) -> tuple[np.ndarray, np.ndarray]:
    copies = np.stack([views.turned(greys[at], v.turn) for at, v in zip(pairs[:, 0], variants, strict=True)])
    return alignment.align(copies, greys[pairs[:, 1]], np.array([v.window for v in variants]))


def _same(greys: np.ndarray, pair: np.ndarray, pixels: Callable[[np.ndarray], np.ndarray]) -> bool:
    if not np.array_equal(*greys[pair]):
        return False
    return bool(np.array_equal(*pixels(pair)))
