"""What is wrong with a ledger is said, entry by entry, and stops nothing; a search gives all pages."""

import functools
import json
import re

import pytest

from tasks.records import LedgerEntry
from tasks.runtime.errors import DataError
from tasks.services import tracking
from tasks.services.registry import ledger, promotion, registered_models, versions


@pytest.fixture
def tags(monkeypatch):
    """The tags of a registered model that has none yet, and to which entries can be added."""
    kept = {}
    monkeypatch.setattr(registered_models, "model", lambda name: type("Model", (), {"tags": kept}))
    monkeypatch.setattr(registered_models, "tag_model", lambda name, tag, text: kept.update({tag: text}))
    return kept


def written(count):
    for number in range(1, count + 1):
        ledger.write("pets", ledger.next_entry("pets", "promote", str(number), "", str(number), "better", "run"))


def changed(tags, at, /, **values):
    """Change fields of an entry; without its name, each `None` is taken out."""
    tag = f"{ledger.ENTRY}{at:06}"
    parts = json.loads(tags[tag]) | values
    tags[tag] = json.dumps({name: value for name, value in parts.items() if value is not None})


def old(tags, count):
    """Entries as 0.1 wrote them."""
    for number in range(1, count + 1):
        entry = LedgerEntry(number, "promote", "1", "ada@here", "2026-11-27T00:00:00+00:00", "", "1", "", "run")
        parts = entry.summary()
        del parts["previous_hash"]
        tags[f"{ledger.ENTRY}{number:06}"] = json.dumps(parts)


def test_a_ledger_that_nobody_has_touched_has_nothing_wrong_whether_or_not_older_entries_are_in_it(tags):
    assert ledger.examined(tags) == ([], [])
    written(3)
    assert [entry.number for entry in ledger.entries("pets")] == [1, 2, 3]
    assert ledger.examined(tags)[1] == []
    tags.clear()
    old(tags, 2)
    assert ledger.examined(tags)[1] == []
    written(2)
    assert [entry.number for entry in ledger.entries("pets")] == [1, 2, 3, 4]
    assert ledger.examined(tags)[1] == []


@pytest.mark.parametrize(
    ("harm", "said", "left"),
    [
        (lambda tags: changed(tags, 2, why="worse"), "Entry 2: expected the text whose digest entry 3", 4),
        (lambda tags: changed(tags, 4, why="worse"), "Entry 4: expected the text whose digest the tag", 4),
        (lambda tags: tags.pop(f"{ledger.ENTRY}000002"), "Entry 2: expected it before entry 3, found none", 3),
        (lambda tags: tags.pop(f"{ledger.ENTRY}000004"), "Entry 4: expected it as the newest", 3),
        (lambda tags: tags.pop(ledger.HEAD), "headstart.ledger_head: expected the digest of the newest", 4),
        (lambda tags: tags.update({ledger.HEAD: "x"}), "headstart.ledger_head: expected a number", 4),
        (
            lambda tags: tags.update({f"{ledger.ENTRY}000003": "{"}),
            "Entry 3: expected the JSON of an entry, found '{'",
            3,
        ),
        (lambda tags: tags.update({f"{ledger.ENTRY}000003": "[" * 4000}), "Entry 3: expected the JSON of an entry", 3),
        (lambda tags: tags.update({f"{ledger.ENTRY}000003": "[1]"}), r"Entry 3: .*found \[1\]", 3),
        (lambda tags: changed(tags, 3, version=3), "Entry 3: .*found version 3", 3),
        (lambda tags: changed(tags, 3, who=None), "Entry 3: .*found who None", 3),
        (lambda tags: changed(tags, 3, to="x"), "Entry 3: .*found after 'x'", 3),
        (lambda tags: changed(tags, 3, action="praise"), "Entry 3: .*found action 'praise'", 3),
        (lambda tags: changed(tags, 3, number=7), "Entry 3: .*found the number 7", 3),
        (lambda tags: changed(tags, 4, previous_hash=None), "Entry 4: expected the digest of the entry before", 4),
        (
            lambda tags: changed(tags, 1, previous_hash="0" * 64),
            "Entry 1: expected none before it, found the digest",
            4,
        ),
    ],
)
def test_what_was_changed_or_removed_is_named_and_the_rest_is_read(tags, harm, said, left):
    written(4)
    harm(tags)
    entries, wrong = ledger.examined(tags)
    assert len(entries) == left
    assert any(re.search(said, sentence) for sentence in wrong), wrong
    written(1)
    assert len(ledger.entries("pets")) == left + 1


def test_an_interrupted_move_that_cannot_be_read_is_not_carried_out(tags):
    written(1)
    for text in ("{", "[]", "{}", '{"entry": {}, "before": {"owner": "1"}, "after": {}}'):
        tags[ledger.INTENT] = text
        with pytest.raises(DataError, match=r"headstart.pending of pets .*delete the tag"):
            ledger.begun("pets")


def test_one_broken_ledger_stops_neither_the_list_of_models_nor_what_is_said_of_the_others(home):
    for name in ("broken ledger", "it's whole"):
        registered_models.create(name)
        tracking.client().create_model_version(name, "/nowhere")
    registered_models.tag_model("broken ledger", f"{ledger.ENTRY}000001", "{")
    registered_models.tag_model("broken ledger", ledger.INTENT, "no move")
    found = {row["model"]: row["ledger_problems"] for row in promotion.overview(None)}
    assert found["it's whole"] == []
    assert found["broken ledger"][0].startswith("The ledger of broken ledger is broken. Entry 1: expected the JSON")
    assert "headstart.pending" in found["broken ledger"][1]


def test_every_model_and_version_is_listed_however_few_a_page_holds(home, monkeypatch):
    client = type(tracking.client())
    for search in ("search_registered_models", "search_model_versions"):
        monkeypatch.setattr(client, search, functools.partialmethod(getattr(client, search), max_results=1))
    for name in ("page one", "page two", "page three"):
        registered_models.create(name)
        for number in (1, 2):
            tags = {"headstart.tables": f"{name.replace(' ', '-')}-{number}"}
            tracking.client().create_model_version(name, "/nowhere", tags=tags)
    assert {
        f"page-{page}-{number}" for page in ("one", "two", "three") for number in (1, 2)
    } <= versions.tables_in_use()
