"""A version taken along: in each format it answers as it did, and what does not is not kept."""

import hashlib
import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import helpers
import numpy as np
import pandas as pd
import pytest
import tiny_versions
from tiny_networks import calibration_of, classifier

from tasks.runtime import plugins
from tasks.runtime.errors import DataError
from tasks.runtime.store import folders
from tasks.services.registry import predict
from tasks.serving import exports, int8, package, pyfunc
from tasks.settings import Images

FACTS = {"model": "colours", "version": "1"}
CLASSES = ("blue", "green", "red")


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    """A served folder, files' bytes of several kinds and sizes, and what the version says of them."""
    folder = tmp_path_factory.mktemp("version")
    network = classifier()
    found, _ = calibration_of(network, folder)
    network.save(folder / "trained.keras")
    (folder / "served").mkdir()
    package.write(folder / "served", folder / "trained.keras", CLASSES, Images(size=32), found)
    images = [
        helpers.encoded(helpers.photo(colour, number, side), kind)
        for number, (colour, side, kind) in enumerate(
            zip(list(helpers.COLOURS.values()) * 2, (40, 64, 33, 50, 90, 32), ("PNG", "JPEG") * 3, strict=True)
        )
    ]
    model = pyfunc.Classifier()
    model.load_context(SimpleNamespace(artifacts={"classifier": str(folder / "served")}))
    return folder / "served", images, model.predict(None, pd.DataFrame({"image": images}))


@pytest.mark.parametrize("name", plugins.names("exports"))
def test_an_export_answers_as_the_version_and_says_what_it_takes(name, version, tmp_path):
    folder, images, said = version
    assert exports.write(name, folder, FACTS, images, said, tmp_path) <= exports.TOLERANCE
    spec = json.loads((tmp_path / "spec.json").read_text())
    assert (spec["format"], spec["model"], tuple(spec["classes"])) == (name, "colours", CLASSES)
    assert spec["input"].startswith(("pixels", "image"))
    assert spec["images"] == {"size": 32, "fit": "crop", "max_pixels": 100_000_000}
    assert spec["terms"]["set_thresholds"] == [0.35] * 3
    wrong = said.assign(novelty=said["novelty"] * 1.01 + 0.01)
    with pytest.raises(DataError, match=r"to within 0\.0001, found a difference of 1\.\de-02"):
        (again := tmp_path / "again").mkdir()
        exports.write(name, folder, FACTS, images, wrong, again)


def test_a_saved_model_says_all_that_the_version_says(version, tmp_path):
    import tensorflow as tf

    folder, images, said = version
    exports.write("saved_model", folder, FACTS, images, said, tmp_path)
    found = tf.saved_model.load(str(tmp_path / "saved_model")).signatures["serving_default"](image=tf.constant(images))
    assert [label.decode() for label in found["label"].numpy()] == said["label"].tolist()
    sets = [[name.decode() for name in row if name] for row in found["set"].numpy()]
    assert sets == said["set"].tolist()
    assert len({len(one) for one in sets}) > 1
    for name in ("abstain", "novel"):
        assert found[name].numpy().tolist() == said[name].tolist()
    assert said["abstain"].nunique() == 2
    np.testing.assert_allclose(found["probability"], said["probability"], atol=1e-6)


def test_the_version_says_how_far_it_can_be_believed(version):
    _, images, said = version
    assert list(said) == ["label", "probability", "probabilities", "set", "abstain", "novelty", "novel"]
    for row in said.itertuples():
        assert row.set[0] == row.label
        inside = {name for name, share in zip(CLASSES, row.probabilities, strict=True) if share >= 0.35}
        assert set(row.set) == inside | {row.label}
        assert row.abstain == (row.probability < 0.42)
        assert row.novel == (row.novelty > 1)
    assert len(said) == len(images)


def test_no_image_is_no_answer(version):
    folder, _, _ = version
    model = pyfunc.Classifier()
    model.load_context(SimpleNamespace(artifacts={"classifier": str(folder)}))
    assert model.predict(None, pd.DataFrame({"image": []})).empty


def test_bytes_that_are_no_image_are_refused(version):
    folder, _, _ = version
    model = pyfunc.Classifier()
    model.load_context(SimpleNamespace(artifacts={"classifier": str(folder)}))
    with pytest.raises(Exception, match="expected JPEG, PNG, GIF, BMP or WebP bytes"):
        model.predict(None, pd.DataFrame({"image": [b"no image that is as long as the head of one may be"]}))


def test_a_version_that_shows_no_sure_answers_does_not_say_when_it_abstains(version, tmp_path):
    import pyarrow as pa
    import tensorflow as tf

    from tasks.stages.release import score

    folder, images, _ = version
    silent = tmp_path / "silent"
    shutil.copytree(folder, silent)
    spec = json.loads((silent / package.SPEC).read_text())
    spec["terms"]["sure_from"] = None
    (silent / package.SPEC).write_text(json.dumps(spec))
    model = pyfunc.Classifier()
    model.load_context(SimpleNamespace(artifacts={"classifier": str(silent)}))
    said = model.predict(None, pd.DataFrame({"image": images}))
    assert json.loads(said.drop(columns="probabilities").to_json(orient="records"))[0]["abstain"] is None
    kept = pa.Table.from_pandas(said.assign(uri="", key="", error=None, model="m", version="1"), score.SCHEMA)
    assert kept["abstain"].null_count == len(images)
    exports.write("saved_model", silent, FACTS, images, said, tmp_path)
    found = tf.saved_model.load(str(tmp_path / "saved_model")).signatures["serving_default"](image=tf.constant(images))
    assert "abstain" not in found
    assert "novel" in found


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """75 photos of each of two colours that the tiny network tells apart."""
    folder = tmp_path_factory.mktemp("exported") / "photos"
    folder.mkdir()
    for number in range(75):
        for name, colour in (("dark", (240, 60, 5)), ("light", (235, 250, 190))):
            helpers.photo(colour, number).save(folder / f"{number} {name}.png")
    return folder


@pytest.fixture(scope="module")
def quantizable(server, photos):
    """A version with the list of the photos that it was made from; the labels are its own answers."""
    files = sorted(photos.glob("*.png"))
    tiny_versions.real("quantized", files[:4], data="photos")
    labels = [answer["label"] for answer in predict.answers("quantized/1", files)]
    assert set(labels) == {"blue", "green"}
    keys = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    rows = pd.DataFrame({"key": keys, "uri": [str(file) for file in files], "label": labels, "group": None})
    rows = rows.assign(format="PNG", split=["train", "validation", "test", "test", "test"] * 30)
    with folders.folder("datasets", "photos") as (working, _):
        rows.to_parquet(working / "images.parquet")
    return "quantized/1"


def test_int8_answers_about_as_the_version_and_says_what_it_costs(quantizable, photos, command, tmp_path, monkeypatch):
    # The features of a network that was not trained are almost the same for all photos: some are novel by a hair.
    monkeypatch.setattr(int8, "NOVEL_MARGIN", 0.5)
    done = command(
        "export", quantizable, "--format", "openvino", "--int8", "--margin", "0.05", "--to", str(tmp_path / "x")
    )
    assert done.code == 0, done.err
    assert "INT8 beside float32, on 90 test photos" in done.out
    spec = json.loads((tmp_path / "x" / "spec.json").read_text())
    found = spec["int8"]
    assert (found["training_photos"], found["photos"], spec["images"]["size"]) == (30, 90, 32)
    assert found["accuracy"]["float32"] == 1
    assert found["accuracy"]["low"] >= -0.05
    card = (tmp_path / "x" / "README.md").read_text()
    assert all(f"| {name} |" in card for name in ("accuracy", "log loss", "novel", "milliseconds", "megabytes"))
    assert {file.name for file in (tmp_path / "x").iterdir()} == {"model.xml", "model.bin", "spec.json", "README.md"}
    assert "FakeQuantize" in (tmp_path / "x" / "model.xml").read_text()
    files = sorted(photos.glob("*.png"))[:8]
    pixels = np.stack([np.array(helpers.Image.open(file).resize((32, 32))) for file in files]).astype(np.float32)
    answers = plugins.load("exports", "openvino").answer(tmp_path / "x", [], pixels)
    expected = [answer["probability"] for answer in predict.answers(quantizable, files)]
    np.testing.assert_allclose(answers["probabilities"].max(axis=1), expected, atol=0.1)


def test_int8_that_answers_worse_is_refused_and_nothing_is_kept(quantizable, command, tmp_path, monkeypatch):
    quantized = int8.quantized
    # Photos that show nothing of what the network will see.
    monkeypatch.setattr(int8, "quantized", lambda model, photos: quantized(model, np.zeros_like(photos)))
    done = command(
        "export", quantizable, "--format", "openvino", "--int8", "--margin", "0.05", "--to", str(tmp_path / "x")
    )
    assert done.code == 1
    assert "Expected INT8 to answer 90 test photos about as well as float32, found accuracy 0." in done.err
    assert "instead of 1.0000" in done.err
    assert list(tmp_path.iterdir()) == []


def test_int8_says_how_many_photos_would_tell_and_a_margin_widens_every_change():
    random = np.random.default_rng(0)
    labels, sure = np.arange(78) % 2, np.where(np.arange(78)[:, None] % 2 == [0, 1], 0.95, 0.05)
    novelty = np.where(random.random(78) < 0.08, 1.5, 0.5)
    answers = [{"probabilities": sure, "novelty": each} for each in (novelty, np.roll(novelty, 1))]  # as many, others
    judged = int8.Judged(lambda: iter(()), labels, np.arange(78))
    found = int8.compared(judged, *answers, int8.MARGIN)
    assert [each.margin for each in found.values()] == [0.02, 0.05, 0.05]
    with pytest.raises(DataError, match=r"novel .*About [\d,]+ test photos may tell"):
        int8.refuse(found, 78)
    int8.refuse(int8.compared(judged, *answers, 0.2), 78)


def test_int8_asks_for_openvino_for_nncf_and_for_the_photos(quantizable, photos, command, tmp_path, monkeypatch):
    words = ("--int8", "--to", str(tmp_path / "x"))
    done = command("export", quantizable, "--format", "onnx", *words)
    assert (done.code, "--int8: expected --format openvino, found onnx" in done.err) == (2, True)
    done = command("export", quantizable, "--format", "openvino", "--margin", "0.1")
    assert (done.code, "--margin: expected --int8 beside it" in done.err) == (2, True)
    tiny_versions.real("elsewhere", sorted(photos.glob("1*.png")))
    done = command("export", "elsewhere/1", "--format", "openvino", *words)
    assert (done.code, "no list of the photos that elsewhere version 1 was made from" in done.err) == (2, True)
    with monkeypatch.context() as patch:
        moved = photos.rename(photos.with_name("moved"))
        done = command("export", quantizable, "--format", "openvino", *words)
        moved.rename(photos)
        assert done.code == 2, done.err
        assert "put the photos back" in done.err
        patch.setitem(sys.modules, "nncf", None)
        done = command("export", quantizable, "--format", "openvino", *words)
        assert done.code == 3
        assert "pip install 'headstart[export]'" in done.err
    assert list(tmp_path.iterdir()) == []


def test_nncf_sends_nothing_about_its_use():
    # NNCF itself is silent inside pytest.
    code = (
        "from tasks.serving import int8; int8.check(); from nncf.telemetry.wrapper import telemetry; print(telemetry)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120)
    assert "MagicMock" in done.stdout, done.stderr
    assert done.stderr == ""
