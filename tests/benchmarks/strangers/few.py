"""One to sixteen photos a class, ours beside the guide: `uv run python -m tests.benchmarks.strangers.few FOLDER`.

Ours is the default head on the default features; the guide is a dense layer with dropout on the means of the last map,
trained to convergence, on the same network and photos. Photos are drawn anew for each seed; the test photos stay.
"""

from pathlib import Path
from typing import Any

import numpy as np
import typer

from tests.benchmarks.__main__ import machine
from tests.benchmarks.strangers import sets

COUNTS, SEEDS = (1, 2, 4, 8, 16), 10
#: Sides that a person would choose for photos of 64, 64 and 28 pixels.
SIDES = {"digits": 64, "emoji": 128, "fashion_100": 128}
#: Photos of a class to draw from, and to test on.
LEARNED, TESTED = 60, 60


def main(folder: Path) -> None:
    """Print a table for each set: accuracy and log loss of both, and the mean difference with its interval."""
    from rich.console import Console
    from rich.table import Table
    from scipy import stats

    from tasks.networks import backbones, pooling
    from tasks.settings import Candidate

    for name, side in SIDES.items():
        place = sets.write(name, folder)
        backbone = backbones.load(Candidate(), side)
        parts = pooling.parts(backbone, "pyramid")
        known, labels = _features(backbone, place / "train", side, LEARNED)
        asked, truth = _features(backbone, place / "test", side, TESTED)
        table = Table(
            "photos a class", "ours", "the guide", "difference", "ours", "the guide", "difference", title=name
        )
        for count in COUNTS:
            scores = np.array([_scores(known, labels, asked, truth, parts, [seed, count]) for seed in range(SEEDS)])
            cells = [str(count)]
            for metric in (0, 1):
                ours, guide = scores[:, 0, metric], scores[:, 1, metric]
                gap = ours - guide
                sure = stats.sem(gap) * stats.t.ppf(0.975, SEEDS - 1)
                cells += [f"{ours.mean():.3f}", f"{guide.mean():.3f}"]
                cells.append(f"{gap.mean():+.3f} ({gap.mean() - sure:+.3f} to {gap.mean() + sure:+.3f})")
            table.add_row(*cells)
        Console(width=160).print(table)
    print(machine())


def _features(backbone: Any, folder: Path, side: int, most: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """What the default pooling and the means of the last map give for photos of a folder, with their labels."""
    from PIL import Image

    from tasks.networks import pooling

    files = [file for place in sorted(folder.iterdir()) for file in sorted(place.iterdir())[:most]]
    names = sorted({file.parent.name for file in files})
    pixels = np.stack([np.asarray(Image.open(file).convert("RGB").resize((side, side))) for file in files])
    found = {how: pooling.pooled(backbone, how).predict(pixels, verbose=0) for how in ("pyramid", "avg")}
    return found, np.array([names.index(file.parent.name) for file in files])


def _scores(
    known: dict[str, np.ndarray],
    labels: np.ndarray,
    asked: dict[str, np.ndarray],
    truth: np.ndarray,
    parts: tuple[int, ...],
    draw: list[int],
) -> list[tuple[float, float]]:
    from tasks.networks import heads
    from tasks.networks.heads import logistic
    from tasks.training import fit

    random = np.random.default_rng(draw)
    rows = np.concatenate(
        [random.permutation(np.flatnonzero(labels == label))[: draw[1]] for label in np.unique(labels)]
    )
    classes = int(labels.max()) + 1
    features, own = known["pyramid"][rows], labels[rows]
    head = logistic.learn(heads.Examples(lambda at: features[at], own, parts=parts), classes)
    ours = fit.scores(np.asarray(head.predict(asked["pyramid"], verbose=0)), truth)
    guide = fit.scores(_guide(known["avg"][rows], own, classes, draw[0]).predict(asked["avg"], verbose=0), truth)
    return [(each["accuracy"], each["log_loss"]) for each in (ours, guide)]


def _guide(features: np.ndarray, labels: np.ndarray, classes: int, seed: int) -> Any:
    """Until the loss of the photos that it is trained on stops falling; so few leave none to stop early on."""
    import keras

    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input(features.shape[1:]), keras.layers.Dropout(0.2), keras.layers.Dense(classes)])
    model.compile(keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    stopping = keras.callbacks.EarlyStopping("loss", min_delta=1e-3, patience=5)
    model.fit(features, labels, epochs=200, batch_size=32, verbose=0, callbacks=[stopping])
    return model


if __name__ == "__main__":
    typer.run(main)
