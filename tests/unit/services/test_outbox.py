"""Notes of a stage that MLflow has not had yet: they are nowhere else."""

import threading

import pytest
from trouble.damage import cut, flip

from tasks.runtime.errors import DependencyError
from tasks.services.tracking import outbox


@pytest.fixture
def notes(tmp_path, monkeypatch):
    """Notes of a stage, in a home without any."""
    monkeypatch.setenv("HEADSTART_HOME", str(tmp_path / "home"))
    (tmp_path / "drawn").mkdir()
    (tmp_path / "drawn" / "data.parquet").write_bytes(b"rows" * 100)
    return outbox.Notes(tmp_path / "drawn", {"tag": "value"}, {"loss": [1.0]}, {"loss": [1_790_000_000_000]})


@pytest.mark.parametrize("name", ["drawn/data.parquet", "notes.json", outbox.SUMS])
@pytest.mark.parametrize("damage", [flip, cut, lambda file: file.write_bytes(b""), lambda file: file.unlink()])
def test_damaged_notes_are_named_and_stay(notes, tmp_path, damage, name):
    notes.save("abc")
    assert outbox.kept("abc").series == notes.series
    assert list(outbox.damaged()) == []
    file = tmp_path / "home" / "unsent" / "abc" / name
    damage(file)
    if name == outbox.SUMS and not file.exists():  # as an older release has written it
        assert outbox.kept("abc").tags == notes.tags
        return
    with pytest.raises(DependencyError, match=r"unsent/abc as an earlier run left it.*--refresh"):
        outbox.kept("abc")
    ((found, _),) = outbox.damaged()
    assert found == "unsent/abc"


def test_runs_that_keep_the_same_notes_at_once_keep_them(notes):
    errors = []

    def save():
        try:
            notes.save("abc")
        except OSError as error:
            errors.append(error)

    threads = [threading.Thread(target=save) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert errors == []
    assert outbox.kept("abc").tags == notes.tags
