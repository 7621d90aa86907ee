"""Any data set of TensorFlow Datasets, and the builders of `tasks/data/sources/builders`.

The encoded images are written out once as files, so that a run without new data reads a table and loads no TensorFlow.
"""

from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.data.sources import SPLIT_NAMES
from tasks.records import digest
from tasks.runtime.errors import DataError
from tasks.runtime.home import home
from tasks.runtime.store import folders

EXTENSIONS = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"GIF8": ".gif", b"BM": ".bmp"}


def rows(*, name: str, data_dir: Path | None = None, splits: tuple[str, ...] = ()) -> pd.DataFrame:
    """One row per example; other scalar features become columns.

    `splits`: TFDS splits to read (default: all). Where there is only one, the recipe's own split is drawn.
    """
    folder = data_dir or home() / "tfds"
    address = digest(
        name, splits, _version(name), _on_disk(folder / name.split(":")[0].split("/")[0]) if data_dir else ""
    )
    table = f"store/sources/{address}/rows.parquet"
    if folders.missing([table]):
        with folders.folder("sources", address) as (working, _):
            _export(name, folder, splits, working)
    found = folders.frame(table)
    found["uri"] = [str(home() / table.replace("rows.parquet", uri)) for uri in found["uri"]]
    return found


def _export(name: str, data_dir: Path, splits: tuple[str, ...], to: Path) -> None:
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    if _builders(name).is_file():
        import_module(f"tasks.data.sources.builders.{name}")
    try:
        builder = tfds.builder(name, data_dir=data_dir)
        builder.download_and_prepare()
    except (tfds.core.DatasetNotFoundError, AssertionError, OSError, ValueError) as error:
        raise DataError(
            f"source.options.name: expected a data set that TFDS can prepare, found {name!r}: {error}"
        ) from None
    image, label = _columns(builder)
    wanted = splits or tuple(s for s in builder.info.splits if s in SPLIT_NAMES) or tuple(builder.info.splits)
    found = []
    for split in wanted:
        fixed = SPLIT_NAMES.get(split.split("[")[0]) if len(wanted) > 1 else None
        examples = builder.as_dataset(split=split, decoders={image: tfds.decode.SkipDecoding()}, shuffle_files=False)
        for number, example in enumerate(tfds.as_numpy(examples)):
            data = example[image]
            file = (
                Path(digest(split))
                / f"{number:07d}{next((e for m, e in EXTENSIONS.items() if data.startswith(m)), '')}"
            )
            (to / file).parent.mkdir(exist_ok=True)
            (to / file).write_bytes(data)
            extra = {k: _readable(builder.info.features[k], v) for k, v in example.items() if k not in (image, label)}
            text = str(_readable(builder.info.features[label], example[label]))
            found.append(extra | {"uri": str(file), "label": text, "group": None, "split": fixed})
    pd.DataFrame(found).to_parquet(to / "rows.parquet")


def _columns(builder: Any) -> tuple[str, str]:
    keys = builder.info.supervised_keys
    if keys and len(keys) == 2 and all(isinstance(key, str) for key in keys):
        return keys
    return "image", "label"


def _readable(feature: Any, value: Any) -> Any:
    if hasattr(feature, "int2str"):
        return feature.int2str(int(value))
    if getattr(value, "ndim", 0):
        return str(value.tolist())
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
