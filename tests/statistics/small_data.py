"""Few real images: which head is shipped by cross-fitting, and which by one validation split.

    uv run python -m tests.statistics.small_data

Features are computed once. Of each data set some images are drawn, 20 times; three heads are trained on four fifths of
them and stopped on the last fifth, and one is chosen, on that fifth or by cross-fitting on all. The accuracy is that on
all images that were not drawn.
"""

import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from flows import recipes
from tasks import settings
from tasks.data import datasets, sources, subsets
from tasks.data.files import fact_table
from tasks.evaluation import model_choice
from tasks.evaluation.statistics import bootstrap, cross_validation
from tasks.features import extraction, tables
from tasks.features.batches import Batches
from tasks.records import DatasetRef, ImagesRef
from tasks.runtime.home import configure, home
from tasks.settings import Head
from tasks.training import fit, saving
from tasks.training.heads import head_fitting

SIZES = {"digits": (60, 120, 250), "elpv": (150, 300)}
HEADS = {"knn": Head(kind="knn"), "linear": Head(), "mlp": Head(kind="mlp")}
#: How a head is chosen: on which answers, and by which metric.
WAYS = [(how, metric) for how in ("one split", "cross-fitting") for metric in ("log_loss", "accuracy")]
DRAWS = 20
VIEWS = settings.Images(views=("identity",))


def features(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Features of EfficientNet-Lite0, float32[n, values], and labels int[n], of a recipe's images."""
    recipe = settings.load(Path(recipes.__path__[0]) / f"{name}.toml", ('images.views=["identity"]',))
    rows, _ = fact_table.with_facts(sources.listing(recipe.source), recipe.images)
    rows = rows.dropna(subset=["key"]).drop_duplicates("key").reset_index(drop=True)
    rows["split"] = "test"
    rows.to_parquet(home() / "store" / f"small-{name}.parquet")
    classes = tuple(sorted(rows["label"].unique()))
    dataset = DatasetRef(f"store/small-{name}.parquet", name, classes, {}, 0, 0, 0, (), "")
    size, how = recipe.images.size, recipe.images.fit
    images = ImagesRef(dataset, f"images-small-{name}", name, size, how, recipe.images.max_pixels, False, 0)
    found = extraction.start(images, recipe.extraction)
    found.fill(images, {"test": ("identity",)}, "extract")
    return tables.vectors(found.table, rows), datasets.labels(rows, classes)


def draw(values: np.ndarray, labels: np.ndarray, images: int, seed: int) -> dict[str, tuple[str, float]]:
    """For each way of choosing, the head that is shipped and its accuracy on the images that were not drawn."""
    chosen = subsets.at_most(labels, images, seed)
    ours, classes, groups = labels[chosen], int(labels.max()) + 1, np.arange(len(chosen))
    rest = np.setdiff1d(np.arange(len(labels)), chosen)
    train, validation = cross_validation.folds(ours, groups, 5, seed)[0]
    every, part, other, outside = (
        _batches(values, labels, rows) for rows in (chosen, chosen[train], chosen[validation], rest)
    )
    answers: dict[str, list[np.ndarray]] = {how: [] for how, _ in WAYS}
    right = []
    for head in HEADS.values():
        how = settings.Recipe(name="small", head=head, seed=seed, images=VIEWS).training("head", folds=5)
        fit.seed_everything(seed)
        model = head_fitting.built(how, values.shape[1:], classes, part)
        head_fitting.fitted(model, how, part, other)
        answers["one split"].append(saving.softmax(fit.predict(model, other)))
        crossed = head_fitting.cross_fitted(how, classes, every, every, groups)
        assert crossed is not None
        answers["cross-fitting"].append(crossed)
        right.append(float(bootstrap.correct(labels[rest], fit.predict(model, outside)).mean()))
    names, found = list(HEADS), {}
    for way, metric in WAYS:
        truth = ours if way == "cross-fitting" else ours[validation]
        at = model_choice.cheapest(model_choice.compared(truth, answers[way], metric, 0.95, seed))
        found[f"{way}, {metric}"] = (names[at], right[at])
    return found | {"the best head each time": (names[int(np.argmax(right))], max(right))}


def _batches(values: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> Batches:
    inputs = values[rows]
    return Batches(lambda positions: inputs[positions], labels[rows])


def measured(name: str) -> list[list[str]]:
    """The table's rows for a data set."""
    configure()
    values, labels = features(name)
    rows = []
    for images in SIZES[name]:
        draws = [draw(values, labels, images, seed) for seed in range(DRAWS)]
        for way in draws[0]:
            accuracy = np.array([each[way][1] for each in draws])
            counted = Counter(each[way][0] for each in draws)
            shipped = ", ".join(f"{head} {counted[head]}" for head in HEADS if counted[head])
            text = f"{accuracy.mean():.3f} ± {accuracy.std(ddof=1) / np.sqrt(DRAWS):.3f}"
            rows.append([f"{name}, {images}", way, shipped, text])
        print(f"{name}, {images} images: done", file=sys.stderr, flush=True)
    return rows


if __name__ == "__main__":
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        lines = [line for rows in pool.map(measured, SIZES) for line in rows]
    for cells in (["data, images", "chosen by", "shipped in 20 draws", "accuracy on the rest"], ["---"] * 4, *lines):
        print(f"| {' | '.join(cells)} |")
