"""Facts that are read once."""

from pathlib import Path

import helpers
import numpy as np

from tasks.data import sources
from tasks.data.files import fact_table
from tasks.data.images import facts, pipeline, squares
from tasks.runtime.store import folders
from tasks.settings import Images, Labels, Source
from tasks.stages.data import ingest

IMAGES = Images(size=32)


def test_only_new_files_are_read(tmp_path, monkeypatch):
    helpers.photos(tmp_path, each=3)
    read = []
    original = facts.read
    monkeypatch.setattr(facts, "read", lambda path, *limits: read.append(path) or original(path, *limits))
    source = Source(kind="folder", options={"path": str(tmp_path)})
    first = fact_table.with_facts(sources.listing(source), IMAGES)[0]
    assert len(read) == len(first) == 9
    fact_table.with_facts(sources.listing(source), IMAGES)
    assert len(read) == 9
    helpers.photo((5, 5, 5), 77).save(tmp_path / "red" / "new.png")
    second = fact_table.with_facts(sources.listing(source), IMAGES)[0]
    assert [helpers.Path(path).name for path in read[9:]] == ["new.png"]
    assert second["key"].nunique() == 10
    helpers.photo((6, 6, 6), 78).save(tmp_path / "red" / "new.png")
    third = fact_table.with_facts(sources.listing(source), IMAGES)[0]
    assert len(read) == 11
    assert set(third["key"]) != set(second["key"])


def test_facts_are_the_same_whether_they_were_just_read_or_remembered(tmp_path):
    helpers.photos(tmp_path, each=2)
    (tmp_path / "red" / "broken.png").write_bytes(b"x")
    source, images, labels = Source(kind="folder", options={"path": str(tmp_path)}), IMAGES, Labels()
    assert ingest.ingest.body(source, images, labels) == ingest.ingest.body(source, images, labels)


def test_a_photo_is_decoded_once_and_one_that_cannot_be_is_set_aside(tmp_path):
    folder = helpers.photos(tmp_path, each=3)
    broken = helpers.encoded(helpers.photo((9, 99, 9), 1), "PNG")
    # The check sum of the pixels: Pillow does not look at it, TensorFlow refuses the file.
    (folder / "red" / "check sum.png").write_bytes(broken[:-16] + bytes([broken[-16] ^ 255]) + broken[-15:])
    source = Source(kind="folder", options={"path": str(folder)})
    facts = ingest.ingest.body(source, IMAGES, Labels())
    assert (facts.images, facts.rejected, facts.computed) == (10, 1, 10)
    rows = folders.frame(facts.path)
    assert rows[rows["error"].notna()]["uri"].map(lambda uri: Path(uri).name).tolist() == ["check sum.png"]
    good = rows[rows["error"].isna()]
    stored = squares.table(IMAGES.size, IMAGES.fit)
    assert set(good["key"]) <= stored.keys()
    read = pipeline.reader(IMAGES.size, IMAGES.fit, IMAGES.max_pixels)
    np.testing.assert_array_equal(stored.read(list(good["key"])), read(list(good["uri"]), list(good["key"])))
    again = ingest.ingest.body(source, IMAGES.model_copy(update={"size": 40}), Labels())
    assert again.computed == 10  # another size is another decoding
    assert set(good["key"]) <= squares.table(40, IMAGES.fit).keys()
