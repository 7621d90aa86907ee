"""A version taken along: in each format it answers as it did, and what does not is not kept."""

import json
import shutil
from types import SimpleNamespace

import helpers
import numpy as np
import pandas as pd
import pytest
from tiny_networks import calibration_of, classifier

from tasks.runtime import plugins
from tasks.runtime.errors import DataError
from tasks.serving import exports, package, pyfunc
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
