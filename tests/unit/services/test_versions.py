"""Which earlier data set a new one is compared with, and how often decisions have used test images."""

from types import SimpleNamespace

import pandas as pd
import pytest

from tasks.services import tracking
from tasks.services.registry import registered_models, test_sets, versions


@pytest.fixture
def registered(monkeypatch):
    """Versions of a model by the keys of their images, the oldest first; what is read is counted."""
    read = []

    def put(*made):
        tables = {str(i): pd.DataFrame({"key": list(keys), "label": "a"}) for i, keys in enumerate(made, 1)}
        found = [
            SimpleNamespace(run_id=i, version=i, tags={"headstart.data": keys})
            for i, keys in zip(tables, made, strict=True)
        ]
        monkeypatch.setattr(registered_models, "known", lambda name: bool(made))
        monkeypatch.setattr(versions, "versions", lambda name: ((version, ()) for version in reversed(found)))
        monkeypatch.setattr(tracking, "table", lambda run_id, name: read.append(run_id) or tables[run_id])
        return read

    return put


def test_the_data_before_are_the_newest_that_are_others_whatever_has_been_trained_on_these(registered):
    now = pd.DataFrame({"key": ["x", "y"], "label": "a"})
    registered()
    assert versions.data_before("m", now) is None
    registered("xy")
    assert versions.data_before("m", now) is None
    registered("x")
    first = versions.data_before("m", now)
    assert list(first["key"]) == ["x"]
    registered("x", "xy")
    assert versions.data_before("m", now).equals(first)
    read = registered("w", "x", *["xy"] * 20)
    read.clear()
    assert versions.data_before("m", now).equals(first)
    assert len(read) == 2


@pytest.mark.parametrize(
    ("decisions", "used"),
    [(0, "no decision between two models has"), (1, "1 decision has"), (2, "2 decisions have")],
)
def test_decisions_that_used_test_images_are_counted_in_words(decisions, used):
    found = test_sets.TestSet("pets", "3", 300, 300, "", decisions, 0.01, 900, 200, True)
    assert f"So far {used} used any of them" in found.sentences[0]
