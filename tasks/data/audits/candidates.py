"""Pairs of images that may show the same: few enough to compare each pair closely.

Three searches with unit vectors, each for an image's nearest neighbours in every split, its own too: on the photo at
8 x 8 pixels, on its perceptual hash, and on the frozen network's features. Only the first finds crops: of crops to 85
to 90 % planted among ELPV's 2,624 photos it has 99 % among the nearest six (of 300), hashes a third and features 3 %
among the nearest three (of 60).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np

from tasks.data.audits import views

#: Side of the first search's images, pixels, and the number of principal components of the 64 values that it compares.
SIDE, COMPONENTS = 8, 48
#: Scales of crops, and the number of positions that are tried along each axis.
CROPS = {0.95: 2, 0.9: 4, 0.85: 5, 0.8: 5}
NEAREST, BLOCK = 6, 256


@dataclass(frozen=True)
class Variant:
    """One way to be a copy: turned, and cut out of the other image by this window (scale, top, left)."""

    turn: str
    window: views.Window


def variants() -> tuple[Variant, ...]:
    """All searched variants: every turn of the whole image, some turns of every crop."""
    whole = [Variant(turn, views.WHOLE) for turn in views.TURNS]
    windows = [
        (scale, top, left)
        for scale, places in CROPS.items()
        for top in np.linspace(0, 1 - scale, places)
        for left in np.linspace(0, 1 - scale, places)
    ]
    return (*whole, *(Variant(turn, window) for window in windows for turn in views.WITH_CROPS))


#: Unit vectors to compare: of the images as copies, and as originals, float32[n, d] each.
Sides = tuple[np.ndarray, np.ndarray]


def seen(greys: np.ndarray) -> list[Sides]:
    """For each variant, vectors of uint8[n, 64, 64] at 8 x 8 pixels.

    Brightness and contrast do not count. Principal components are scaled to equal variance, so that structures common
    to all photos (a frame, a background) do not dominate.
    """
    wanted = variants()
    halved = views.window(greys, views.WHOLE, views.SIDE // 2)  # enough for 8 x 8 pixels, in a quarter of the time
    small = {window: _standard(views.window(halved, window, SIDE)) for window in {v.window for v in wanted}}
    whole = small[views.WHOLE]
    mean, axes = _whitening(whole.reshape(len(whole), -1))

    def vectors(values: np.ndarray) -> np.ndarray:
        return unit((values.reshape(len(values), -1) - mean) @ axes)

    copies = {turn: vectors(views.turned(whole, turn)) for turn in views.TURNS}
    originals = {window: vectors(values) for window, values in small.items()}
    return [(copies[v.turn], originals[v.window]) for v in wanted]


def hashed(hashes: Sequence[str | None]) -> list[Sides]:
    """For each turn, perceptual hashes (64 bits, hex) as vectors of -1/8 and 1/8: (1 - product) * 32 bits differ.

    The bits are signs of an 8 x 8 cosine transform: mirroring the image changes every second sign, and transposing it
    transposes them. No photo is read again (https://www.hackerfactor.com/blog/?/archives/432-Looks-Like-It.html).
    """
    known = np.array([bytearray.fromhex(text or "0" * 16) for text in hashes], np.uint8)
    signs = np.unpackbits(known, axis=1).reshape(-1, 8, 8).astype(np.float32) / 4 - 1 / 8
    return [(_turned_signs(signs, turn).reshape(len(signs), -1), signs.reshape(len(signs), -1)) for turn in views.TURNS]


def of_features(features: np.ndarray) -> list[Sides]:
    """Features float[n, c] as directions from their mean."""
    found = unit(features - features.mean(axis=0))
    return [(found, found)]


def pairs(seen: Sequence[Sides], others: Sequence[Sequence[Sides]], splits: np.ndarray) -> np.ndarray:
    """Candidates of all searches, int[m, 2] of (copy, original); those of `others` in both directions."""
    found = [nearest(sides, splits, 1) for sides in others]
    return np.unique(np.concatenate([nearest(seen, splits), *found, *(each[:, ::-1] for each in found)]), axis=0)


def nearest(sides: Sequence[Sides], splits: np.ndarray, count: int = NEAREST) -> np.ndarray:
    """int[m, 2] of (copy, original): for each image the nearest `count` others in each split, over all sides."""
    of_split = {split: np.flatnonzero(splits == split) for split in np.unique(splits)}
    found = [np.empty((0, 2), int)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # NumPy releases the interpreter's lock
        for copies_in, originals_in in product(of_split, repeat=2):
            copies, originals = of_split[copies_in], of_split[originals_in]
            columns = {id(original): original[originals].T for _, original in sides}  # windows are shared by turns
            wanted = [(copy, columns[id(original)]) for copy, original in sides]
            blocks = [copies[start : start + BLOCK] for start in range(0, len(copies), BLOCK)]
            for rows, places in zip(blocks, pool.map(partial(_top, wanted, originals, count), blocks), strict=True):
                pairs = np.stack([np.repeat(rows, places.shape[1]), originals[places.ravel()]], axis=1)
                found.append(pairs[pairs[:, 0] != pairs[:, 1]])
    return np.concatenate(found)


def _top(wanted: list[Sides], originals: np.ndarray, count: int, rows: np.ndarray) -> np.ndarray:
    """Places in `originals` of the nearest to each row, over all sides: int[rows, count]; an image is not its own."""
    best = np.full((len(rows), wanted[0][1].shape[1]), -2, np.float32)
    for copy, columns in wanted:
        np.maximum(best, copy[rows] @ columns, out=best)
    best[rows[:, None] == originals] = -2
    count = min(count, best.shape[1])
    return np.argpartition(-best, count - 1, axis=1)[:, :count]


def products(sides: Sequence[Sides], pairs: np.ndarray) -> np.ndarray:
    """Similarity of the pairs int[m, 2] of (copy, original) on each side: float32[m, sides], 1 for equal."""
    return np.stack([np.einsum("md,md->m", copy[pairs[:, 0]], key[pairs[:, 1]]) for copy, key in sides], axis=1)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors float32[n, d] scaled to length 1; zero vectors stay zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def _standard(values: np.ndarray) -> np.ndarray:
    deviation = values.std(axis=(1, 2), keepdims=True)
    return (values - values.mean(axis=(1, 2), keepdims=True)) / np.where(deviation > 0, deviation, 1)


def _whitening(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean float[d] and axes float[d, components] that bring float[n, d] to equal variance; few rows unscaled."""
    mean = values.mean(axis=0)
    if len(values) < 4 * COMPONENTS:  # components of so few rows would be single images
        return mean, np.eye(values.shape[1], dtype=np.float32)
    variance, axes = np.linalg.eigh(np.cov(values.T))
    variance, axes = variance[::-1][:COMPONENTS], axes[:, ::-1][:, :COMPONENTS]
    # A floor: components that hardly vary are rounding errors, which scaling would amplify.
    return mean, axes / np.sqrt(np.maximum(variance, 1e-4 * max(variance[0], 1e-12)))


def _turned_signs(signs: np.ndarray, turn: str) -> np.ndarray:
    every_second = np.where(np.arange(8) % 2, -1, 1).astype(np.float32)
    mirrored, quarters = views.TURNS[turn]
    found = signs * every_second if mirrored else signs
    for _ in range(quarters):  # counter-clockwise: transposed, then upside down
        found = np.swapaxes(found, 1, 2) * every_second[:, None]
    return found
