"""Transfer against training from scratch: learning curves over the number of training images, and a verdict."""

import time
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.parts.extraction import checked, prepared
from tasks.data import datasets, subsets
from tasks.networks import backbones, backend
from tasks.records import Comparison, CurvesRef, FeaturesRef, ImagesRef, PointRef
from tasks.runtime import escapes, plugins
from tasks.runtime.errors import UsageError
from tasks.services import tracking
from tasks.services.orchestration import monitoring
from tasks.services.orchestration.stage import Stage
from tasks.settings import Recipe, ScratchTraining
from tasks.stages.curves.compare import compare as curves
from tasks.stages.curves.fit_from_scratch import fit_from_scratch
from tasks.stages.curves.fit_pretrained import fit_pretrained
from tasks.stages.data.audit import audit
from tasks.stages.data.preprocess import preprocess


@flow(name="compare", flow_run_name="compare {recipe.name}", validate_parameters=True)
def compare(recipe: Recipe) -> Comparison:
    """Train each method on growing numbers of images; points that exist already come from the cache."""
    r, started = recipe, time.perf_counter()
    if r.backbone.weights == "random":
        raise UsageError("backbone.weights: expected pretrained weights to compare with random ones, found random.")
    plugins.use(r.plugins)
    backend.use(r.backend)
    with monitoring.run(r.name, "compare", r.model_dump(), r.observe) as run:
        dataset = checked(r)
        r, images, features = prepared(r, dataset)
        audited = audit(images, features, r.audit, r.name, r.seed)
        points, notes = _points(images, features, r, started)
        found = curves(dataset, audited, points, notes, r.compare.margin, r.seed)
        _log(found)
        tracking.describe(escapes.markdown(found.verdict))
    comparison = Comparison(run.id, r.name, dataset, found, run.stages, time.perf_counter() - started)
    create_markdown_artifact(escapes.markdown(found.verdict), description=f"Comparison of {r.name}")
    return comparison


def _points(
    images: ImagesRef, features: FeaturesRef, r: Recipe, started: float
) -> tuple[tuple[PointRef, ...], tuple[str, ...]]:
    """The points that fit into the recipe's time, and why others are missing."""
    counts = datasets.rows(images.dataset, "train")["label"].value_counts()
    parts = subsets.parts(r.compare.shares, r.compare.per_class, list(counts))
    notes = tuple(filter(None, (_missing(method, r) for method in r.compare.methods)))
    methods = {method: _resized(method, images, r) for method in r.compare.methods if not _missing(method, r)}
    points: list[PointRef] = []
    late = dict.fromkeys(methods, 0)
    # One training of everything after the other: time that runs out cuts all methods equally.
    for seed in range(r.seed, r.seed + r.compare.seeds):
        seeded = r.model_copy(update={"seed": seed})
        for count, part in parts.items():
            for method, resized in methods.items():
                stage, args = _point(method, resized, features, seeded, part)
                minutes = (time.perf_counter() - started) / 60
                if 0 < r.compare.max_minutes < minutes and not stage.cached(*args):
                    late[method] += 1
                else:
                    points.append(stage.labelled(_label(method, count, seed, r))(*args))
    wanted = len(parts) * r.compare.seeds
    return tuple(points), notes + tuple(_late(method, n, wanted, r) for method, n in late.items() if n)


def _point(
    method: str, images: ImagesRef, features: FeaturesRef, r: Recipe, part: subsets.Part
) -> tuple[Stage, tuple[Any, ...]]:
    """The stage that trains a point of the method on a part of the images, and its arguments."""
    if method in ("frozen", "fine_tuned"):
        tuning = r.tuning("blocks") if method == "fine_tuned" else None
        return fit_pretrained, (images, features, r.training("probe"), tuning, part)
    network = None if method == "small_cnn" else backbones.randomised(r.backbone)
    settings = ScratchTraining(
        backbone=network, epochs=r.compare.epochs, loss=r.loss, views=r.images.views, seed=r.seed
    )
    return fit_from_scratch, (images, settings, part)


def _resized(method: str, images: ImagesRef, r: Recipe) -> ImagesRef:
    """The images at the size that the method trains on."""
    side = {"small_cnn": r.compare.small_size, "scratch": r.compare.scratch_size}.get(method, 0)
    if not 0 < side < images.size:
        return images
    return preprocess.labelled(f"{preprocess.name}_{side}")(images.dataset, r.images.model_copy(update={"size": side}))


def _missing(method: str, r: Recipe) -> str:
    """Why a method cannot be measured with this recipe; empty if it can."""
    if method == "fine_tuned" and not r.fine_tune.enabled:
        return "fine_tuned was not trained: fine_tune.enabled is false."
    if method == "scratch" and backbones.randomised(r.backbone) is None:
        return f"scratch was not trained: backbones of kind {r.backbone.kind} are not available with random weights."
    return ""


def _late(method: str, count: int, wanted: int, r: Recipe) -> str:
    return (
        f"{method}: {count:,} of {wanted:,} trainings were not done, as {r.compare.max_minutes:g} minutes "
        f"(compare.max_minutes) were over. Run the same command again to continue."
    )


def _label(method: str, count: int, seed: int, r: Recipe) -> str:
    return f"{method}_{count}" + (f"_seed{seed}" if r.compare.seeds > 1 else "")


def _log(found: CurvesRef) -> None:
    """Each method's curve, with the number of training images as the step."""
    for method in dict.fromkeys(level.method for level in found.levels):
        own = [level for level in found.levels if level.method == method]
        for name in ("accuracy", "log_loss", "seconds"):
            tracking.log_curve(f"{method}.{name}", {level.images: getattr(level, name) for level in own})
