"""Audit: problems in the data that would distort the verdict: copies of one photo, wrong labels, shortcuts."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd

from tasks.data import datasets, splits
from tasks.data.audits import classes, duplicates, labels, shortcuts, views
from tasks.features import tables
from tasks.records import AuditRef, DuplicatePair, FeaturesRef, ImagesRef, LabelSuspect, Shortcut, digest
from tasks.reports.sections import audits as report
from tasks.runtime import escapes
from tasks.runtime.home import home
from tasks.runtime.store import folders
from tasks.services import tracking
from tasks.services.orchestration.stage import stage
from tasks.settings import Audit

#: Pairs and suspects that the record holds and the pictures show.
PAIRS, SUSPECTS = 8, 16
BATCH = 128


@stage(version=5)
def audit(images: ImagesRef, features: FeaturesRef, settings: Audit, name: str, seed: int) -> AuditRef:
    """Two tables, two pictures and numbers; nothing is changed. `name`: the recipe's, to correct labels later."""
    address = digest("audit", images, features, settings, name, seed)
    if not settings.enabled:
        return AuditRef(address, notes=("Not audited: audit.enabled is false.",))
    rows, seconds = datasets.rows(images.dataset), dict[str, float]()
    vectors = tables.summaries(features, rows)
    read = datasets.pixel_reader(images, rows)
    with folders.folder("audits", address) as (working, path), _one_thread():
        with _timed(seconds, "duplicates"):
            pairs, shown = _duplicates(images, rows, vectors, settings)
            escapes.write_csv(pairs, working / "duplicates.csv")
            across = _across(pairs)
            report.draw_pairs(read(shown), across.head(PAIRS), working / "duplicates.png")
        with _timed(seconds, "labels"):
            judged = _judged(images, rows, vectors, seed, name)
            escapes.write_csv(judged.drop(columns="position"), working / "label_suspects.csv")
            first = judged.head(SUSPECTS)
            report.draw_suspects(read(first["position"].to_numpy(int)), first, working / "label_suspects.png")
        with _timed(seconds, "shortcuts"):
            found = _shortcuts(images, rows, settings, seed)
    tracking.log_files(home() / path)
    return AuditRef(
        digest=address,
        path=path,
        pairs=tuple(_pair(row) for row in across.head(PAIRS).to_dict("records")),
        suspects=tuple(_suspect(row) for row in first.to_dict("records")),
        shortcuts=found,
        duplicates=len(across),
        within=len(pairs) - len(across),
        same_pixels=int((across["change"] == duplicates.SAME).sum()),
        conflicting=int((across["copy_label"] != across["original_label"]).sum()),
        copied=_copied(across),
        judged=splits.counts(judged["split"]),
        suspected=splits.counts(judged.loc[judged["suspect"] == "yes", "split"]),
        notes=tuple(_notes(images, rows, settings)),
        seconds=seconds,
    )


def _duplicates(
    images: ImagesRef, rows: pd.DataFrame, vectors: np.ndarray, settings: Audit
) -> tuple[pd.DataFrame, np.ndarray]:
    """All pairs, and the positions of the images of the first PAIRS across splits, pair by pair."""
    chosen = datasets.stratified(rows, settings.images)
    places = np.flatnonzero(rows["key"].isin(chosen["key"]))
    greys = np.concatenate([views.grey(batch) for batch in datasets.pixels(images, chosen, BATCH)])
    read = datasets.pixel_reader(images, chosen)
    parts, hashes = chosen["split"].to_numpy(str), list(chosen["phash"])
    found = duplicates.find(greys, vectors[places], hashes, parts, settings.similarity, read)
    across = [copy for copy in found if parts[copy.copy] != parts[copy.original]]
    first = [position for copy in across[:PAIRS] for position in (copy.copy, copy.original)]
    return _table(found, chosen), places[np.array(first, int)]


def _across(pairs: pd.DataFrame) -> pd.DataFrame:
    """The pairs whose images are in different splits."""
    return pairs[pairs["copy_split"] != pairs["original_split"]]


def _table(found: list[duplicates.Copy], rows: pd.DataFrame) -> pd.DataFrame:
    """One row per pair; images connected by pairs have the same `group`, which a manifest can use."""
    sides = {"copy": [copy.copy for copy in found], "original": [copy.original for copy in found]}
    columns = {
        f"{side}_{name}": rows[name].to_numpy(object)[np.array(positions, int)]
        for side, positions in sides.items()
        for name in ("uri", "split", "label", "key")
    }
    measured = {name: [getattr(copy, name) for copy in found] for name in ("change", "similarity", "cosine", "bits")}
    return pd.DataFrame(columns | measured | {"group": duplicates.groups(found, len(rows))})


def _judged(images: ImagesRef, rows: pd.DataFrame, vectors: np.ndarray, seed: int, name: str) -> pd.DataFrame:
    """One row per judged label, the most suspicious first, with an empty column for the correction."""
    known = images.dataset.classes
    found = labels.rank(rows, vectors, datasets.labels(rows, known), seed)
    table = rows.iloc[found["position"]].reset_index(drop=True)[["key", "uri", "split", "label"]]
    return table.assign(
        suggested=[known[at] for at in found["suggested"]],
        score=found["score"].to_numpy(float),
        suspect=np.where(found["suspect"].to_numpy(bool), "yes", "no"),
        corrected="",
        recipe=name,
        dataset=images.dataset.digest,
        position=found["position"].to_numpy(int),
    )


def _shortcuts(images: ImagesRef, rows: pd.DataFrame, settings: Audit, seed: int) -> tuple[Shortcut, ...]:
    train = rows[rows["split"] == "train"].reset_index(drop=True)
    found = shortcuts.check(train, datasets.labels(train, images.dataset.classes), seed)
    least = settings.shortcut_margin
    return tuple(
        Shortcut(each.facts, each.score, (each.low, each.high), each.chance, each.low > each.chance + least)
        for each in found
    )


def _pair(row: dict[str, str]) -> DuplicatePair:
    uris, parts, of = ((row[f"copy_{name}"], row[f"original_{name}"]) for name in ("uri", "split", "label"))
    return DuplicatePair(
        uris, parts, of, row["change"], float(row["similarity"]), float(row["cosine"]), int(row["bits"])
    )


def _suspect(row: dict[str, str]) -> LabelSuspect:
    key, uri, split, label, suggested = (row[name] for name in ("key", "uri", "split", "label", "suggested"))
    return LabelSuspect(key, uri, split, label, suggested, float(row["score"]))


def _copied(pairs: pd.DataFrame) -> dict[str, int]:
    """How many images of each split have a copy in another."""
    sides = [
        pairs[[f"{side}_split", f"{side}_key"]].set_axis(["split", "key"], axis=1) for side in ("copy", "original")
    ]
    return splits.counts(pd.concat(sides).drop_duplicates()["split"])


def _notes(images: ImagesRef, rows: pd.DataFrame, settings: Audit) -> Iterator[str]:
    """What could not be checked, one sentence each."""
    if len(rows) > settings.images:
        yield f"Near-duplicates were searched among {settings.images} of {len(rows)} images (audit.images)."
    of = datasets.labels(rows, images.dataset.classes)
    for parts, what in ((splits.STEERED, "label suspects"), (splits.STEERED[:1], "shortcuts")):
        part = rows["split"].isin(parts).to_numpy()
        known = classes.large(rows[part], of[part])
        small = [name for at, name in enumerate(images.dataset.classes) if at not in known]
        if small:
            rest = "nothing was checked" if len(known) < 2 else "they were left out"
            yield f"Classes with too few images for {what} (fewer than {classes.LEAST}): {', '.join(small)}; {rest}."


@contextmanager
def _timed(seconds: dict[str, float], part: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[part] = round(time.perf_counter() - started, 3)


def _one_thread() -> Any:
    """The matrix products are small: more threads in each would mostly wait for each other."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, "blas")
