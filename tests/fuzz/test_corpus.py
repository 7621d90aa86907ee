"""What fuzzing has found is read without a surprise, and the targets' own small files too."""

import warnings

import pytest

from tasks.runtime.errors import HeadstartError
from tests.fuzz import targets


@pytest.mark.parametrize("name", targets.TARGETS)
def test_damaged_files_are_refused_in_words(name, tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTART_HOME", str(tmp_path / "home"))
    target, folder = targets.TARGETS[name], tmp_path / "files"
    folder.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Keras, about an older format
        seeds = list(target.seeds(folder))
        read = target.reader(folder)
        accepted = 0
        for data in [*seeds, *(file.read_bytes() for file in sorted(targets.CORPUS.glob(f"{name}/*")))]:
            (folder / target.file).write_bytes(data)
            try:
                read(folder / target.file)
                accepted += 1
            except (HeadstartError, targets.Refused):
                pass
    assert accepted >= len(seeds) / 2
    assert not (tmp_path / "planted").exists()
