"""Facts of files, fixed views, and the pipeline from files to squares."""

import hashlib
import os
import threading
from pathlib import Path

import helpers
import numpy as np
import pytest
from helpers import encoded
from PIL import Image

from tasks.data.images import augment, facts, pipeline
from tasks.data.images.decode import preparer
from tasks.runtime import processes
from tasks.runtime.errors import DataError
from tasks.runtime.store import photos


def _facts(tmp_path, data: bytes, limit: int = 10**6):
    (tmp_path / "file").write_bytes(data)
    return facts.read(str(tmp_path / "file"), 64, limit)[0]


def test_facts_of_a_photo(tmp_path):
    found = _facts(tmp_path, encoded(Image.new("RGB", (30, 20), (255, 255, 255)), "PNG"))
    assert (found["width"], found["height"], found["channels"], found["format"]) == (30, 20, 3, "PNG")
    assert found["brightness"] == 1
    assert found["contrast"] == 0
    assert found["sharpness"] == 0
    assert found["error"] is None
    noisy = _facts(tmp_path, encoded(helpers.photo((100, 100, 100), 1), "PNG"))
    assert noisy["sharpness"] > 100
    assert noisy["key"] != found["key"]


def test_16_bit_and_transparent_photos_have_facts(tmp_path):
    half = Image.fromarray(np.full((20, 20), 32768, "uint16"))
    assert _facts(tmp_path, encoded(half, "PNG"))["brightness"] == pytest.approx(0.5, abs=0.01)
    assert _facts(tmp_path, encoded(Image.new("RGBA", (20, 20)), "PNG"))["error"] is None
    assert _facts(tmp_path, encoded(Image.new("CMYK", (20, 20)), "JPEG"))["error"] is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"this is text", "unknown format"),
        (encoded(Image.new("RGB", (90, 90)), "PNG")[:60], "not a readable image"),
        (encoded(helpers.photo((9, 99, 9), 1), "JPEG")[:700], "truncated"),
        (encoded(Image.new("RGB", (90, 90)), "TIFF"), "TIFF"),
        (encoded(Image.new("1", (90, 90)), "BMP"), "1 bit"),
        (
            encoded(Image.new("L", (9, 9)), "WEBP", save_all=True, append_images=[Image.new("L", (9, 9), 255)]),
            "animated",
        ),
        (encoded(Image.new("L", (2000, 2000)), "PNG"), "max_pixels"),
    ],
)
def test_a_bad_file_has_a_reason_and_raises_nothing(tmp_path, data, reason):
    assert reason in _facts(tmp_path, data)["error"]


@pytest.mark.parametrize("kind", ["pipe", "device", "circle"])
def test_what_is_no_file_has_a_reason_and_is_not_waited_for(tmp_path, kind):
    path = tmp_path / "photo.png"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to({"device": "/dev/zero", "circle": path}[kind])
    assert facts.read(str(path), 64, 10)[0]["error"].startswith("cannot be opened: ")
    assert facts.square(str(path), set(), 32, "pad", 10)[0]["error"].startswith("cannot be opened: ")
    with pytest.raises(OSError, match=r"no file|symbolic links"):
        photos.content(str(path), "")


def test_a_missing_file_has_a_reason(tmp_path):
    assert "cannot be opened" in facts.read(str(tmp_path / "nothing"), 64, 10)[0]["error"]


def test_views_are_permutations_of_the_pixels_and_differ():
    image = np.arange(4 * 4 * 3, dtype="uint8").reshape(4, 4, 3)
    seen = {name: augment.view(image, name) for name in augment.VIEWS}
    for name, view in seen.items():
        # A crop shows some of them, enlarged.
        assert name.startswith("crop") or sorted(view.ravel()) == sorted(image.ravel())
    assert len({view.tobytes() for view in seen.values()}) == len(seen)
    np.testing.assert_array_equal(seen["identity"], image)


@pytest.fixture(params=["threads", "tf.data"])
def way(request, monkeypatch):
    monkeypatch.setattr(pipeline, "MOST_CORES", 10**6 if request.param == "threads" else 0)
    monkeypatch.setattr(processes.shutil, "which", lambda name: None)


def test_the_pipeline_keeps_the_order_and_names_the_culprit(tmp_path, way):
    folder = helpers.photos(tmp_path, each=3)
    paths = [str(path) for path in sorted(folder.rglob("*.png"))]
    batches = list(pipeline.prepared(paths, 32, "squash", 10**6, batch_size=4, formats={"PNG"}))
    assert [i for positions, _ in batches for i in positions] == list(range(9))
    graph = preparer(32, "squash", 10**6)
    one_by_one = np.stack([graph(Path(path).read_bytes()) for path in paths])
    np.testing.assert_array_equal(np.concatenate([pixels for _, pixels in batches]), one_by_one)
    (folder / "red" / "red 1.png").write_bytes(b"gone bad since")
    with pytest.raises(DataError, match=r"red 1\.png"):
        list(pipeline.prepared(paths, 32, "squash", 10**6, formats={"PNG"}))
    (folder / "red" / "red 1.png").unlink()
    with pytest.raises(DataError, match=r"red 1\.png"):
        list(pipeline.prepared(paths, 32, "squash", 10**6, formats={"PNG"}))


def test_a_photo_that_was_overwritten_since_its_key_was_computed_is_no_picture_of_that_key(tmp_path, way):
    folder = helpers.photos(tmp_path, each=2)
    paths = [str(path) for path in sorted(folder.rglob("*.png"))]
    keys = [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in paths]
    given = {"batch_size": 4, "formats": {"PNG"}, "keys": keys}
    assert sum(len(pixels) for _, pixels in pipeline.prepared(paths, 32, "squash", 10**6, **given)) == 6
    helpers.photo((1, 2, 3), 4).save(paths[4])
    with pytest.raises(DataError, match=rf"{Path(paths[4]).name} as it was: it has changed"):
        list(pipeline.prepared(paths, 32, "squash", 10**6, **given))


def test_a_pipeline_that_is_left_early_ends(tmp_path, way):
    folder = helpers.photos(tmp_path, each=20)
    batches = pipeline.prepared([str(path) for path in folder.rglob("*.png")], 32, "squash", 10**6, 2, {"PNG"})
    assert next(batches)[1].shape == (2, 32, 32, 3)
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def test_no_rows_are_no_squares():
    assert pipeline.reader(32, "crop", 10**6)([], []).shape == (0, 32, 32, 3)
