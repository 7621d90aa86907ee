"""Rank backbones: which frozen network suits the data, judged on a sample of the training images."""

import time
from functools import partial

import pandas as pd

from tasks.data import datasets
from tasks.features import transferability
from tasks.features.extraction import start
from tasks.networks import backbones, engines
from tasks.records import DatasetRef, ImagesRef, RankedBackbone, RankingRef, digest
from tasks.reports.sections import ranking as report
from tasks.runtime import plugins
from tasks.runtime.errors import DependencyError, HeadstartError
from tasks.services import tracking
from tasks.services.orchestration.stage import stage
from tasks.settings import Extract, Extraction, Images, Select, Sized

#: Images that a network's speed is measured on.
PROBE = 64


def _weights(dataset: DatasetRef, images: Images, select: Select, *others: object) -> list[str]:
    return [*map(backbones.weights_or_why, select.candidates), *plugins.code("transferability").values()]


@stage(version=2, reads=_weights, there=lambda ranking: not any(row.skipped for row in ranking.rows))
def rank_backbones(dataset: DatasetRef, images: Images, select: Select, settings: Extract, backend: str) -> RankingRef:
    """The candidates, the most promising first, by scores of their features, averaged over the feature map.

    Each gets images of its own size, that of `images` if it has none. A candidate whose weights are unavailable is
    listed with the reason, and tried again by the next run. Raises `DependencyError` if none is left.
    """
    rows = datasets.stratified(datasets.rows(dataset, "train"), select.sample)

    def sized(candidate: Sized) -> ImagesRef:
        return datasets.images_of(dataset, images.model_copy(update={"size": candidate.size or images.size}))

    tried = [_tried(candidate, rows, sized(candidate), settings, backend) for candidate in select.candidates]
    if all(row.skipped for row in tried):
        reasons = " ".join(f"{row.name}: {row.skipped}" for row in tried)
        raise DependencyError(f"select.candidates: expected one that can be tried, found none. {reasons}")
    ordered = transferability.ordered(tried)
    read = (select, settings.dtype, backend, [row.name for row in ordered], *plugins.code("transferability").values())
    address = digest("ranking", dataset, images, *read)
    ranking = RankingRef(address, ordered, len(rows))
    tracking.log_tag("headstart.backbone", ranking.chosen.name)
    tracking.log_drawn("ranking.csv", partial(report.write, report.candidates(ranking)))
    return ranking


def _tried(candidate: Sized, rows: pd.DataFrame, images: ImagesRef, settings: Extract, backend: str) -> RankedBackbone:
    """Scores and costs of one candidate, or why there are none."""
    started, name = time.perf_counter(), backbones.label(candidate)
    try:
        found = start(images, Extraction.plain(candidate, "avg", settings, backend))
        parameters = int(found.build().count_params())
    except HeadstartError as error:
        return RankedBackbone(name, candidate.network, skipped=str(error))
    if images.kept:
        datasets.prepare(images, rows)
    found.fill(images, {"train": ("identity",)}, name, rows)
    labels = datasets.labels(rows, images.dataset.classes)
    scores = transferability.evaluate(found.table.read(list(rows["key"])), labels)
    speed = round(engines.speed(found.engine, next(datasets.pixels(images, rows, PROBE))), 1)
    seconds = round(time.perf_counter() - started, 3)
    return RankedBackbone(name, candidate.network, scores, 0.0, parameters, speed, seconds, size=images.size)
