"""The front half of the DAG: checked data, prepared images, and features, on one machine or on several."""

from contextlib import suppress
from typing import Any

from prefect import flow, unmapped
from prefect.futures import wait

from flows.parts.backbone import with_backbone
from flows.parts.search import with_choices
from tasks.data import corrections, datasets
from tasks.evaluation import slices
from tasks.records import DatasetRef, FeaturesRef, ImagesRef
from tasks.runtime.errors import DependencyError, Lost
from tasks.settings import Extract, Recipe
from tasks.stages.data.ingest import ingest
from tasks.stages.data.preprocess import preprocess
from tasks.stages.data.validate import validate
from tasks.stages.features.extract import extract, shard


def checked(recipe: Recipe) -> DatasetRef:
    """The recipe's data, ingested, validated, and checked for the columns that slices need."""
    facts = ingest(recipe.source, recipe.images, recipe.labels, corrections.from_corrections(recipe.name))
    dataset = validate(facts, recipe.split, recipe.validation, recipe.name)
    slices.check(datasets.rows(dataset), recipe.slices)
    return dataset


def prepared(recipe: Recipe, dataset: DatasetRef) -> tuple[Recipe, ImagesRef, FeaturesRef]:
    """The recipe with its backbone chosen, and the data as images and as features."""
    recipe, _ = with_choices(recipe, dataset, repeat=True)
    recipe, _ = with_backbone(recipe, dataset)
    images = preprocess(dataset, recipe.images)
    return recipe, images, extracted(recipe, images)


def extracted(recipe: Recipe, images: ImagesRef, label: str = extract.name) -> FeaturesRef:
    """The features of the images, computed on several machines if the recipe names a task runner.

    `label`: name of the stage's run, for flows that extract several times.
    """
    if recipe.ladder.turns(images.dataset.counts):  # cross-fitting trains on validation images too
        recipe = recipe.model_copy(update={"ladder": recipe.ladder.model_copy(update={"refit": True})})
    if recipe.extract.runner != "local" and not extract.cached(images, recipe.extraction):
        run = fill_in_shards.with_options(task_runner=_runner(recipe.extract), flow_run_name=f"extract {recipe.name}")
        with suppress(Lost):  # the stage meets the loss too, and mends it
            run(images, recipe)
    return extract.labelled(label)(images, recipe.extraction, cut=recipe.cut)


@flow(name="extract in shards", validate_parameters=False)
def fill_in_shards(images: ImagesRef, recipe: Recipe) -> list[int]:
    """Run one task per shard; returns how many rows each had to compute."""
    parts = recipe.extract.shards
    settings, cut = unmapped(recipe.extraction), unmapped(recipe.cut)
    futures = shard.map(unmapped(images), settings, cut, range(parts), parts=unmapped(parts))
    wait(futures)
    return [future.result() for future in futures]


def _runner(settings: Extract) -> Any:
    try:
        from prefect_dask import DaskTaskRunner
    except ImportError as error:
        raise DependencyError(
            f"extract.runner = 'dask' needs prefect-dask: pip install 'headstart[dask]' ({error})."
        ) from error
    if settings.address:
        return DaskTaskRunner(address=settings.address)
    # One thread per process: TensorFlow and OpenVINO start their own threads.
    return DaskTaskRunner(
        cluster_kwargs={"n_workers": settings.workers, "threads_per_worker": 1, "dashboard_address": None}
    )
