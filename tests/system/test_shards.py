"""Extraction in shards, on a real Dask cluster of two processes."""

import os
import signal
import threading
import time

import helpers
import psutil
import pytest
from tiny_features import images_of

from tasks import settings
from tasks.runtime.store import commits, inventory


@pytest.fixture
def own_home(tmp_path, monkeypatch):
    """A home without the tables of other tests, for the workers too."""
    monkeypatch.setenv("HEADSTART_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()


@pytest.fixture
def killed_worker(own_home):
    """Ends a worker of the cluster as soon as the first rows of features are there; tells which one."""
    ended = []

    def watch():
        for _ in range(1200):
            if any(row["table"].startswith("features-") and row["rows"] for row in inventory.tables()):
                workers = [p for p in psutil.Process().children() if "--multiprocessing-fork" in p.cmdline()]
                os.kill(workers[0].pid, signal.SIGKILL)
                ended.append(workers[0].pid)
                return
            time.sleep(0.1)

    thread = threading.Thread(target=watch)
    thread.start()
    yield ended
    thread.join()


def test_a_killed_workers_shard_is_done_again_and_no_row_twice(server, tmp_path, killed_worker):
    from flows.parts.extraction import _runner, fill_in_shards
    from tasks.stages.features.extract import extract

    images = images_of(helpers.photos(tmp_path / "photos", each=134), "shards", side=224)
    recipe = settings.Recipe(
        name="shards",
        images={"views": ["identity", "flip_left_right", "rotate_90", "rotate_180"]},
        extract={"runner": "dask", "shards": 4},
    )
    fill_in_shards.with_options(task_runner=_runner(recipe.extract))(images, recipe)
    assert len(killed_worker) == 1
    whole = extract.body(images, recipe.extraction, cut=recipe.cut)
    assert whole.computed == 0
    # What reaches the blocks that are trained came from the same pass, and no test image needs it.
    assert _rows("features-") == {"rows": 201 * 4 + 201, "keys": 201 * 4 + 201}
    assert _rows("activations-") == {"rows": 201 * 4, "keys": 201 * 4}


def _rows(prefix):
    (table,) = (each for each in inventory.tables() if each["table"].startswith(prefix))
    keys = commits.opened(commits.uri(table["table"])).to_table(columns=["key"])["key"].to_pylist()
    return {"rows": table["rows"], "keys": len(set(keys))}
