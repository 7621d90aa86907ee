"""The benchmarks. Each returns rows for a table; `part` runs a piece of code in a process of its own."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tasks.runtime.store.tables import Table
from tests.support import helpers

ROOT = Path(__file__).parent.parent.parent
#: How often the ways of extraction are run, one after the other: machines are not equally fast at all times.
ROUNDS = 3

#: What every part begins with: the environment, the photos as rows, and the backbone of the default recipe.
PRELUDE = """
import json, os, resource, sys, time
from pathlib import Path
from tasks.runtime.home import configure
configure()
import numpy as np, pandas as pd
from tasks import settings
from tasks.data import datasets, sources
from tasks.data.files import fact_table
from tasks.features import extraction, tables
from tasks.networks import backbones, classifiers, cutting, engines, pooling
from tasks.records import DatasetRef, ImagesRef
from tasks.runtime.home import home
from tasks.runtime.store.tables import Table
def tell(**values): print(json.dumps(values))
def elpv(copies=1):
    source = settings.Source(kind="tfds", options={"name": "elpv"})
    rows, _ = fact_table.with_facts(sources.listing(source), settings.Images(keep=False))
    rows["split"] = "test"
    many = [rows.assign(key=rows["key"] + f"-{n}") for n in range(copies)]
    return pd.concat(many, ignore_index=True)
def dataset(rows, name):
    rows.to_parquet(home() / "store" / f"{name}.parquet")
    return DatasetRef(f"store/{name}.parquet", name, ("defective", "functional"), {}, 0, 0, 0, (), "")
def images(rows, name, kept=False):
    return ImagesRef(dataset(rows, name), f"images-{name}", name, 224, "crop", 10**8, kept, 0)
def engine(name="auto"):
    build = lambda: pooling.pooled(backbones.load(settings.Backbone(), 224), "avg")
    return engines.start(name, build, home() / "store" / "engines" / "bench", 224)
def fill(table, ref, views, run): return extraction.Frozen(None, lambda: run, 32, table).fill(ref, views, "x")
def as_files(rows, folder):
    for row in rows.itertuples():
        target = folder / row.label / Path(row.uri).name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(Path(row.uri).read_bytes())
VIEWS = {"test": ("identity",)}
"""
#: TensorFlow as who does not use this project has it, which on some processors leaves oneDNN off.
PLAIN = {"TF_ENABLE_ONEDNN_OPTS": ""}


def part(code: str, **env: str) -> dict[str, Any]:
    """Run code after the prelude in a new process; it answers with `tell(…)`."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + code], capture_output=True, text=True, cwd=ROOT, env=os.environ | env
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    return json.loads(done.stdout.strip().splitlines()[-1])


def extraction() -> list[dict[str, Any]]:
    """Images a second of Lite0 at 224 pixels with average pooling, imports and building left out: medians of rounds."""
    ways: dict[str, Callable[[], dict[str, Any]]] = {
        "ours, files to committed rows, decoding overlaps": streamed,
        "ours, prepared images kept, then extracted": lambda: part(
            """
import tensorflow
run, ref = engine(), images(elpv(), f"kept-{os.getpid()}", True)
table = Table(f"features-kept-{os.getpid()}", run.shape, "float32")
start = time.perf_counter()
datasets.prepare(ref, datasets.rows(ref.dataset))
count = fill(table, ref, VIEWS, run)
tell(images=count, seconds=time.perf_counter() - start, engine=run.name)"""
        ),
        "bare engine on ready tensors": lambda: part(
            """
run = engine()
pixels = np.random.default_rng(0).integers(0, 256, (2624, 224, 224, 3), "uint8")
start = time.perf_counter()
count = sum(len(out) for out in run.run(iter(np.split(pixels, 82))))
tell(images=count, seconds=time.perf_counter() - start, engine=run.name)"""
        ),
        "keras.Model.predict over image_dataset_from_directory": lambda: part(
            """
import keras
folder = home() / "photos"
as_files(elpv(), folder)
model = pooling.pooled(backbones.load(settings.Backbone(), 224), "avg")
data = keras.utils.image_dataset_from_directory(folder, image_size=(224, 224), batch_size=32, shuffle=False)
start = time.perf_counter()
count = len(model.predict(data, verbose=0))
tell(images=count, seconds=time.perf_counter() - start, engine="keras")""",
            **PLAIN,
        ),
    }
    rounds = [{name: run() for name, run in ways.items()} for _ in range(ROUNDS)]
    rates = {name: [found[name]["images"] / found[name]["seconds"] for found in rounds] for name in ways}
    medians = {name: statistics.median(rate) for name, rate in rates.items()}
    _, _, bare, keras = medians.values()
    return [
        {
            "what": name,
            "engine": rounds[0][name]["engine"],
            "images/s": rate,
            "rounds": ", ".join(f"{each:.0f}" for each in rates[name]),
            "of bare": rate / bare,
            "of Keras": rate / keras,
        }
        for name, rate in medians.items()
    ]


def streamed(**env: str) -> dict[str, Any]:
    """Seconds of ELPV's files to committed features of Lite0 at 224 pixels, imports and building left out."""
    part("elpv(); engine(); tell(ready=True)", **env)
    return part(
        """
import tensorflow
run, ref = engine(), images(elpv(), "stream")
table = Table(f"features-stream-{os.getpid()}", run.shape, "float32")
start = time.perf_counter()
count = fill(table, ref, VIEWS, run)
tell(images=count, seconds=time.perf_counter() - start, engine=run.name)""",
        **env,
    )


def train() -> list[dict[str, Any]]:
    """Seconds of each stage of `headstart train` on ELPV as a folder: cold, after 1 % new images, with nothing new."""
    photos = Path(part("elpv(); tell(folder=str(home()))")["folder"]) / "as-folder"
    later = part(
        f"""
rows = elpv().sort_values("key")
as_files(rows[26:], Path({str(photos)!r}))
as_files(rows[:26], Path({str(photos) + " later"!r}))
tell(later={str(photos) + " later"!r})"""
    )["later"]
    recipe = photos.with_suffix(".toml")
    source = f'[source]\nkind = "folder"\noptions = {{ path = "{photos}" }}'
    recipe.write_text(f'name = "cells"\n{source}\n[images]\nviews = ["identity", "flip_left_right"]\n')
    fresh = {"HEADSTART_HOME": str(photos.with_name("fresh"))}
    runs = {"cold": _train(recipe, fresh)}
    shutil.copytree(later, photos, dirs_exist_ok=True)
    runs["1 % new images"] = _train(recipe, fresh)
    runs["nothing new"] = _train(recipe, fresh)
    with _prefect_server(photos.with_name("server")) as address:
        runs["nothing new, Prefect server running"] = _train(recipe, fresh | {"PREFECT_API_URL": address})
    stages = [*runs["cold"]["stages"], "whole command"]
    return [
        {"stage": stage} | {run: found["stages"].get(stage, found)["seconds"] for run, found in runs.items()}
        for stage in stages
    ]


def _train(recipe: Path, env: dict[str, str]) -> dict[str, Any]:
    command = [str(Path(sys.executable).with_name("headstart")), "train", str(recipe), "--json"]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | env)
    if not done.stdout.strip():
        raise RuntimeError(done.stderr[-3000:])
    return json.loads(done.stdout.strip().splitlines()[-1]) | {"seconds": time.perf_counter() - start}


@contextmanager
def _prefect_server(folder: Path) -> Iterator[str]:
    """A Prefect server of its own, on a free port."""
    port = helpers.free_port()
    command = [str(Path(sys.executable).with_name("prefect")), "server", "start", "--port", str(port)]
    quiet = {"PREFECT_HOME": str(folder), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | quiet)
    try:
        address = f"http://127.0.0.1:{port}/api"
        helpers.answer(f"{address}/health")
        yield address
    finally:
        server.terminate()
        server.wait()


EPOCHS = """
import keras
from tasks.features.batches import train_and_validation
from tasks.networks import freezing
from tasks.runtime import plugins
from tasks.training import fine_tuning, fit
rows = elpv()[:1280].assign(split=["train"] * 1024 + ["validation"] * 256)
ref = images(rows, "epochs", True)
datasets.prepare(ref, datasets.rows(ref.dataset))
backbone = backbones.load(settings.Backbone(), 224)
pooled = pooling.pooled(backbone, "avg")
head = plugins.entry("heads", "linear")(pooled.output_shape[1:], 2)
network = classifiers.classifier(pooled, head)
boundary = backbone.blocks[-6]
def tune(trunk):
    tuned = settings.FineTune(trunk=trunk)
    parts = dict(tuning=tuned, loss=settings.Loss(), extract=settings.Extract(), views=("identity",), seed=0)
    wanted = settings.NetworkTraining(**parts)
    part = fine_tuning.part_above_cut(network, backbone.blocks, wanted, ref)
    fit.fit(part.model, part.train, part.validation, plan, epoch); result()
plan = fit.Plan(epochs=EPOCHS, patience=99, learning_rate=3e-4, weight_decay=0.01, batch_size=64, seed=0)
fit.seed_everything(0)
ends = []
def epoch(n, logs=None): ends.append(time.perf_counter())
def result(): tell(epoch=min(b - a for a, b in zip(ends, ends[1:])))
def plain(trainable):
    folder = home() / "epochs-photos"
    for split, part in rows.groupby("split"): as_files(part, folder / split)
    read = lambda split: keras.utils.image_dataset_from_directory(folder / split, image_size=(224, 224), batch_size=64)
    freezing.freeze(network)
    for layer in network.layers if trainable else [network.get_layer("head")]:
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    if trainable:
        for layer in cutting.cut(network, boundary)[0].layers: layer.trainable = False
    model = classifiers.to_logits(network)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(3e-4), loss)
    end = keras.callbacks.LambdaCallback(on_epoch_end=epoch)
    model.fit(read("train"), validation_data=read("validation"), epochs=EPOCHS, callbacks=[end], verbose=0)
    result()
"""


def fine_tune() -> list[dict[str, Any]]:
    """Seconds of the fastest epoch after the first: 1,024 images to train on, 256 to validate; the last five blocks."""
    part("elpv(); tell(ready=True)")
    code = {
        "head, cached features": (
            20,
            """
table = Table("features-epochs", (1280,), "float32")
fill(table, ref, {"train": ("identity",), "validation": ("identity",)}, engine())
train, validation = (each.in_memory() for each in train_and_validation(ref, ("identity",), table))
fit.fit(head, train, validation, plan, epoch); result()""",
        ),
        "head, plain Keras": (2, "plain(False)"),
        "last 5 blocks, cached trunk": (5, "tune('cached')"),
        "last 5 blocks, live trunk": (3, "tune('live')"),
        "last 5 blocks, plain Keras": (3, "plain(True)"),
    }
    seconds = {
        name: part(EPOCHS.replace("EPOCHS", str(n)) + code, **(PLAIN if "plain" in name else {}))["epoch"]
        for name, (n, code) in code.items()
    }
    return [
        {
            "what": name,
            "seconds an epoch": value,
            "times faster than plain Keras": seconds[f"{name.split(',')[0]}, plain Keras"] / value,
        }
        for name, value in seconds.items()
    ]


def memory() -> list[dict[str, Any]]:
    """Peak memory of preprocess and extract, in one process each."""
    part("elpv(); engine(); tell(ready=True)")
    rows = []
    for count in (2_000, 20_000):
        code = f"""
import tensorflow
run, ref = engine(), images(elpv(8)[:{count}], "many-{count}", True)
datasets.prepare(ref, datasets.rows(ref.dataset))
fill(Table("features-many-{count}", run.shape, "float32"), ref, VIEWS, run)
tell(peak=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"""
        rows.append({"images": count, "peak MiB": part(code)["peak"]})
    return [row | {"of the first": row["peak MiB"] / rows[0]["peak MiB"]} for row in rows]


def tables() -> list[dict[str, Any]]:
    """100,000 rows of 1,280 float16, and a million keys, in our tables and in NumPy's files."""
    found = part(
        """
def seconds(function, *args):
    start = time.perf_counter(); function(*args); return time.perf_counter() - start
values = np.random.default_rng(0).normal(size=(100_000, 1280)).astype("float16")
keys, file = [f"{n:064x}" for n in range(100_000)], home() / "values.npy"
table, many = Table("features-speed", (1280,), "float16"), Table("features-million", (4,), "float16")
million = [f"{n:064x}" for n in range(1_000_000)]
many.append(million, np.zeros((1_000_000, 4), "float16"))
wanted = [million[i] for i in np.random.default_rng(1).permutation(1_000_000)]
frame = pd.DataFrame({"key": million, "row": range(1_000_000)})
def append():
    for start in range(0, 100_000, tables.COMMIT):
        part = slice(start, start + tables.COMMIT)
        table.append(keys[part], values[part])
tell(rows=[
    ["append 100,000 rows, 512 a commit", seconds(append), seconds(np.save, file, values)],
    ["read all", seconds(table.read, keys), seconds(np.load, file)],
    ["write the flat file", seconds(table.mapped), seconds(np.save, file, values)],
    ["sum all, mapped", seconds(lambda: table.mapped()[1].sum()), seconds(lambda: np.load(file, "r").sum())],
    ["join 1,000,000 keys", seconds(many.reader, wanted), seconds(lambda: pd.DataFrame({"key": wanted}).merge(frame))],
])"""
    )
    return [{"what": what, "store s": ours, "NumPy or pandas s": theirs} for what, ours, theirs in found["rows"]]


EXTRACTION = """
import tensorflow
run, ref, log = engine(), images(elpv(4), "killed"), home() / "computed"
table = Table("features-killed", run.shape, "float32")
outputs = extraction._outputs
def logged(*args):
    for keys, values in outputs(*args):
        with log.open("a") as file: file.write("".join(f"{key}\\n" for key in keys))
        yield keys, values
extraction._outputs = logged
print("ready", flush=True)
fill(table, ref, VIEWS, run)
tell(done=True)"""


def kill() -> list[dict[str, Any]]:
    """SIGKILL at random moments of an extraction, then a run to the end against a run left in peace."""
    part("elpv(); engine(); tell(ready=True)")
    home = Path(os.environ["HEADSTART_HOME"])
    log, random, twice, killed = home / "computed", np.random.default_rng(0), 0, 0
    table = Table("features-killed", (1280,), "float32")
    while killed < 20:
        committed = table.keys()
        log.unlink(missing_ok=True)
        worker = subprocess.Popen(
            [sys.executable, "-c", PRELUDE + EXTRACTION],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
        )
        assert worker.stdout is not None
        while worker.stdout.readline() != "ready\n":
            continue
        time.sleep(random.uniform(0, 8))
        worker.kill()
        worker.wait()
        killed += 1
        twice += len(committed & set(log.read_text().splitlines() if log.exists() else []))
    before, committed = len(table.keys()), table.keys()
    log.unlink(missing_ok=True)
    part(EXTRACTION)
    twice += len(committed & set(log.read_text().splitlines()))
    part(EXTRACTION.replace("features-killed", "features-peace"))
    keys = sorted(table.keys())
    same = table.read(keys).tobytes() == Table("features-peace", (1280,), "float32").read(keys).tobytes()
    return [
        {
            "kills": killed,
            "rows before the last run": before,
            "rows": len(keys),
            "same bits": same,
            "committed rows computed again": twice,
        }
    ]
