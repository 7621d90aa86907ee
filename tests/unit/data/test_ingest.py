"""Splits that stay, facts that are read once."""

import helpers
import pandas as pd
import pytest

from tasks.data import fact_table, sources, splits
from tasks.data.images import facts
from tasks.settings import Images, Source, Split
from tasks.stages.data import ingest


def _rows(keys, group=None, split=None):
    return pd.DataFrame({"uri": keys, "key": keys, "group": group, "split": split}, dtype=object)


def test_shares_are_met_and_an_image_keeps_its_split_when_data_grows():
    keys = [f"key {i}" for i in range(4000)]
    drawn = splits.draw_split(_rows(keys), Split(test=0.25, validation=0.15))
    shares = drawn.value_counts(normalize=True)
    assert shares["test"] == pytest.approx(0.25, abs=0.03)
    assert shares["validation"] == pytest.approx(0.15, abs=0.03)
    fewer = splits.draw_split(_rows(keys[:50]), Split(test=0.25, validation=0.15))
    assert fewer.tolist() == drawn.tolist()[:50]
    assert drawn.tolist() != splits.draw_split(_rows(keys), Split(test=0.25, validation=0.15, salt="other")).tolist()


def test_copies_and_groups_stay_together():
    same = splits.draw_split(_rows(["a"] * 9), Split())
    assert same.nunique() == 1
    grouped = _rows([f"k{i}" for i in range(300)], group=[f"g{i % 30}" for i in range(300)])
    grouped["drawn"] = splits.draw_split(grouped, Split())
    assert grouped.groupby("group")["drawn"].nunique().max() == 1
    assert grouped["drawn"].nunique() == 3


def test_what_the_source_fixes_stays_and_what_it_lacks_comes_out_of_training():
    keys = [f"k{i}" for i in range(400)]
    fixed = _rows(keys, split=["train"] * 300 + ["test"] * 100)
    drawn = splits.draw_split(fixed, Split())
    assert (drawn[300:] == "test").all()
    assert set(drawn[:300]) == {"train", "validation"}
    whole = _rows(keys, split=["train"] * 300 + ["test"] * 50 + ["validation"] * 50)
    assert splits.draw_split(whole, Split()).tolist() == whole["split"].tolist()


def test_only_new_files_are_read(tmp_path, monkeypatch):
    helpers.photos(tmp_path, each=3)
    read = []
    original = facts.read
    monkeypatch.setattr(facts, "read", lambda path, limit: read.append(path) or original(path, limit))
    source = Source(kind="folder", options={"path": str(tmp_path)})
    first = fact_table.with_facts(sources.listing(source), 10**6)
    assert len(read) == len(first) == 9
    fact_table.with_facts(sources.listing(source), 10**6)
    assert len(read) == 9
    helpers.photo((5, 5, 5), 77).save(tmp_path / "red" / "new.png")
    second = fact_table.with_facts(sources.listing(source), 10**6)
    assert [helpers.Path(path).name for path in read[9:]] == ["new.png"]
    assert second["key"].nunique() == 10
    helpers.photo((6, 6, 6), 78).save(tmp_path / "red" / "new.png")
    third = fact_table.with_facts(sources.listing(source), 10**6)
    assert len(read) == 11
    assert set(third["key"]) != set(second["key"])


def test_facts_are_the_same_whether_they_were_just_read_or_remembered(tmp_path):
    helpers.photos(tmp_path, each=2)
    (tmp_path / "red" / "broken.png").write_bytes(b"x")
    source, split, images = Source(kind="folder", options={"path": str(tmp_path)}), Split(), Images()
    assert ingest.ingest.body(source, split, images) == ingest.ingest.body(source, split, images)
