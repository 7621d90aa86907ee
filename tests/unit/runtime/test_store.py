"""Tables by key and folders by digest."""

import shutil
import subprocess
import sys
import time
from pathlib import Path
from urllib import request

import helpers
import numpy as np
import pytest

from tasks.runtime.errors import DependencyError
from tasks.runtime.store import commits, folders, inventory, tables
from tasks.runtime.store.tables import Table


def test_rows_come_back_in_the_order_asked_for():
    table = Table("order", (2, 3), "float32")
    assert table.keys() == set()
    values = np.arange(30, dtype="float32").reshape(5, 2, 3)
    table.append(list("abc"), values[:3])
    table.append(list("de"), values[3:])
    assert table.keys() == set("abcde")
    np.testing.assert_array_equal(table.read(list("eac")), values[[4, 0, 2]])
    assert [len(batch) for batch in table.batches(list("edcba"), 2)] == [2, 2, 1]
    assert table.read([]).shape == (0, 2, 3)


def test_missing_tables_and_rows_are_named():
    with pytest.raises(DependencyError, match=r"found none\. Run the same command again"):
        Table("absent", (1,), "float32").read(["a"])
    table = Table("one", (1,), "float32")
    table.append(["a"], np.zeros((1, 1), "float32"))
    with pytest.raises(DependencyError, match="none for 2 of them"):
        table.read(["a", "b", "c"])


def test_rows_of_another_shape_or_type_are_refused():
    table = Table("typed", (2,), "float32")
    for wrong in (np.zeros((1, 3), "float32"), np.zeros((1, 2), "float64"), np.zeros((2, 2), "float32")):
        with pytest.raises(ValueError, match="typed: expected float32"):
            table.append(["a"], wrong)


def test_a_key_that_two_writers_committed_has_one_value():
    table = Table("twice", (1,), "float32")
    for value in (1, 2):
        table.append(["a"], np.full((1, 1), value, "float32"))
    assert table.read(["a", "a"]).ravel().tolist() == [1, 1]


WRITER = """
import sys, time
import numpy as np
from tasks.runtime.store.tables import Table
writer, start = int(sys.argv[1]), float(sys.argv[2])
for number in range(8):
    # All writers begin each table at the same moment.
    time.sleep(max(0, start + number / 4 - time.time()))
    for i in range(4):
        Table(f"many {number}", (4,), "float32").append([f"{writer}-{i}"], np.full((1, 4), writer, "float32"))
"""


def test_several_processes_that_begin_a_table_at_once_lose_no_row(home):
    start = str(time.time() + 4)
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(writer), start]) for writer in range(4)]
    assert [writer.wait(120) for writer in writers] == [0] * 4
    for number in range(8):
        table = Table(f"many {number}", (4,), "float32")
        assert table.keys() == {f"{writer}-{i}" for writer in range(4) for i in range(4)}
        assert table.read(["2-1"]).tolist() == [[2, 2, 2, 2]]


def test_a_folder_appears_whole_or_not_at_all(home):
    with pytest.raises(RuntimeError), folders.folder("things", "abc") as (working, path):
        (working / "half").write_text("x")
        raise RuntimeError
    assert folders.missing([path]) == [path]
    assert list((home / "store" / "things").iterdir()) == []
    with folders.folder("things", "abc") as (working, path):
        (working / "whole").write_text("x")
    assert (home / path / "whole").read_text() == "x"
    assert folders.missing([path]) == []


def test_a_folder_that_is_written_again_is_never_away_for_long(home, monkeypatch):
    """Another run may be reading it: it is not deleted before the new one is in its place."""
    with folders.folder("things", "twice") as (working, path):
        (working / "whole").write_text("first")
    delete, seen = shutil.rmtree, []
    monkeypatch.setattr(
        folders.shutil, "rmtree", lambda *a, **k: (seen.append((home / path / "whole").read_text()), delete(*a, **k))
    )
    with folders.folder("things", "twice") as (working, _):
        (working / "whole").write_text("second")
    assert set(seen) == {"second"}
    assert [each.name for each in (home / "store" / "things").iterdir() if "twice" in each.name] == ["twice"]


def test_of_two_runs_that_write_a_folder_at_once_both_go_on(home, monkeypatch):
    with folders.folder("things", "at once") as (working, path):
        (working / "whole").write_text("mine")
        with folders.folder("things", "at once") as (other, _):
            (other / "whole").write_text("theirs")
        # They were faster, and again between the two steps of this one.
        rename = Path.rename
        monkeypatch.setattr(Path, "rename", lambda old, new: (rename(old, new), shutil.copytree(new, old)))
    assert (home / path / "whole").read_text() == "theirs"


@pytest.fixture
def bucket(monkeypatch):
    """An object store on this machine, and the environment that names it."""
    port = helpers.free_port()
    address, command = f"http://127.0.0.1:{port}", [sys.executable, "-m", "moto.server", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        helpers.answer(address)
        request.urlopen(request.Request(f"{address}/photos", method="PUT")).close()
        settings = {
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": address,
            "AWS_ALLOW_HTTP": "true",
            "HEADSTART_STORE": "s3://photos/some/tables/",
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        yield
    finally:
        server.terminate()
        server.wait()


def test_tables_live_on_an_object_store(bucket, home):
    assert inventory.tables() == []
    test_rows_come_back_in_the_order_asked_for()
    start = str(time.time() + 4)
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(writer), start]) for writer in range(4)]
    assert [writer.wait(120) for writer in writers] == [0] * 4
    for number in range(8):
        assert len(Table(f"many {number}", (4,), "float32").keys()) == 16
    table = Table("features-far", (2,), "float16")
    table.append(["a", "b"], np.ones((2, 2), "float16"))
    assert [(row["table"], row["rows"]) for row in inventory.tables()] == [("features-far", 2)]
    assert tables.absent(["features-far", "features-none"]) == ["features-none"]
    keys, values = table.mapped()
    assert (sorted(keys), values.tolist()) == (["a", "b"], [[1, 1], [1, 1]])
    commits.set_aside(table.uri, "a test")
    assert (inventory.tables(), table.keys()) == ([], set())
    (aside,) = (item for item in inventory.items() if item.kind == inventory.ASIDE and "far" in item.name)
    aside.drop()
    table.append(["a"], np.ones((1, 2), "float16"))
    commits.drop("features-far")
    assert (inventory.tables(), table.keys()) == ([], set())
    assert not (home / "store" / "features-far.2.lance").exists()


def test_a_table_is_read_as_a_memory_mapped_array():
    table = Table("features-mapped", (2,), "float16")
    table.append(["a"], np.full((1, 2), 1, "float16"))
    assert table.mapped()[1].tolist() == [[1, 1]]
    table.append(["b", "c"], np.full((2, 2), 2, "float16"))
    keys, values = table.mapped()
    assert isinstance(values, np.memmap)
    assert (keys, values.dtype, values[1:].tolist()) == (["a", "b", "c"], np.float16, [[2, 2], [2, 2]])
    with pytest.raises(ValueError, match="read-only"):
        values[0] = 0


def test_tables_are_listed_and_dropped():
    table = Table("features-listed", (2,), "float32")
    table.append(["a", "b"], np.ones((2, 2), "float32"))
    found = {row["table"]: row for row in inventory.tables()}["features-listed"]
    assert found["rows"] == 2 and found["bytes"] > 16
    commits.drop("features-listed")
    assert "features-listed" not in {row["table"] for row in inventory.tables()}
    assert table.keys() == set()
    table.append(["c"], np.ones((1, 2), "float32"))
    assert table.keys() == {"c"}


def test_a_table_without_a_version_is_listed_and_dropped(home):
    (home / "store" / "features-begun.2.lance" / "data").mkdir(parents=True)
    found = {row["table"]: row for row in inventory.tables()}["features-begun"]
    assert (found["rows"], found["bytes"]) == (0, 0)
    commits.drop("features-begun")
    assert "features-begun" not in {row["table"] for row in inventory.tables()}
