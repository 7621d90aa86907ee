"""Extraction spread over several machines, before the stage `extract` finds all its rows there."""

from typing import Any

from prefect import flow, unmapped
from prefect.futures import wait

from tasks.records import ImagesRef
from tasks.runtime.errors import DependencyError
from tasks.settings import Extract, Recipe
from tasks.stages.features.extract import extract, shard


def extract_in_shards(images: ImagesRef, recipe: Recipe) -> None:
    """Fill the table of features with the task runner that the recipe names, unless that is done."""
    r = recipe
    if r.extract.runner == "local" or extract.cached(
        images, r.backbone, r.extract, r.images, r.backend, r.ladder.refit
    ):
        return
    run = fill_in_shards.with_options(task_runner=_runner(recipe.extract), flow_run_name=f"extract {recipe.name}")
    run(images, recipe)


@flow(name="extract in shards", validate_parameters=False)
def fill_in_shards(images: ImagesRef, recipe: Recipe) -> list[int]:
    """One task for each shard; returns how many rows each had to compute."""
    r, parts = recipe, recipe.extract.shards
    futures = shard.map(
        unmapped(images),
        unmapped(r.backbone),
        unmapped(r.extract),
        unmapped(r.images),
        unmapped(r.backend),
        unmapped(r.ladder.refit),
        unmapped(r.cut),
        range(parts),
        parts=unmapped(parts),
    )
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
    # Processes of one thread: TensorFlow and OpenVINO bring their own threads.
    return DaskTaskRunner(
        cluster_kwargs={"n_workers": settings.workers, "threads_per_worker": 1, "dashboard_address": None}
    )
