"""Any data set of TensorFlow Datasets, and the builders of `tasks/data/sources/builders`.

The encoded images are written out once as files, so that a run without new data reads a table and loads no TensorFlow.
"""

import difflib
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tasks.data.sources import COMMON, NOTES, SPLIT_NAMES
from tasks.records import SPLITS, digest
from tasks.runtime.errors import DataError, DependencyError, UsageError
from tasks.runtime.home import home
from tasks.runtime.store import folders

#: How files begin, and the ends of their names.
EXTENSIONS = {
    b"\x89PNG": ".png",
    b"\xff\xd8\xff": ".jpg",
    b"GIF8": ".gif",
    b"BM": ".bmp",
    b"RIFF": ".webp",
    b"II*\0": ".tif",
    b"MM\0*": ".tif",
}
#: Kinds of features, as messages say them.
IMAGE, CLASS, TEXT, INTEGER, NUMBER = "an image", "a class", "text", "an integer", "a number"


@dataclass(frozen=True)
class _Columns:
    """The features that are a row's image, label, group and split."""

    image: str
    label: str
    group: str | None
    split: str | None


def rows(
    *,
    name: str,
    data_dir: Path | None = None,
    splits: tuple[str, ...] = (),
    image: str | None = None,
    label: str | None = None,
    group: str | None = None,
    split: str | None = None,
) -> pd.DataFrame:
    """One row per example; other features that are single values become columns.

    `splits`: TFDS splits to read (default: all). Where there is only one, the recipe's own split is drawn. `image`,
    `label`, `group` and `split` name features; image and label are found where only one can be meant.
    """
    folder = data_dir or home() / "tfds"
    named = {"image": image, "label": label, "group": group, "split": split}
    given = [sorted((key, value) for key, value in named.items() if value is not None)] if any(named.values()) else []
    address = digest(
        name, splits, _version(name), _on_disk(folder / name.split(":")[0].split("/")[0]) if data_dir else "", *given
    )
    table = f"store/sources/{address}/rows.parquet"
    if folders.missing([table]):
        with folders.folder("sources", address) as (working, _):
            found = _export(_prepared(name, folder), splits, named, working)
            found.to_parquet(working / "rows.parquet")
    found = folders.frame(table)
    found["uri"] = [str(home() / table.replace("rows.parquet", uri)) for uri in found["uri"]]
    return found


def _prepared(name: str, data_dir: Path) -> Any:
    """The builder of a data set that is on the disk."""
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    if _builders(name).is_file():
        import_module(f"tasks.data.sources.builders.{name}")
    try:
        builder = tfds.builder(name, data_dir=data_dir)
        builder.download_and_prepare()
    except tfds.core.DatasetNotFoundError:
        raise DataError(_unknown(name, tfds.list_builders(with_community_datasets=False))) from None
    except (AssertionError, OSError, ValueError) as error:
        why = " ".join(str(error).split())[:300]
        raise DataError(
            f"source.options.name: expected a data set that TFDS can prepare, found {name!r}: {why}"
        ) from None
    return builder


def _unknown(name: str, known: list[str]) -> str:
    """The message for a name that is none of TFDS' and of this project's own."""
    own = [file.stem for file in _builders("x").parent.glob("[!_]*.py")]
    close = difflib.get_close_matches(re.split("[/:]", name)[0], [*known, *own], 3)
    meant = f" Did you mean {' or '.join(close)}?" if close else ""
    return (
        f"source.options.name: expected a data set of TFDS, found {name!r}.{meant} All names: "
        "https://www.tensorflow.org/datasets/catalog/overview, or tensorflow_datasets.list_builders() in Python."
    )


def _export(builder: Any, splits: tuple[str, ...], named: dict[str, str | None], to: Path) -> pd.DataFrame:
    """The rows of the splits, with `uri` below the folder `to`, where the images are written."""
    features = builder.info.features
    columns = _columns(features, builder.info.supervised_keys, named)
    there = tuple(builder.info.splits)
    wanted = splits or tuple(s for s in there if s.casefold() in SPLIT_NAMES) or there
    _check_splits(builder.info.splits, wanted, to)
    kinds = {key: _kind(feature) for key, feature in features.items()}
    used = vars(columns).values()
    left_out = [key for key, kind in kinds.items() if key not in used and (kind in (IMAGE, "") or key in COMMON)]
    read = [key for key in kinds if key not in left_out]
    found: list[dict[str, Any]] = []
    unused = [] if splits else [split for split in there if split not in wanted]
    notes = [f"Splits of the data set that are not used: {', '.join(unused)}."] if unused else []
    notes += [f"Features of the data set that are not used: {', '.join(left_out)}."] if left_out else []
    for split in wanted:
        fixed = SPLIT_NAMES.get(split.split("[")[0].casefold()) if len(wanted) > 1 else None
        new = [
            _written(to, split, number, example[columns.image]) | {"split": fixed} | _values(features, example, columns)
            for number, example in enumerate(_examples(builder, split, read, columns.image))
        ]
        if new and all(row["label"] is None for row in new):
            notes.append(f"No example of the split {split} has a label: it is not used.")
            shutil.rmtree(to / digest(split))
            new = []
        found += new
    if not found:
        raise DataError(f"source.options.name: expected examples with a label, found none in {', '.join(wanted)}.")
    table = pd.DataFrame(found)
    ours = COMMON if table["error"].notna().any() else COMMON[:-1]  # in an order that the digests of old runs know
    table = table[[*(key for key in table if key not in COMMON), *ours]]
    table.attrs[NOTES] = notes
    return table


def _examples(builder: Any, split: str, read: list[str], image: str) -> Iterator[dict[str, Any]]:
    """The examples of a split in their order, the image as the bytes of its file."""
    import tensorflow_datasets as tfds

    # What is not read is not decoded either.
    decoders = tfds.decode.PartialDecoding(dict.fromkeys(read, True), {image: tfds.decode.SkipDecoding()})
    yield from tfds.as_numpy(builder.as_dataset(split=split, decoders=decoders, shuffle_files=False))


def _check_splits(known: Any, wanted: tuple[str, ...], to: Path) -> None:
    """Raise `UsageError` for a split that there is not, `DependencyError` where the disk is too small for all."""
    try:
        size = sum(known[split].num_bytes for split in wanted)
    except (KeyError, ValueError, AssertionError) as error:
        raise UsageError(
            f"source.options.splits: expected some of {', '.join(known)}, or parts such as train[:100], found "
            f"{', '.join(wanted)}: {str(error).strip()}"
        ) from None
    free = shutil.disk_usage(to).free
    if size > free:
        raise DependencyError(
            f"Expected {size / 1e9:.1f} GB for the images of this data set, found {free / 1e9:.1f} GB free. Read a "
            "part of it, such as source.options.splits = ['train[:10%]'], or name another home folder."
        )


def _columns(features: Any, supervised: Any, named: dict[str, str | None]) -> _Columns:
    """The features that the recipe names, else those that the data set does, else the only ones that can be meant."""
    kinds = {key: _kind(feature) for key, feature in features.items()}
    keys = supervised if supervised and len(supervised) == 2 else (None, None)
    shown = ", ".join(f"{key} ({kind or _class(features[key])})" for key, kind in kinds.items())

    def named_or(option: str, fits: tuple[str, ...], default: Any) -> str | None:
        chosen = named[option] or default
        if chosen is None:
            return None
        if not isinstance(chosen, str) or chosen not in kinds:
            raise UsageError(f"source.options.{option}: expected a feature, found {chosen!r}. There are: {shown}.")
        if kinds[chosen] not in fits:
            several = " Images with several labels each are not supported." if option == "label" else ""
            raise UsageError(
                f"source.options.{option}: expected a feature that is {' or '.join(fits)}, found {chosen} "
                f"({kinds[chosen] or _class(features[chosen])}).{several} There are: {shown}."
            )
        return chosen

    def only(kind: str, usual: str, given: Any) -> Any:
        if given is not None:
            return given
        found = [key for key, each in kinds.items() if each == kind]
        return found[0] if len(found) == 1 else usual if usual in kinds else None

    image = named_or("image", (IMAGE,), only(IMAGE, "image", keys[0]))
    label = named_or("label", (CLASS, TEXT, INTEGER), only(CLASS, "label", keys[1]))
    if image is None or label is None:
        missing = "image" if image is None else "label"
        raise UsageError(
            f"source.options.{missing}: expected a data set with one {missing} for each example, found no feature that "
            f"must be it. Name it if there is one: {shown}."
        )
    other = (CLASS, TEXT, INTEGER)
    return _Columns(image, label, named_or("group", other, None), named_or("split", other, None))


def _kind(feature: Any) -> str:
    """What an example holds of a feature; "" for what is nested, a list or an array."""
    import tensorflow_datasets as tfds

    if isinstance(feature, tfds.features.Image):
        return IMAGE
    if not isinstance(feature, tfds.features.Tensor) or feature.shape != ():
        return ""
    if isinstance(feature, tfds.features.ClassLabel):
        return CLASS
    if isinstance(feature, tfds.features.Text) or feature.np_dtype in (np.object_, np.str_, np.bytes_):
        return TEXT
    return INTEGER if np.issubdtype(feature.np_dtype, np.integer) or feature.np_dtype == np.bool_ else NUMBER


def _class(feature: Any) -> str:
    return type(feature).__name__


def _written(to: Path, split: str, number: int, data: Any) -> dict[str, Any]:
    """Write an image, once; its place below `to`, and the reason where there is none."""
    name = Path(digest(split)) / f"{number:07d}"
    (to / name).parent.mkdir(exist_ok=True)
    if not data:
        return {"uri": str(name), "error": "no image"}
    file = name.with_suffix(next((end for start, end in EXTENSIONS.items() if data.startswith(start)), ""))
    (to / file).write_bytes(data)
    return {"uri": str(file), "error": None}


def _values(features: Any, example: dict[str, Any], columns: _Columns) -> dict[str, Any]:
    """What a row holds beside its image."""
    values = {key: _readable(features[key], value) for key, value in example.items() if key != columns.image}
    label, group, split = (
        None if key is None or values[key] is None else str(values[key])
        for key in (columns.label, columns.group, columns.split)
    )
    extra = {key: value for key, value in values.items() if key not in vars(columns).values()}
    found = extra | {"label": label or None, "group": group or None}
    if split is None:
        return found
    if split.strip().casefold() not in SPLIT_NAMES:
        raise DataError(f"source.options.split: expected {', '.join(SPLITS)} in {columns.split}, found {split}.")
    return found | {"split": SPLIT_NAMES[split.strip().casefold()]}


def _readable(feature: Any, value: Any) -> Any:
    """A single value as Python's own; None for a class that is not known."""
    if hasattr(feature, "int2str"):
        return feature.int2str(int(value)) if value >= 0 else None  # TFDS says -1
    return value.decode(errors="replace") if isinstance(value, bytes) else getattr(value, "item", lambda: value)()


def _builders(name: str) -> Path:
    return Path(__file__).parent / "builders" / f"{name}.py"


def _version(name: str) -> list[str]:
    file = _builders(name)
    code = file.read_text() if file.is_file() else ""
    try:
        package = metadata.version(f"{name}-dataset") if code else ""
    except metadata.PackageNotFoundError:
        package = ""
    return [metadata.version("tensorflow-datasets"), code, package]


def _on_disk(folder: Path) -> list[tuple[str, int, int]]:
    files = sorted(f for f in folder.rglob("*") if f.is_file())
    return [(str(f.relative_to(folder)), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
