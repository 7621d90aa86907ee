"""What is damaged in a home and in its registry, besides what can be computed again."""

import json
import sqlite3
from types import SimpleNamespace

import pytest
from trouble.damage import flip

from tasks.runtime.errors import DataError, DependencyError
from tasks.services import integrity, tracking
from tasks.services.orchestration import results
from tasks.services.registry import ledger, registered_models, verification, versions


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A home with results, a database and corrected labels, and a registry of one version."""
    monkeypatch.setenv("HEADSTART_HOME", str(tmp_path))
    monkeypatch.setenv("PREFECT_LOCAL_STORAGE_PATH", str(tmp_path / "prefect" / "results"))
    kept = tmp_path / "prefect" / "results"
    kept.mkdir(parents=True)
    (kept / "abc").write_text(json.dumps({"accuracy": 0.5}))
    (kept / "abc.crc32").write_bytes(results._checksum((kept / "abc").read_bytes()))
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("create table runs (name text)")
        database.executemany("insert into runs values (?)", [("a run" * 50,)] * 500)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "pets.csv").write_text(f"key,uri,label,corrected\n{'a' * 64},b,c,d\n")
    version = SimpleNamespace(name="pets", version=1, run_id="r1", tags={versions.FINGERPRINT: "seal"})
    monkeypatch.setattr(versions, "versions", lambda: [(version, ())])
    monkeypatch.setattr(registered_models, "names", lambda: ["pets"])
    monkeypatch.setattr(registered_models, "model", lambda name: SimpleNamespace(tags={}))
    monkeypatch.setattr(tracking, "table", lambda run_id, name: None)
    monkeypatch.setattr(verification, "_files", lambda uri: pytest.fail(uri))
    monkeypatch.setattr(verification, "opened", lambda *named: _Opened())
    return tmp_path


class _Opened:
    """A version's files, which are sound or not."""

    sound = True

    def __enter__(self):
        if not self.sound:
            raise DataError("Expected pets version 1 as it was registered, found others.")

    def __exit__(self, *error):
        """Nothing to close."""


def test_a_sound_home_is_sound(own):
    assert list(integrity.damaged()) == []


def test_what_cannot_be_computed_again_is_named_and_never_set_aside(own, monkeypatch):
    monkeypatch.setattr(_Opened, "sound", False)
    (own / "labels" / "pets.csv").write_bytes(b'key,uri\n"a\xff')
    flip(own / "prefect" / "results" / "abc", b"0.5")
    found = list(integrity.damaged())
    assert [(damage.kind, damage.again) for damage in found] == [
        ("results of stages", True),
        ("corrected labels", False),
        ("versions", False),
    ]
    for damage in found:
        damage.set_aside()
    assert (own / "labels" / "pets.csv").exists()
    assert {file.name for file in (own / "prefect" / "results").iterdir()} == {"abc.damaged", "abc.crc32"}


def test_a_damaged_table_of_a_version_is_named(own, monkeypatch):
    def table(run_id, name):
        if name == versions.SPLITS:
            raise DependencyError(f"Expected {name} as it was written.")

    monkeypatch.setattr(tracking, "table", table)
    (found,) = integrity.damaged()
    assert (found.kind, found.name, found.again) == ("versions", "pets/1", False)


def test_a_damaged_ledger_is_named(own, monkeypatch):
    monkeypatch.setattr(registered_models, "model", lambda name: SimpleNamespace(tags={f"{ledger.ENTRY}000001": "{"}))
    (found,) = integrity.damaged()
    assert (found.kind, found.name, found.again) == ("ledgers", "pets", False)


def test_a_damaged_database_is_named(own):
    file = own / "mlflow.db"
    whole = bytearray(file.read_bytes())
    whole[4096:8192] = bytes(4096)
    file.write_bytes(whole)
    (found,) = integrity.damaged()
    assert (found.kind, found.name, found.again) == ("databases", "mlflow.db", False)
    found.set_aside()
    assert file.exists()
