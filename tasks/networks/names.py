"""Names of operations, of which a graph may have each once: those that Keras gives, ours, and a stranger's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tasks.networks.freezing import STILL

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Names of the layers that pool below the top of the network, followed by the block that they pool.
SIDE = "pool_of_"
#: What is put around a network, and found again by these names.
OWN = {
    *("pixels", "to_range", "pool", "head", "probabilities", "calibrated", "unit", "reference"),
    *("crossing", "flat_features", "features_and_crossing"),
}
#: Above it no file numbers its layers, and counting would take long.
MOST = 100_000


def apart(name: str) -> str:
    """The name of an operation inside a network, changed if a layer around it may be called so."""
    return f"its_{name}" if name in OWN or name.startswith((SIDE, STILL, "pool_top", "flat_")) else name


def reserve(names: Iterable[str]) -> None:
    """See to it that Keras gives none of these names to what is made from now on.

    Keras numbers what has no name anew in each process, so that a division beside a loaded network may be called like
    one inside it, and such a graph is refused.
    """
    from keras.backend import get_uid

    for name in names:
        stem, number = re.fullmatch(r"(.*?)(?:_(\d{1,6}))?", name, re.DOTALL).groups()  # type: ignore[union-attr]
        while int(number or 0) < MOST and get_uid(stem) <= int(number or 0):
            pass
