"""Photos as a data set without the stages before, and engines that give the mean colour of each image."""

import hashlib

import helpers
import pandas as pd
import pytest

from tasks.features.extraction import Frozen
from tasks.networks.engines import Engine
from tasks.records import DatasetRef, ImagesRef
from tasks.runtime.home import home
from tasks.runtime.store.tables import Table

SIDE = 32


def key_of(file: helpers.Path) -> str:
    """A photo's key."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def images_of(folder: helpers.Path, name: str, kept: bool = False, side: int = SIDE) -> ImagesRef:
    """Photos as a data set that passed validation, without the stages before."""
    files = sorted(folder.rglob("*.png"))
    rows = pd.DataFrame({"key": [key_of(f) for f in files], "uri": [str(f) for f in files]})
    rows["label"], rows["split"] = [f.parent.name for f in files], ["train", "test"] * (len(files) // 2)
    rows["format"] = "PNG"
    (home() / "store").mkdir(exist_ok=True)
    rows.to_parquet(home() / "store" / f"{name}.parquet")
    dataset = DatasetRef(f"store/{name}.parquet", name, ("blue", "green", "red"), {}, 0, 0, 0, (), "")
    return ImagesRef(dataset, f"images-{name}", name, side, "crop", 10**6, kept, 0)


def means(seen: list[int] | None = None) -> Engine:
    """An engine that gives the mean colour of each image, and notes how many it has seen."""

    def run(batches):
        for batch in batches:
            if seen is not None:
                seen.append(len(batch))
            yield batch.mean((1, 2), dtype="float32")

    return Engine("means", (3,), run)


def frozen(engine: Engine, table: Table, batch_size: int = 5, crossing: Table | None = None) -> Frozen:
    """An engine with the table that it fills, as `extraction.start` gives them."""
    return Frozen(lambda: pytest.fail("built"), lambda: engine, batch_size, table, crossing)


VIEWS = {"train": ("identity", "flip_left_right"), "validation": (), "test": ("identity",)}
