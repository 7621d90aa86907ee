"""Files that a command writes for a person, on a disk that is full."""

import resource
from pathlib import Path

import helpers
import pytest

from flows.recipes import draft
from tasks.runtime.errors import UsageError
from tasks.runtime.store.writing import replacing
from tasks.settings import writing


@pytest.fixture
def full():
    """Makes each file that is written from now on end after some bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_is_replaced_as_a_whole_and_keeps_its_rights_and_links(tmp_path, full):
    file, link = tmp_path / "a.csv", tmp_path / "link.csv"
    link.symlink_to(file)
    file.write_text("old")
    file.chmod(0o640)
    with replacing(link) as working:
        working.write_text("new")
        assert file.read_text() == "old"
    assert (file.read_text(), file.stat().st_mode & 0o777, link.is_symlink()) == ("new", 0o640, True)
    full()
    with pytest.raises(OSError, match="too large"), replacing(file) as working:
        working.write_text("longer than the disk")
    assert file.read_text() == "new"
    assert sorted(tmp_path.iterdir()) == [file, link]


def test_what_is_no_file_is_written_and_not_replaced():
    with replacing(Path("/dev/null")) as working:
        working.write_text("nothing")
    assert Path("/dev/null").is_char_device()


def test_a_recipe_that_could_not_be_written_is_not_there(tmp_path, monkeypatch, full):
    monkeypatch.setenv("HEADSTART_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    monkeypatch.setattr(writing, "schema", str)
    photos, out = helpers.photos(tmp_path / "photos", each=1), tmp_path / "out"
    out.mkdir()
    full()
    with pytest.raises(UsageError, match="too large"):
        draft.write(str(photos), [], out / "q.toml", False)
    assert not list(out.iterdir())
