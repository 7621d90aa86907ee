"""Facts that are read once."""

import helpers

from tasks.data import sources
from tasks.data.files import fact_table
from tasks.data.images import facts
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
