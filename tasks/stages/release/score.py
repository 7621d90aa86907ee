"""Score: a registered version's predictions for every image of a source, in a Parquet file."""

import time
from collections.abc import Container, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.data import sources, splits
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


@stage(
    version=4,
    reads=lambda source, name, version, settings: (sources.listing_digest(source), versions.seal(name, version)),
)
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
        engine = _engine(served, folder, seal, settings)
        started = time.perf_counter()
        rows, computed = _fill(table, sources.listing(source), served.spec, engine, settings.batch_size)
        seconds = time.perf_counter() - started
    address = digest("scores", seal, rows[["uri", "key", "error"]].to_csv(index=False))
    with folders.folder("scores", address) as (working, path):
        answers = _write(working / "scores.parquet", rows, table, served.spec, {"model": name, "version": version})
    return _summed(f"{path}/scores.parquet", address, rows, answers, served.spec, computed, seconds, name, version)


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
) -> tuple[pd.DataFrame, int]:
    """Compute and commit the missing answers; returns the rows with `key` and `error`, and how many were computed.

    A file is read once: its bytes give the key and the answer that is kept under it, whatever becomes of the file.
    """
    there = table.keys()
    readable = rows[rows["error"].isna()]
    read = pipeline.ahead(partial(_examined, images=spec.images, known=there), photos.fetched(readable["uri"]))
    files = progress.track(read, len(readable), "score")
    found: list[tuple[str | None, str | None]] = []
    computed = 0
    while len(found) < len(readable):
        keys: list[str] = []
        squares = _new(islice(files, COMMIT), there, found, keys)
        values = _answers(squares, engine, batch_size)
        if keys:
            table.append(keys, values)
        computed += len(keys)
    keyed = pd.DataFrame(found, index=readable.index, columns=["key", "error"]).reindex(rows.index)
    error = rows["error"].where(rows["error"].notna(), keyed["error"])
    return rows.assign(key=keyed["key"], error=error), computed


def _examined(
    file: tuple[str, str | None], images: dict[str, Any], known: Container[str]
) -> tuple[dict[str, Any], np.ndarray | None]:
    """The key of a file or why it cannot be read, and its square if its key is not known."""
    path, error = file
    return (facts.unread(error), None) if error else facts.square(path, known, **images)


def _new(
    files: Iterable[tuple[dict[str, Any], np.ndarray | None]],
    there: set[str],
    found: list[tuple[str | None, str | None]],
    keys: list[str],
) -> Iterator[np.ndarray]:
    """The squares that no answer is there for, each once; puts key and error of every file, and their keys, down."""
    for file, square in files:
        found.append((file["key"], file["error"]))
        if square is not None and file["key"] not in there:
            there.add(file["key"])
            keys.append(file["key"])
            yield square


def _answers(squares: Iterator[np.ndarray], engine: Engine, batch_size: int) -> np.ndarray:
    """The network's answers for squares, float32[n, width]."""
    batches = iter(lambda: list(islice(squares, batch_size)), [])
    found = list(engine.run(engines.ahead(map(np.stack, batches))))
    return np.concatenate(found) if found else np.empty((0, *engine.shape), np.float32)


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


def _effect(rows: pd.DataFrame, answers: pd.DataFrame) -> float:
    """By how much the groups of the source, and copies, enlarge the variance of counts of answers."""
    flags = pd.get_dummies(answers["label"]).assign(novel=answers["novel"].astype(bool))
    return drift.effect(flags.to_numpy(bool), splits.units(rows[rows["error"].isna()]))


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
    validation, now = min(sum(spec.said.values()), drift.LIMITED_BY), _effect(rows, answers)
    effect = now, spec.terms.get("effect", now)  # older versions do not say
    sentences, p = drift.of_answers(counts, spec.said, novel, spec.terms["false_alarms"], validation, effect)
    return ScoresRef(
        path=path,
        digest=address,
        model=name,
        version=version,
        images=len(answers),
        unreadable=int(rows["error"].notna().sum()),
        computed=computed,
        said=counts,
        abstained=None if spec.terms["sure_from"] is None else int(answers["abstain"].sum()),
        novel=novel,
        drift=sentences,
        p=p,
        seconds=round(seconds, 3),
    )
