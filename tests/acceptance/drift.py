"""What new images that differ from the training images must set off; four minutes on 2 cores.

uv run python -m tests.acceptance.drift
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tests.acceptance.shown import Shown, main

if TYPE_CHECKING:
    import keras

    from tasks.records import Drift

#: Draws of new images, and their sizes.
DRAWS, SHIFTED, SIZES = 40, 10, (100, 201)
DARKER = 0.5


def drifted() -> Shown:
    """100 to 200 of ELPV's images are called drift in at most 2 of 40 draws; at half the brightness in all of 10."""
    rows, features, darker = _elpv()
    labels = (rows["label"] == "defective").to_numpy(int)
    alike = [_drift(features, features, labels, seed) for seed in range(DRAWS)]
    dark = [_drift(darker, features, labels, DRAWS + seed) for seed in range(SHIFTED)]
    false, true = sum(one.drifted for one in alike), sum(one.drifted for one in dark)
    smallest = sorted(min(*one.p.values(), *one.classes.values()) for one in alike)[:3]
    largest = max(p for one in dark for p in one.p.values())
    return (
        false <= 0.05 * DRAWS and true == SHIFTED,
        f"{false} of {DRAWS} (smallest p {', '.join(f'{p:.3f}' for p in smallest)}; AUC on average "
        f"{np.mean([one.auc for one in alike]):.3f}) and {true} of {SHIFTED} (largest p {largest:.3f}, AUC on average "
        f"{np.mean([one.auc for one in dark]):.3f})",
    )


def _drift(new: np.ndarray, before: np.ndarray, labels: np.ndarray, seed: int) -> "Drift":
    """Of some images, drawn at random, against the rest."""
    from tasks.evaluation import drift
    from tasks.evaluation.statistics.two_samples import Sample

    random = np.random.default_rng(seed)
    order, size = random.permutation(len(labels)), random.integers(*SIZES)
    drawn, rest = order[:size], order[size:]
    names = ("functional", "defective")
    return drift.of_features(Sample(new[drawn], labels[drawn]), Sample(before[rest], labels[rest]), names, seed)


def _elpv() -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """ELPV's rows (CC BY-NC-SA 4.0), what the frozen backbone gives for them, and for them at half the brightness."""
    from tasks.runtime.home import configure

    configure(Path(tempfile.mkdtemp(prefix="headstart-drift-")))
    from tasks.data import sources
    from tasks.data.files import fact_table
    from tasks.data.images import pipeline
    from tasks.networks import backbones, engines, pooling
    from tasks.runtime.home import home
    from tasks.settings import Backbone, Images, Source

    shown = Images(keep=False)
    rows, _ = fact_table.with_facts(sources.listing(Source(kind="tfds", options={"name": "elpv"})), shown)

    def network() -> "keras.Model":
        return pooling.pooled(backbones.load(Backbone(), shown.size), "avg")

    engine = engines.start("auto", network, home() / "store" / "engines" / "drift", shown.size)

    def batches(scale: float) -> Iterator[np.ndarray]:
        formats = set(rows["format"])
        for _, pixels in pipeline.prepared(list(rows["uri"]), shown.size, shown.fit, shown.max_pixels, formats=formats):
            yield (pixels * scale).astype("uint8")

    return rows, *(np.concatenate(list(engine.run(batches(scale)))) for scale in (1.0, DARKER))


if __name__ == "__main__":
    main([drifted])
