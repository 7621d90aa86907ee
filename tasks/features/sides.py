"""How large photos are made: sides to try, from the photos' own, and what to do without trying."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.data import datasets

if TYPE_CHECKING:
    import pandas as pd

    from tasks.records import DatasetRef
    from tasks.settings import FeatureSearch

#: Sides to try, pixels: each has about twice the pixels of the one before.
SIZES = (64, 112, 160, 224, 320, 448)
#: Photos whose own side is between these are seen as they are first; networks see smaller ones better enlarged.
FIRST = (224, 288)
#: Other photos are made so large first; those up to the third side half of it.
USUAL, SMALL, TINY = 224, 112, 32
#: A side this close to the photos' own gives way to it, but for the usual one to a smaller one.
CLOSE = 0.2
#: Seconds that the packaged networks take for a photo of the usual side on two cores, where nothing is measured.
TAKES = 0.015
#: How many times larger or smaller photos must be to be seen as well.
APART = 1.6
#: Photos of which half are longer than wide by this factor, or the reverse, are not square.
OBLONG = 1.1


def of_photos(rows: pd.DataFrame) -> int:
    """The median of the photos' shorter sides, pixels, of rows with `width` and `height`."""
    return int(np.median(np.minimum(rows["width"], rows["height"])))


def oblong(rows: pd.DataFrame) -> bool:
    """Whether half of the photos are clearly longer than wide, or wider than long."""
    longer = np.maximum(rows["width"], rows["height"]) / np.minimum(rows["width"], rows["height"])
    return float(np.median(longer)) > OBLONG


def grid(own: int, most: int) -> tuple[int, ...]:
    """Sides to try, from small to large, up to `most`: the photos' own is one of them if it is in that range."""
    own -= own % 16
    found = {side for side in SIZES if side <= most}
    enlarged = own < USUAL <= min((1 + CLOSE) * own, most)
    if SIZES[0] <= own <= most and not enlarged:
        found = {side for side in found if abs(side - own) > CLOSE * own} | {own}
    return tuple(sorted(found))


def first(own: int, found: tuple[int, ...]) -> int:
    """The side to begin with: the photos' own where it is not far from what networks are trained on, else that."""
    wanted = own if FIRST[0] <= own <= FIRST[1] else SMALL if own <= TINY else USUAL
    return min(found, key=lambda side: abs(np.log(side / wanted)))


def smaller(side: int) -> int:
    """The next side below one at which other things may be seen; 0 if there is none."""
    return max((each for each in SIZES if each <= side / APART), default=0)


def by_rules(dataset: DatasetRef, settings: FeatureSearch) -> dict[str, dict[str, Any]]:
    """The settings, by table, where there is no time to try any."""
    rows = datasets.rows(dataset, "train")
    own, photos = of_photos(rows), sum(dataset.counts.values())
    tried = grid(own, settings.size)
    fitting = [side for side in tried if photos * TAKES * (side / USUAL) ** 2 <= settings.features]
    images = {
        "size": min(first(own, tried), max(fitting, default=tried[0])),
        "fit": "squash" if oblong(rows) else settings.images.fit,
        "views": ("identity",),
    }
    network = settings.backbone.network if "network" in settings.open else {}
    return {"images": {name: value for name, value in images.items() if name in settings.open}, "backbone": network}
