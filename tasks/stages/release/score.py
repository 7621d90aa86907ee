"""Score: a registered version's predictions for every image of a source, in a Parquet file."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.data import datasets, sources
from tasks.data.images import facts, pipeline
from tasks.evaluation import drift
from tasks.networks import engines
from tasks.networks.backend import use
from tasks.networks.engines import Engine
from tasks.records import ScoresRef, digest
from tasks.runtime import progress
from tasks.runtime.errors import DataError
from tasks.runtime.home import home
from tasks.runtime.store import folders, photos
from tasks.runtime.store.tables import Table
from tasks.services.orchestration.stage import stage
from tasks.services.registry import verification, versions
from tasks.serving import calibrated, golden, package, pyfunc
from tasks.settings import Scoring, Source

if TYPE_CHECKING:
    import keras

    from tasks.serving.package import Served

#: Rows per commit, and per part of the written file.
COMMIT = 512
SCHEMA = pa.schema(
    {name: pa.string() for name in ("uri", "key", "error", "label")}
    | {"probability": pa.float64(), "probabilities": pa.list_(pa.float64()), "set": pa.list_(pa.string())}
    | {"abstain": pa.bool_(), "novelty": pa.float64(), "novel": pa.bool_()}
    | {name: pa.string() for name in ("model", "version")}
)


@stage(version=1, reads=lambda source, name, version, settings: sources.listing_digest(source))
def score(source: Source, name: str, version: str, settings: Scoring) -> ScoresRef:
    """Row per image: key, uri, error, label, probability, probabilities, set, abstain, novelty, novel, model, version.

    A version's answer for an image, whatever its file's name, is kept and not computed again; a killed run continues
    from its last commit. Raises `DataError` if the version's files have changed.
    """
    use("tensorflow")
    seal = versions.seal(name, version)
    with verification.opened(name, version, seal) as folder:
        served = package.read(verification.served(folder))
        width = len(served.spec.classes) + (calibrated.NOVELTY in served.network.output)
        table = Table(f"answers-{seal[:20]}", (width,), "float32")
        rows = _keyed(sources.listing(source), served.spec.images["max_pixels"])
        engine = _engine(served, folder, seal, settings)
        started = time.perf_counter()
        computed, errors = _fill(table, rows, served.spec, engine, settings.batch_size)
        seconds = time.perf_counter() - started
    rows["error"] = rows["error"].where(rows["error"].notna(), rows["key"].map(errors))
    address = digest("scores", seal, rows[["uri", "key", "error"]].to_csv(index=False))
    with folders.folder("scores", address) as (working, path):
        answers = _write(working / "scores.parquet", rows, table, served.spec, {"model": name, "version": version})
    return _summed(f"{path}/scores.parquet", address, rows, answers, served.spec, computed, seconds, name, version)


def _keyed(rows: pd.DataFrame, max_pixels: int) -> pd.DataFrame:
    """The rows with the key and format of each file; `error` says which files are clearly not images."""
    readable = rows[rows["error"].isna()]

    def head(file: tuple[str, str | None]) -> dict[str, Any]:
        path, error = file
        return facts.unread(error) if error else facts.head(path, max_pixels)

    read = pipeline.ahead(head, photos.fetched(readable["uri"]))
    found = pd.DataFrame(list(read), index=readable.index, columns=["key", "format", "error"]).reindex(rows.index)
    return rows.assign(
        key=found["key"], format=found["format"], error=rows["error"].where(rows["error"].notna(), found["error"])
    )


def _engine(served: "Served", folder: Path, seal: str, settings: Scoring) -> Engine:
    """The engine for the version's network, if it answers the golden images correctly; else TensorFlow."""
    kept = home() / "store" / "engines" / f"version-{seal[:20]}"

    def build() -> "keras.Model":
        return calibrated.joined(served.network)

    if served.of_graph and settings.engine == "auto":  # other engines may not read it
        return engines.own(build, kept)
    started = engines.start(settings.engine, build, kept, served.spec.images["size"])

    def answer(images: list[bytes]) -> np.ndarray:
        pixels = np.stack([served.decoder.decode(image).numpy() for image in images])
        return next(started.run([pixels]))[:, : len(served.spec.classes)]

    try:
        strayed, _ = golden.strayed(folder / verification.GOLDEN, answer)
    except Exception as error:  # third-party engines may raise anything
        strayed = [engines.one_line(error)]
    if strayed and settings.engine == "auto":
        return engines.own(build, kept)
    if strayed:
        raise DataError(f"Expected {settings.engine} to answer the golden images as the version does: {strayed[0]}.")
    return started


def _fill(
    table: Table, rows: pd.DataFrame, spec: package.Spec, engine: Engine, batch_size: int
) -> tuple[int, dict[str, str]]:
    """Compute and commit the missing rows; returns how many, and why images cannot be read, by their keys."""
    stored = table.keys()
    lacking = rows[rows["error"].isna() & ~rows["key"].isin(stored)].drop_duplicates("key")
    errors: dict[str, str] = {}
    computed = 0
    starts = range(0, len(lacking), COMMIT)
    for start in progress.counted(((at, min(COMMIT, len(lacking) - at)) for at in starts), len(lacking), "score"):
        part = lacking.iloc[start : start + COMMIT]
        try:
            values = _answers(part, spec, engine, batch_size)
        except DataError:
            # One of the files is truncated: find it.
            found = {
                row.key: _unreadable(path, spec)
                for row, path in zip(part.itertuples(), datasets.paths(part), strict=True)
            }
            errors |= {key: reason for key, reason in found.items() if reason}
            part = part[~part["key"].isin(errors)]
            values = _answers(part, spec, engine, batch_size)
        table.append(list(part["key"]), values)
        computed += len(part)
    return computed, errors


def _answers(part: pd.DataFrame, spec: package.Spec, engine: Engine, batch_size: int) -> np.ndarray:
    """The network's answers for files, float32[n, width]."""
    formats = set(part["format"])
    prepared = pipeline.prepared(datasets.paths(part), **spec.images, batch_size=batch_size, formats=formats)
    found = list(engine.run(engines.ahead(pixels for _, pixels in prepared)))
    return np.concatenate(found) if found else np.empty((0, *engine.shape), np.float32)


def _unreadable(uri: str, spec: package.Spec) -> str:
    """Why a file is not a readable image; "" if it is one."""
    try:
        pipeline.reader(**spec.images)([uri])
    except DataError as error:
        return str(error)
    return ""


def _write(to: Path, rows: pd.DataFrame, table: Table, spec: package.Spec, named: dict[str, str]) -> pd.DataFrame:
    """Write the file in parts, in the source's order; returns the columns of the answers that are summed up."""
    kept = []
    with pq.ParquetWriter(to, SCHEMA) as writer:
        for start in range(0, len(rows), COMMIT):
            part = rows.iloc[start : start + COMMIT]
            good = part[part["error"].isna()]
            values = table.read(list(good["key"])) if len(good) else np.empty((0, *table.shape), np.float32)
            probabilities, novelty = calibrated.parted(values, len(spec.classes))
            unknown = np.full(len(good), np.nan)
            answers = pyfunc.answers(probabilities, unknown if novelty is None else novelty, spec.classes, spec.terms)
            whole = part[["uri", "key", "error"]].join(answers.set_index(good.index)).assign(**named)
            writer.write_table(pa.Table.from_pandas(whole, SCHEMA, preserve_index=False))
            kept.append(answers[["label", "abstain", "novelty", "novel"]])
    return pd.concat(kept, ignore_index=True)


def _summed(  # each argument becomes fields of the record
    path: str,
    address: str,
    rows: pd.DataFrame,
    answers: pd.DataFrame,
    spec: package.Spec,
    computed: int,
    seconds: float,
    name: str,
    version: str,
) -> ScoresRef:
    counts = {label: int((answers["label"] == label).sum()) for label in spec.classes}
    novel = None if answers["novelty"].isna().all() else int(answers["novel"].sum())
    sentences, p = drift.of_answers(counts, spec.said, novel, spec.terms["false_alarms"])
    return ScoresRef(
        path=path,
        digest=address,
        model=name,
        version=version,
        images=len(answers),
        unreadable=int(rows["error"].notna().sum()),
        computed=computed,
        said=counts,
        abstained=int(answers["abstain"].sum()),
        novel=novel,
        drift=sentences,
        p=p,
        seconds=round(seconds, 3),
    )
