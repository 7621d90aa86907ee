"""Transfer against training from scratch: learning curves over the number of training images, and a verdict."""

import time
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.parts.backbone import with_backbone
from flows.parts.extraction import extract_in_shards
from tasks.data import corrections, datasets, subsets
from tasks.networks import backbones, backend
from tasks.records import Comparison, CurvesRef, FeaturesRef, ImagesRef, PointRef
from tasks.runtime.errors import UsageError
from tasks.services import tracking
from tasks.services.orchestration import monitoring
from tasks.services.orchestration.stage import Stage
from tasks.settings import Head, Recipe
from tasks.stages.curves.compare import compare as curves
from tasks.stages.curves.fit_from_scratch import learn
from tasks.stages.curves.fit_pretrained import adapt
from tasks.stages.data.ingest import ingest
from tasks.stages.data.preprocess import preprocess
from tasks.stages.data.validate import validate
from tasks.stages.features.extract import extract


@flow(name="compare", flow_run_name="compare {recipe.name}", validate_parameters=True)
def compare(recipe: Recipe) -> Comparison:
    """Train each method on more and more images; points that are there already are taken from the cache."""
    r, started = recipe, time.perf_counter()
    if r.backbone.weights == "random":
        raise UsageError("backbone.weights: expected pretrained weights to compare with random ones, found random.")
    backend.use(r.backend)
    with monitoring.run(r.name, "compare", r.model_dump(), r.observe) as run:
        facts = ingest(r.source, r.split, r.images, corrections.of(r.name))
        dataset = validate(facts, r.validation)
        images = preprocess(dataset, r.images)
        r, _ = with_backbone(r, images)
        extract_in_shards(images, r)
        features = extract(images, r.backbone, r.extract, r.images, r.backend, r.ladder.refit)
        points, notes = _points(images, features, r, started)
        found = curves(dataset, points, notes, r.seed)
        _log(found)
    comparison = Comparison(run.id, r.name, dataset, found, run.stages, time.perf_counter() - started)
    create_markdown_artifact(found.verdict, description=f"Comparison of {r.name}")
    return comparison


def _points(
    images: ImagesRef, features: FeaturesRef, r: Recipe, started: float
) -> tuple[tuple[PointRef, ...], tuple[str, ...]]:
    """All points as far as the recipe's time reaches, and why others are missing."""
    counts = datasets.rows(images.dataset, "train")["label"].value_counts()
    parts = subsets.parts(r.compare.shares, r.compare.per_class, list(counts))
    points: list[PointRef] = []
    notes: list[str] = []
    for method in r.compare.methods:
        if missing := _missing(method, r):
            notes.append(missing)
            continue
        stage, args = _method(method, images, features, r)
        for count, part in parts.items():
            minutes = (time.perf_counter() - started) / 60
            seeds = range(r.seed, r.seed + r.compare.seeds)
            there = all(stage.cached(*args, part, seed) for seed in seeds)
            if not there and 0 < r.compare.max_minutes < minutes:
                notes.append(_late(method, count, r.compare.max_minutes))
                break
            for seed in seeds:
                points.append(stage.labelled(_label(method, count, seed, r))(*args, part, seed))
    return tuple(points), tuple(notes)


def _method(method: str, images: ImagesRef, features: FeaturesRef, r: Recipe) -> tuple[Stage, tuple[Any, ...]]:
    """The stage that trains a point of the method, and its arguments before the part and the seed."""
    if method in ("frozen", "fine_tuned"):
        tuning = r.fine_tune if method == "fine_tuned" else None
        return adapt, (images, features, r.backbone, Head(), tuning, r.loss, r.extract, r.images)
    small = method == "small_cnn"
    resized = _resized(images, r, r.compare.small_size if small else r.compare.scratch_size)
    network = None if small else backbones.randomised(r.backbone)
    return learn, (resized, network, r.compare.epochs, r.loss, r.images)


def _resized(images: ImagesRef, r: Recipe, side: int) -> ImagesRef:
    """The images with this side; as they are where it is 0 or not smaller."""
    if not 0 < side < images.size:
        return images
    return preprocess.labelled(f"{preprocess.name}_{side}")(images.dataset, r.images.model_copy(update={"size": side}))


def _missing(method: str, r: Recipe) -> str:
    """Why a method cannot be measured with this recipe; empty where it can."""
    if method == "fine_tuned" and not r.fine_tune.enabled:
        return "fine_tuned was not trained: fine_tune.enabled is false."
    if method == "scratch" and backbones.randomised(r.backbone) is None:
        return (
            f"scratch was not trained: of a backbone of the kind {r.backbone.kind} there is none with random weights."
        )
    return ""


def _late(method: str, count: int, minutes: float) -> str:
    return (
        f"{method} was not trained with {count:,} images and more, as {minutes:g} minutes (compare.max_minutes) were "
        f"over; the same command goes on from there."
    )


def _label(method: str, count: int, seed: int, r: Recipe) -> str:
    return f"{method}_{count}" + (f"_seed{seed}" if r.compare.seeds > 1 else "")


def _log(found: CurvesRef) -> None:
    """Each method's curve, with the number of training images as the step."""
    for method in dict.fromkeys(level.method for level in found.levels):
        own = [level for level in found.levels if level.method == method]
        for name in ("accuracy", "log_loss", "seconds"):
            tracking.log_curve(f"{method}.{name}", {level.images: getattr(level, name) for level in own})
