"""Export of a registered version as files for another runtime."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from tasks.data import datasets, splits
from tasks.data.images import pipeline, squares
from tasks.records import SPLITS
from tasks.runtime import plugins
from tasks.runtime.errors import DataError, UsageError
from tasks.runtime.store import folders
from tasks.services.registry import verification, versions
from tasks.serving import exports, int8

#: The largest numbers of training photos that show INT8 the range of the activations, of validation photos that it fits
#: the limit of novelty to, and of test photos that judge it.
CALIBRATE, LIMIT, JUDGE = 300, 1000, 5000
#: Photos per step.
BATCH = 32


def export(address: str, format: str, to: Path | None, margin: float | None = None) -> dict[str, Any]:
    """Write the version at `NAME@alias` or `NAME/version` to a new folder; returns what was written, and how exactly.

    The version's files are checked first, and the export must answer its golden images; else nothing is left.
    `margin`: write it in INT8, if its accuracy on the test photos, 0 to 1, is not lower by more than that. Nothing is
    chosen among versions and nothing is trained by that, so it does not count as a use of the test photos. Raises
    `UsageError` if the folder exists already, or the photos are gone, `DataError` if files or answers differ.
    """
    plugins.load("exports", format)
    if margin is not None:
        if format != "openvino":
            raise UsageError(f"--int8: expected --format openvino, found {format}.")
        int8.check()
    name, version = versions.resolve(address)
    to = (to or Path(f"{name}-{version}-{format}{'' if margin is None else '-int8'}")).absolute()
    if to.exists():
        raise UsageError(f"--to: expected a folder that does not exist yet, found {to}.")
    to.parent.mkdir(parents=True, exist_ok=True)
    seal = versions.seal(name, version)
    found: dict[str, Any] = {"model": name, "version": version, "format": format, "folder": str(to)}
    with (
        verification.opened(name, version, seal) as folder,
        TemporaryDirectory(dir=to.parent, prefix=".export-") as working,
    ):
        rows = None if margin is None else _rows(name, version)
        images = verification.golden_images(folder)
        expected = verification.answer(folder, images)
        facts = {"model": name, "version": version, "fingerprint": seal}
        files = Path(working, "files")
        files.mkdir()
        difference = exports.write(format, verification.served(folder), facts, images, expected, files)
        found["largest_difference"] = difference
        if margin is not None and rows is not None:
            found["int8"] = _in_int8(rows, files, facts, margin)
        files.rename(to)
    return found


def _in_int8(rows: pd.DataFrame, files: Path, facts: dict[str, Any], margin: float) -> dict[str, Any]:
    """Replace the exported float32 network by INT8, and write the figures down; returns them."""
    spec = json.loads((files / exports.SPEC).read_text(encoding="utf-8"))
    parts = [
        datasets.stratified(rows[rows["split"] == split], most)
        for split, most in zip(SPLITS, (CALIBRATE, LIMIT, JUDGE), strict=True)
    ]
    train, validation, test = (partial(_pixels, part, spec["images"]) for part in parts)
    judged = int8.Judged(test, datasets.labels(parts[2], tuple(spec["classes"])), splits.units(parts[2]))
    training, false_alarms = np.concatenate(list(train())), spec["terms"]["false_alarms"]
    figures = int8.replace(files, training, validation, judged, margin, false_alarms)
    (files / exports.SPEC).write_text(json.dumps(spec | {"int8": figures}, indent=1), encoding="utf-8")
    (files / int8.CARD).write_text(int8.card(facts, figures), encoding="utf-8")
    return figures


def _rows(name: str, version: str) -> pd.DataFrame:
    """The rows of the data set that a version was made from, with the photos' places."""
    path = f"store/datasets/{versions.version_of(name, version).tags.get('headstart.data', '-')}/images.parquet"
    if folders.missing([path]):
        raise _gone(f"no list of the photos that {name} version {version} was made from in this home folder")
    return folders.frame(path)


def _pixels(rows: pd.DataFrame, images: dict[str, Any]) -> Iterator[np.ndarray]:
    """Prepared photos, uint8[at most `BATCH`, side, side, 3] at a time: the kept squares, or read again."""
    table, keys = squares.table(images["size"], images["fit"]), list(rows["key"])
    if table.keys().issuperset(keys):
        yield from table.batches(keys, BATCH)
        return
    try:
        yield from (part for _, part in pipeline.prepared(datasets.paths(rows), **images, batch_size=BATCH, keys=keys))
    except (DataError, OSError) as error:
        raise _gone(str(error)) from error


def _gone(found: str) -> UsageError:
    return UsageError(
        f"--int8: expected the photos that the version was trained and tested on, found: {found} Export where it was "
        "trained, put the photos back, or train again."
    )
