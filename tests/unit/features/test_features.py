"""Tables of features: filled once, whatever happens meanwhile."""

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import helpers
import numpy as np
import pytest
from tiny_features import SIDE, VIEWS, frozen, images_of, key_of, means

from tasks.data import datasets
from tasks.data.images.augment import view
from tasks.features import tables
from tasks.features.batches import Batches, jittered
from tasks.networks import backend
from tasks.networks.engines import Engine
from tasks.runtime.errors import DataError
from tasks.runtime.home import home
from tasks.runtime.store import folders
from tasks.runtime.store.tables import Table


def test_every_view_of_every_image_has_its_row_and_nothing_is_computed_twice(tmp_path):
    folder = helpers.photos(tmp_path, each=8)
    images, seen = images_of(folder, "filled"), []
    table = Table("features-filled", (3,), "float32")
    assert frozen(means(seen), table).fill(images, VIEWS, "x") == 12 * 2 + 12
    assert sum(seen) == 36
    assert frozen(means(seen), table).fill(images, VIEWS, "x") == 0
    more = {**VIEWS, "test": ("identity", "rotate_180")}
    assert frozen(means(seen), table).fill(images, more, "x") == 12
    assert sum(seen) == 48
    assert len(table.keys()) == 48
    pixels = datasets.pixel_reader(images, folders.frame(images.dataset.path))(np.arange(24))
    for position in (0, 7):
        key = key_of(sorted(folder.rglob("*.png"))[position])
        for name in ("identity", "flip_left_right") if position % 2 == 0 else ("identity", "rotate_180"):
            expected = view(pixels[position], name).mean((0, 1), dtype="float32")
            np.testing.assert_allclose(table.read([tables.row_key(key, name)])[0], expected, rtol=1e-6)


def test_one_pass_fills_a_second_table_with_the_rest_of_each_output(tmp_path):
    images = images_of(helpers.photos(tmp_path, each=8), "beside")
    table, rest = Table("features-first", (3,), "float32"), Table("activations-rest", (2,), "float16")

    def run(batches):
        for batch in batches:
            found = batch.mean((1, 2), dtype="float32")
            yield np.concatenate([found, found[:, :2] / 2], axis=1)

    both = frozen(Engine("both", (5,), run), table, crossing=rest)
    first, crossing = VIEWS | {"train": ("identity",)}, frozen(means(), rest)
    assert crossing.lacks(images, first)
    assert both.fill(images, first, "x") == 24
    # No test image's: nothing is trained on them.
    assert not crossing.lacks(images, first | {"test": ()})
    train = sorted(rest.keys())
    assert train == sorted(datasets.rows(images.dataset, "train")["key"])
    np.testing.assert_allclose(rest.read(train), table.read(train)[:, :2] / 2, rtol=1e-3)
    # Rows that the first table has are not computed for the second.
    assert frozen(means(), table).fill(images, VIEWS, "x") == 12
    assert both.fill(images, VIEWS, "x") == 0
    assert crossing.lacks(images, VIEWS | {"test": ()})


@pytest.mark.parametrize(("factor", "found"), [(1000, r"up to \d{5}"), (np.nan, "up to nan")])
def test_outputs_that_cannot_be_stored_are_refused(tmp_path, factor, found):
    images = images_of(helpers.photos(tmp_path, each=8), f"refused {factor}")
    table = Table(f"features-refused-{factor}", (3,), "float16")

    def run(batches):
        for batch in batches:
            yield batch.mean((1, 2), dtype="float32") * factor

    with pytest.raises(DataError, match=f"expected finite numbers in float16, found {found}.* for image [0-9a-f]+"):
        frozen(Engine("large", (3,), run), table).fill(images, VIEWS, "x")
    assert not table.keys()


def test_kept_and_decoded_images_give_the_same_rows(tmp_path):
    from tasks.data.images import pipeline

    folder = helpers.photos(tmp_path, each=4)
    found = {}
    for kept in (False, True):
        images = images_of(folder, f"kept {kept}".lower(), kept)
        rows = datasets.rows(images.dataset)
        if kept:
            for positions, pixels in pipeline.prepared(list(rows["uri"]), SIDE, "crop", 10**6):
                datasets.pixel_table(images).append([rows["key"][i] for i in positions], pixels)
        table = Table(f"features-kept-{kept}", (3,), "float32")
        frozen(means(), table).fill(images, VIEWS, "x")
        found[kept] = table.read(list(rows["key"]))
    np.testing.assert_array_equal(found[False], found[True])


def test_half_precision_takes_half_the_space_and_rounds(tmp_path):
    images = images_of(helpers.photos(tmp_path, each=8), "half")
    values = {}
    for dtype in ("float16", "float32"):
        table = Table(f"features-{dtype}", (3,), dtype)
        frozen(means(), table).fill(images, VIEWS, "x")
        keys = sorted(table.keys())
        values[dtype] = table.read(keys)
    assert values["float16"].dtype == np.float16
    np.testing.assert_allclose(values["float16"], values["float32"], rtol=1e-3)


def test_new_images_cost_what_they_are_and_other_names_nothing(tmp_path):
    from tasks import settings
    from tasks.stages.data.preprocess import preprocess
    from tasks.stages.features.extract import extract

    augment, how = settings.Images(size=SIDE), settings.Extract()
    backbone = settings.Backbone(weights="random")

    def cost(folder, pick=slice(None), backbone=backbone):
        ref = images_of(folder, "grown")
        rows = folders.frame(ref.dataset.path)
        keys = {file.name: key for key, file in zip(rows["key"], map(Path, rows["uri"]), strict=True)}
        assert len(keys) == len(rows)
        rows[pick].to_parquet(home() / ref.dataset.path)
        images = preprocess.body(replace(ref.dataset, digest=f"{folder} {pick} {backbone}"), augment)
        wanted = settings.Extraction(
            backbone=backbone, extract=how, views=augment.views, backend="tensorflow", refit=False
        )
        return images.computed, extract.body(images, wanted).computed

    photos = helpers.photos(tmp_path / "photos", each=8)
    assert cost(photos, slice(0, 20)) == (20, 20 + 10)
    assert cost(photos) == (4, 4 + 2)
    assert cost(photos.rename(tmp_path / "elsewhere")) == (0, 0)
    assert cost(tmp_path / "elsewhere", backbone=settings.Backbone(weights="random", pooling="avg_max_std")) == (0, 36)


KILLED = """
import sys, time
sys.path.insert(0, sys.argv[4])
import tiny_features as t
from pathlib import Path
def run(batches):
    for batch in batches:
        time.sleep(0.05)
        with open(sys.argv[3], "a") as log:
            log.write("".join(f"{float(image.mean()):.6f}\\n" for image in batch))
        yield batch.mean((1, 2), dtype="float32")
from tasks.features import tables
from tasks.networks.engines import Engine
from tasks.runtime.store.tables import Table
tables.COMMIT = 6
images = t.images_of(Path(sys.argv[1]), sys.argv[2])
table = Table(f"features-{sys.argv[2]}", (3,), "float32")
print("ready", flush=True)
t.frozen(Engine("slow", (3,), run), table, 3).fill(images, t.VIEWS, "x")
"""


def test_a_killed_extraction_loses_no_committed_row_and_repeats_none(tmp_path):
    folder, name, log = helpers.photos(tmp_path / "photos", each=20), "killed", tmp_path / "log"
    command = [sys.executable, "-c", KILLED, str(folder), name, str(log), str(helpers.HERE)]
    random, table = np.random.default_rng(0), Table(f"features-{name}", (3,), "float32")
    committed, before = set(), 0
    for _ in range(4):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
            assert worker.stdout.readline() == "ready\n"
            time.sleep(random.uniform(0.2, 0.7))
            worker.kill()
        now = table.keys()
        assert committed <= now
        seen = log.read_text().splitlines() if log.exists() else []
        # What one try computed beyond what it committed is at most a commit and what was under way.
        assert len(seen) - before <= len(now - committed) + 6 + 3
        committed, before = now, len(seen)
    assert subprocess.run(command, capture_output=True).returncode == 0
    assert len(table.keys()) == 30 * 2 + 30
    whole = Table("features-undisturbed", (3,), "float32")
    frozen(means(), whole, 3).fill(images_of(folder, name), VIEWS, "x")
    keys = sorted(whole.keys())
    assert table.read(keys).tobytes() == whole.read(keys).tobytes()


@pytest.fixture(scope="module")
def network():
    """A small network with two blocks, saved as the head stage saves it."""
    import keras

    from tasks.networks import classifiers, pooling
    from tasks.networks.cutting import Backbone
    from tasks.runtime import plugins

    backend.seed(0)
    pixels = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(pixels)
    for number in range(2):
        x = keras.layers.Conv2D(8, 3, 2, activation="relu", name=f"block_{number}")(x)
    backbone = Backbone(keras.Model(pixels, x), ("block_0", "block_1"))
    pooled = pooling.pooled(backbone, "avg")
    return classifiers.classifier(pooled, plugins.entry("heads", "linear")(pooled.output_shape[1:], 3))


def test_a_cached_trunk_trains_as_a_live_one_does(tmp_path, network):
    import keras

    from tasks import settings
    from tasks.networks import backend
    from tasks.training import fine_tuning, fit

    images = images_of(helpers.photos(tmp_path, each=12), "trunk")
    rows = folders.frame(images.dataset.path)
    rows["split"] = ["train", "validation"] * (len(rows) // 2)
    rows.to_parquet(home() / images.dataset.path)
    views, how = ("identity", "flip_left_right"), settings.Extract(engine=backend.current())
    tuned = {}
    for trunk_kind in ("cached", "live"):
        model = keras.models.clone_model(network)
        model.set_weights(network.get_weights())
        choice = settings.FineTune(trunk=trunk_kind, blocks=1, epochs=3, batch_size=8)
        wanted = settings.NetworkTraining(tuning=choice, loss=settings.Loss(), extract=how, views=views, seed=0)
        part = fine_tuning.part_above_cut(model, ("block_0", "block_1"), wanted, images)
        fit.seed_everything(0)
        plan = fit.plan(choice, 1e-2, settings.Loss(), 0)
        tuned[trunk_kind] = fit.fit(part.model, part.train, part.validation, plan)
    for kind in ("loss", "validation_loss"):
        np.testing.assert_allclose(getattr(tuned["cached"], kind), getattr(tuned["live"], kind), atol=1e-3)
    assert tuned["live"].loss[-1] < tuned["live"].loss[0]


def test_jitter_shows_other_pixels_each_time_and_needs_a_live_trunk():
    from tasks import settings

    pixels = np.full((4, 8, 8, 3), 100, "float32")
    batches = jittered(Batches(lambda at: pixels[at], np.zeros(4, int)), ("identity",), 0.2, seed=0)
    first, second = batches.read(np.arange(4)), batches.read(np.arange(4))
    assert not np.array_equal(first, second)
    assert 70 < first.min() < first.max() < 130
    with pytest.raises(ValueError, match="live"):
        settings.FineTune(jitter=0.1)
