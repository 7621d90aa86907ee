"""Damaged files of the store are noticed, set aside, and never used."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from trouble.damage import cut, flip

from tasks.runtime.errors import Lost
from tasks.runtime.store import commits, folders, photos
from tasks.runtime.store.tables import Rows, Table
from tasks.training.heads import head_search

KEYS = list("abcdef")
VALUES = np.random.default_rng(0).normal(0, 1, (6, 40)).astype("float32")


@pytest.fixture(params=[commits.END, 256])
def table(request, tmp_path, monkeypatch):
    """A table of which the ends that are looked at are all there is, and one of which they are less."""
    monkeypatch.setattr(commits, "END", request.param)
    monkeypatch.setenv("HEADSTART_HOME", str(tmp_path))
    made = Table("features-x", (40,), "float32")
    made.append(KEYS[:4], VALUES[:4])
    made.append(KEYS[4:], VALUES[4:])
    return made


def _data(table):
    return max(Path(table.uri, "data").iterdir(), key=lambda file: file.stat().st_size)


def _newest(table):
    return min(Path(table.uri, "_versions").glob("*.manifest"))


def _reads(table):
    return table.read(KEYS)


def _maps(table):
    return table.mapped_reader(KEYS)(np.arange(6))


@pytest.mark.parametrize("read", [_reads, _maps])
@pytest.mark.parametrize(
    "harm",
    [
        lambda table: cut(_data(table)),
        lambda table: flip(_data(table), VALUES[0].tobytes()[:8]),
        # The end of the file: Lance would ask for 68 GB, and the process would be gone.
        lambda table: flip(_data(table), at=-13),
        lambda table: _data(table).unlink(),
        lambda table: cut(_newest(table)),
        lambda table: flip(_newest(table)),
    ],
)
def test_a_damaged_table_is_set_aside_and_its_rows_are_lost(table, harm, read, said):
    read(table)
    for flat in Path(table.uri).parent.glob("mapped/*"):
        flat.unlink()
    harm(table)
    with pytest.raises(Lost, match="features-x"):
        read(table)
    assert "The table features-x.2.lance is damaged" in said()
    assert Path(table.uri).with_name("features-x.2.damaged").is_dir()
    assert table.keys() == set()
    table.append(KEYS, VALUES)
    np.testing.assert_array_equal(read(table), VALUES)


def test_no_flipped_byte_gives_other_values_wherever_it_is(table):
    for file in (_data(table), _newest(table)):
        whole = file.read_bytes()
        for at in range(3, len(whole), 97):
            flip(file, at=at)
            try:
                found = _reads(table)
            except Lost:
                Path(table.uri).with_name("features-x.2.damaged").rename(table.uri)
            else:
                np.testing.assert_array_equal(found, VALUES)
            file.write_bytes(whole)


@pytest.mark.parametrize("harm", [cut, lambda file: flip(file, at=-5), lambda file: flip(file, at=20)])
def test_a_damaged_flat_array_is_written_again_from_its_table(table, harm, said):
    _maps(table)
    (flat,) = Path(table.uri).parent.glob("mapped/*.npy")
    harm(flat)
    np.testing.assert_array_equal(_maps(table), VALUES)
    assert "is written again from its table" in said()
    np.testing.assert_array_equal(np.load(flat), VALUES)


def test_a_table_of_another_schema_is_not_met(table, said):
    other = Table("features-x", (20,), "float32")
    assert other.keys() == set()
    assert "it has other columns" in said()
    other.append(["a"], VALUES[:1, :20])
    np.testing.assert_array_equal(other.read(["a"]), VALUES[:1, :20])


FACTS = pa.schema({"uri": pa.string(), "width": pa.int64(), "sharpness": pa.float64()})
FOUND = pd.DataFrame({"uri": ["photo one", None], "width": [12, None], "sharpness": [0.25, None]})


def test_damaged_facts_are_read_anew(table, said):
    rows = Rows("facts-x", FACTS)
    rows.append(FOUND)
    rows.append(FOUND[:1])
    assert rows.read()["uri"].fillna("").tolist() == ["photo one", "", "photo one"]
    flip(_data(rows), b"photo one")
    assert rows.read().empty
    assert "damaged" in said()
    rows.append(FOUND)
    assert len(rows.read()) == 2


def test_facts_of_another_schema_are_not_met(table):
    rows = Rows("facts-x", FACTS)
    rows.append(FOUND)
    assert Rows("facts-x", FACTS.append(pa.field("height", pa.int64()))).read().empty
    assert len(rows.read()) == 2


def test_an_error_of_the_machine_is_no_damage(table, monkeypatch):
    import lance

    def full(*args, **options):
        raise OSError("LanceError(IO): Too many open files (os error 24)")

    monkeypatch.setattr(lance, "dataset", full)
    with pytest.raises(OSError, match="open files"):
        table.keys()
    assert commits.exist(["features-x"]) == [True]


@pytest.mark.parametrize("harm", [cut, flip, Path.unlink])
def test_a_damaged_folder_is_set_aside(tmp_path, monkeypatch, said, harm):
    monkeypatch.setenv("HEADSTART_HOME", str(tmp_path))
    with folders.folder("reports", "abc") as (working, path):
        (working / "scores.json").write_text('{"accuracy": 0.875}')
        (working / "deep").mkdir()
        (working / "deep" / "figure.png").write_bytes(b"pixels")
    named = f"{path}/scores.json"
    assert folders.missing([named]) == []
    harm(tmp_path / path / "deep" / "figure.png")
    assert folders.missing([named]) == [named]
    assert "The folder store/reports/abc is damaged: deep/figure.png " in said()
    assert (tmp_path / f"{path}.damaged" / "scores.json").is_file()
    with folders.folder("reports", "abc") as (working, _):
        (working / "scores.json").write_text('{"accuracy": 0.875}')
    assert folders.missing([named]) == []


def test_a_folder_of_an_older_release_gets_its_checksums_when_it_is_used(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTART_HOME", str(tmp_path))
    file = tmp_path / "store" / "models" / "abc" / "network.keras"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"weights")
    assert folders.missing(["store/models/abc/network.keras"]) == []
    flip(file)
    assert folders.missing(["store/models/abc/network.keras"]) == ["store/models/abc/network.keras"]


def test_a_damaged_copy_of_a_photo_is_fetched_again(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTART_HOME", str(tmp_path))
    asked = []
    monkeypatch.setattr(photos.remote, "read", lambda uri, limit, etag: (asked.append(etag), (b"a photo", "1"))[1])
    uri, key = "s3://pets/1.jpg", hashlib.sha256(b"a photo").hexdigest()
    ((first, _),) = photos.fetched([uri])
    assert photos.paths([uri], [key]) == [first]
    flip(Path(first))
    assert photos.paths([uri], [key]) == [first]
    assert Path(first).read_bytes() == b"a photo"
    for note in tmp_path.glob("store/photos/from/*/*"):
        cut(note)
    assert list(photos.fetched([uri])) == [(first, None)]
    assert asked == ["", "", ""]


def test_a_damaged_search_starts_again(tmp_path, said):
    file = tmp_path / "tune.db"
    head_search.opened(file, "x")
    file.write_bytes(b"no database" * 1000)
    assert head_search.opened(file, "x").trials == []
    assert "tune.db is damaged" in said()
    assert (tmp_path / "tune.db.damaged").exists()
