"""Who can write into the artifact store cannot have code run by those who use a version."""

import json

import helpers
import pytest
import tiny_versions

from tasks.runtime.errors import DataError
from tasks.services import tracking
from tasks.services.registry import predict, registered_models, verification


def _planted(folder, planted):
    """Make the version's script write a file when it is loaded."""
    (script,) = folder.glob("*.py")
    script.write_text(f"open({str(planted)!r}, 'w').close()\n{script.read_text()}")


@pytest.fixture
def photo(tmp_path):
    file = tmp_path / "photo.png"
    helpers.photo(helpers.COLOURS["red"], 1).save(file)
    return file


def test_a_script_that_was_changed_is_not_run_whoever_asks(server, tmp_path, photo):
    version = tiny_versions.register("tampered")
    planted = tmp_path / "planted"
    _planted(tiny_versions.files("tampered", version), planted)
    for ask in (
        lambda: predict.score("tampered", version, [photo.read_bytes()], tiny_versions.CLASSES),
        lambda: list(predict.answers(f"tampered/{version}", [photo])),
    ):
        with pytest.raises(DataError, match=r"as it was registered, found .*\.py: expected SHA-256"):
            ask()
    assert not planted.exists()


@pytest.mark.parametrize("what", ["script", "MLmodel", "one more"])
def test_what_changes_between_sending_and_sealing_is_neither_run_nor_registered(server, tmp_path, monkeypatch, what):
    planted, download = tmp_path / "planted", verification._files
    name = f"intercepted-{what}".replace(" ", "-")

    def intercepted(uri):
        logged = tracking.client().get_logged_model(uri.rpartition("/")[2])
        folder = helpers.Path(logged.artifact_location.removeprefix("file://"))
        if what == "script":
            _planted(folder, planted)
        elif what == "MLmodel":
            file = folder / "MLmodel"
            file.write_text(file.read_text().replace("loader_module: ", "loader_module: other."))
        else:
            (folder / "sitecustomize.py").write_text(json.dumps(str(planted)))
        return download(uri)

    monkeypatch.setattr(verification, "_files", intercepted)
    with pytest.raises(DataError, match="to come back from the artifact store as it was sent, found"):
        tiny_versions.register(name)
    assert not planted.exists()
    assert not registered_models.known(name)
