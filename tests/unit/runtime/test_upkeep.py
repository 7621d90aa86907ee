"""What may be dropped of a home, and what is damaged in it."""

import os
import time

import numpy as np
import pytest
from trouble.damage import cut, flip

from tasks.runtime import home as folder
from tasks.runtime.errors import DependencyError
from tasks.runtime.store import checks, commits, folders, inventory, photos, upkeep, uses
from tasks.runtime.store.tables import Table

OLD = time.time() - 40 * 86400
VALUES = np.ones((8, 500), "float32")


def _table(name):
    table = Table(name, (500,), "float32")
    table.append(list("abcdefgh"), VALUES)
    table.mapped()
    return table


def _aged(path, at=OLD):
    os.utime(path, (at, at))
    return path


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A home with something of each kind, unused for 40 days."""
    monkeypatch.setenv("HEADSTART_HOME", str(tmp_path))
    monkeypatch.setenv("PREFECT_LOCAL_STORAGE_PATH", str(tmp_path / "prefect" / "results"))
    root = tmp_path / "store"
    for name in ("features-used", "features-orphan", "images-damaged"):
        _table(name)
    commits.set_aside(commits.uri("images-damaged"), "a test")
    # Of an older release.
    (root / "features-used.lance").mkdir()
    np.save(root / "mapped" / "features-used.2.npy", VALUES)
    for kind, name in (("reports", "old"), ("reports", "new"), ("datasets", "of a version"), ("datasets", "of none")):
        with folders.folder(kind, name) as (working, _):
            (working / "file").write_text(name)
    (root / "reports" / ".0123-killed").mkdir()
    for file in ("prefect/results/abc", "prefect/results/abc.crc32", "logs/old.log", "weights/.x.part"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("x")
    for path in (*root.glob("*"), *root.glob("*/*"), *tmp_path.glob("*/*"), *tmp_path.glob("prefect/results/*")):
        _aged(path)
    uses.touch(root / "reports" / "new")
    return root


def _pruned(delete=False, days=30.0):
    found = upkeep.prune({"features-used"}, {"of a version"}, days, delete)
    return {name for row in found for name in row["names"]}


def test_what_no_version_needs_and_nobody_has_used_goes(store):
    goes = {
        *("features-orphan", "features-used.lance", "images-damaged.2.damaged"),
        *("store/reports/old", "store/datasets/of none", "store/reports/.0123-killed"),
        *("prefect/results/abc", "logs/old.log", "weights/.x.part"),
        *("store/mapped/features-used.2.2.npy", "store/mapped/features-orphan.2.2.npy"),
        "store/mapped/features-used.2.npy",
    }
    assert _pruned() == goes
    assert _pruned(delete=True) == goes
    assert _pruned() == set()
    assert [table["table"] for table in inventory.tables()] == ["features-used"]
    assert {path.name for path in store.glob("*/*") if path.parent.name in ("reports", "datasets")} == {
        "new",
        "of a version",
    }
    assert not (store.parent / "prefect" / "results" / "abc.crc32").exists()
    np.testing.assert_array_equal(Table("features-used", (500,), "float32").read(["a"]), VALUES[:1])


def test_each_kind_says_what_it_holds(store):
    found = {row["kind"]: row for row in upkeep.prune({"features-used"}, {"of a version"}, 30, delete=False)}
    assert (found["stage folders"]["count"], found["stage folders"]["drop_count"]) == (4, 2)
    assert found["tables"]["bytes"] > found["tables"]["drop_bytes"] > 16_000
    assert not any(row["deleted"] for row in found.values())


def test_what_a_run_that_is_going_on_has_used_stays(store):
    with uses.running():
        Table("features-orphan", (500,), "float32").keys()
        folders.missing(["store/reports/old/file"])
        assert not {"features-orphan", "store/reports/old"} & _pruned(days=0)
    mark = store.parent / "running" / "killed"
    mark.write_text(f"{os.uname().nodename}/999999/1")
    assert {"features-orphan", "store/reports/old"} <= _pruned(days=0)


@pytest.mark.parametrize(
    ("text", "size"), [("20GB", 20e9), ("1.5 tb", 1.5e12), ("512MiB", 512 * 2**20), ("1000", 1000), ("", None)]
)
def test_limits_are_sizes(monkeypatch, text, size):
    monkeypatch.setenv("HEADSTART_STORE_LIMIT", text)
    assert folder.store_limit() == size


@pytest.mark.parametrize("text", ["lots", "20 GB free", "-1GB", "0", "GB"])
def test_other_limits_are_refused_at_once(tmp_path, monkeypatch, text):
    monkeypatch.setenv("HEADSTART_STORE_LIMIT", text)
    with pytest.raises(DependencyError, match="HEADSTART_STORE_LIMIT: expected a size such as 20GB"):
        folder.configure(tmp_path)


def test_tables_that_were_not_used_for_long_go_before_others(store, monkeypatch, said):
    size = upkeep._size()
    monkeypatch.setenv("HEADSTART_STORE_LIMIT", str(size))
    upkeep.within_limit()
    assert said() == ""
    _aged(commits.uri("features-used"), OLD + 10)
    free = sum(item.bytes for item in inventory.items() if item.kind in (inventory.ASIDE, inventory.FLAT))
    monkeypatch.setenv("HEADSTART_STORE_LIMIT", str(size - free - 1))
    upkeep.within_limit()
    assert "Dropped images-damaged.2.damaged, store/mapped/" in said()
    assert "npy, features-used.lance, features-orphan." in said()
    assert commits.exist(["features-used", "features-orphan"]) == [True, False]
    monkeypatch.setenv("HEADSTART_STORE_LIMIT", "1")
    with uses.running():
        Table("features-used", (500,), "float32").keys()
        upkeep.within_limit()
    assert commits.exist(["features-used"]) == [True]
    assert not (store / "reports" / "old").exists()
    assert (store / "datasets" / "of none").exists()
    assert "it still holds" in said()


def test_a_check_reads_everything_and_names_what_is_damaged(store, monkeypatch):
    monkeypatch.setattr(commits, "END", 0)
    assert list(checks.damaged()) == []
    data = next((store / "features-used.2.lance" / "data").iterdir())
    flip(data, VALUES.tobytes()[:400])
    flip(next((store / "mapped").glob("features-orphan*")), at=-9)
    cut(store / "reports" / "old" / "file")
    photos._write(photos._place("ab" * 32), b"not its bytes")
    found = list(checks.damaged())
    named = {(damage.kind, damage.name.rpartition("/")[2][:15]) for damage in found}
    assert named == {
        *(("tables", "features-used"), ("flat arrays", "features-orphan")),
        *(("stage folders", "old"), ("photos", ("ab" * 32)[:15])),
    }
    for damage in found:
        damage.set_aside()
    assert list(checks.damaged()) == []
    assert (store / "features-used.2.damaged").is_dir()
    assert (store / "reports" / "old.damaged").is_dir()
