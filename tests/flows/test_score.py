"""A version answers a whole source: every file has a row, nothing is answered twice, and what drifted is said."""

import hashlib
import shutil
import sys
from types import SimpleNamespace

import helpers
import numpy as np
import pandas as pd
import pytest
import tiny_versions

from flows.score import of_words, score
from tasks.runtime.errors import DataError, UsageError
from tasks.services import tracking
from tasks.services.registry import predict
from tasks.stages.release.score import _answers


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """24 photos, of which a folder deeper, beside a text and a photo that is cut short; nobody changes them."""
    folder = helpers.photos(tmp_path_factory.mktemp("scored") / "photos", each=8)
    whole = (folder / "red" / "red 0.png").read_bytes()
    (folder / "notes.txt").write_text("no photo")
    (folder / "blue" / "cut.png").write_bytes(whole[: len(whole) // 2])
    return folder


@pytest.fixture(scope="module")
def model(server, photos):
    tiny_versions.real("scored", sorted(photos.glob("green/*.png")))
    return "scored@champion"


@pytest.fixture(scope="module")
def scores(model, photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "scores.parquet"
    return score(model, of_words(str(photos)), out), pd.read_parquet(out)


def test_each_file_has_a_row_with_what_the_version_says_or_why_it_says_nothing(scores, model, photos):
    found, table = scores
    assert (found.images, found.unreadable, found.computed) == (24, 2, 24)
    client = tracking.client()
    experiment = client.get_experiment_by_name("scored").experiment_id
    runs = client.search_runs([experiment], "tags.`headstart.flow` = 'score'")
    assert "24 images, 24 of them predicted now, 2 not readable" in runs[-1].data.tags["mlflow.note.content"]
    assert table["uri"].tolist() == sorted(str(file) for file in photos.rglob("*.*"))
    bad = table[table["error"].notna()]
    assert {helpers.Path(uri).name for uri in bad["uri"]} == {"notes.txt", "cut.png"}
    assert bad["label"].isna().all()
    good = table[table["error"].isna()]
    alone = pd.DataFrame(predict.answers(model, [helpers.Path(uri) for uri in good["uri"]]))
    np.testing.assert_allclose(good["probability"], alone["probability"], atol=1e-5)
    np.testing.assert_allclose(good["novelty"], alone["novelty"], rtol=1e-3, atol=1e-3)
    for column in ("label", "abstain", "novel"):
        assert good[column].tolist() == alone[column].tolist()
    assert [list(one) for one in good["set"]] == alone["set"].tolist()
    assert set(table["version"]) == {"1"}
    assert sum(found.said.values()) == 24


def test_what_was_answered_is_not_answered_again_whatever_it_is_called_now(scores, model, photos, tmp_path):
    again = helpers.photos(tmp_path / "others", each=8)
    for file in list(again.rglob("*.png")):
        file.rename(file.with_name(f"moved {file.name}"))
    helpers.photo((1, 2, 3), 1).save(again / "new.png")
    found = score(model, of_words(str(again)), tmp_path / "scores.parquet")
    assert (found.images, found.computed) == (25, 1)


def test_two_runs_may_write_one_table_at_once(model, photos, tmp_path, monkeypatch):
    out = tmp_path / "out" / "scores.parquet"

    def slowly(table, to):
        """Another run writes the same table before this one has put its own into place."""
        monkeypatch.setattr(sys.modules["flows.score"], "shutil", shutil)
        shutil.copyfile(table, to)
        score(model, of_words(str(photos)), out)

    monkeypatch.setattr(sys.modules["flows.score"], "shutil", SimpleNamespace(copyfile=slowly))
    score(model, of_words(str(photos)), out)
    assert len(pd.read_parquet(out)) == 26
    assert list(out.parent.iterdir()) == [out]


def test_a_run_that_died_goes_on_from_its_last_commit(server, tmp_path, monkeypatch):
    photos = helpers.photos(tmp_path / "photos", each=8)
    tiny_versions.real("died", sorted(photos.glob("green/*.png")))
    monkeypatch.setattr("tasks.stages.release.score.COMMIT", 8)
    calls = iter([True, True])

    def dies(*args):
        if not next(calls, None):
            raise KeyError("the process ends")
        return _answers(*args)

    monkeypatch.setattr("tasks.stages.release.score._answers", dies)
    out = tmp_path / "scores.parquet"
    with pytest.raises(KeyError):
        score("died@champion", of_words(str(photos)), out)
    assert not out.exists()
    monkeypatch.setattr("tasks.stages.release.score._answers", _answers)
    found = score("died@champion", of_words(str(photos)), out)
    assert (found.images, found.computed) == (24, 8)
    assert len(pd.read_parquet(out)) == 24


def test_a_photo_that_is_overwritten_meanwhile_leaves_no_answer_under_a_key_of_other_bytes(
    model, tmp_path, monkeypatch
):
    folder = tmp_path / "photos"
    folder.mkdir()
    first, second = (helpers.encoded(helpers.photo(helpers.COLOURS[name], 77), "PNG") for name in ("red", "blue"))
    photo = folder / "photo.png"
    photo.write_bytes(first)
    read = helpers.Path.read_bytes

    def overwritten(path):
        data = read(path)
        if path == photo:
            photo.write_bytes(second)
        return data

    monkeypatch.setattr(helpers.Path, "read_bytes", overwritten)
    score(model, of_words(str(folder)), tmp_path / "scores.parquet")
    monkeypatch.undo()
    (row,) = pd.read_parquet(tmp_path / "scores.parquet").itertuples()
    data = {hashlib.sha256(each).hexdigest(): each for each in (first, second)}[row.key]
    photo.write_bytes(data)
    (alone,) = predict.answers(model, [photo])
    assert row.probability == pytest.approx(alone["probability"], abs=1e-5)
    assert row.label == alone["label"]


def test_a_table_without_labels_and_a_recipe_are_sources(scores, model, photos, tmp_path):
    files = sorted(photos.glob("*/*.png"))
    pd.DataFrame({"image": [str(file.relative_to(photos)) for file in files]}).to_csv(photos / "table.csv", index=False)
    found = score(model, of_words(str(photos / "table.csv")), tmp_path / "scores.parquet")
    (photos / "table.csv").unlink()
    assert (found.images, found.computed) == (24, 0)
    (tmp_path / "r.toml").write_text(helpers.recipe(photos))
    assert of_words(str(tmp_path / "r.toml")).kind == "folder"
    with pytest.raises(UsageError, match="SOURCE: expected a folder, a photo, a table, or a recipe"):
        of_words(str(tmp_path / "nothing"))


def test_a_version_that_was_changed_scores_nothing(server, tmp_path):
    photos = helpers.photos(tmp_path / "photos", each=4)
    version = tiny_versions.real("changed", sorted(photos.glob("green/*.png")))
    spec = next(tiny_versions.files("changed", version).rglob("spec.json"))
    spec.write_text(spec.read_text().replace('"red"', '"ruby"'))
    with pytest.raises(DataError, match=r"as it was registered, found .*spec\.json"):
        score("changed@champion", of_words(str(photos)), tmp_path / "scores.parquet")
    assert not (tmp_path / "scores.parquet").exists()
