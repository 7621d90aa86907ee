"""Whether a look at the data leads to training, and what it says."""

import dataclasses
import sys

import helpers
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from flows.retrain import retrain
from flows.train import check, train
from tasks.data import changes
from tasks.records import Accuracy, Drift, Gain
from tasks.runtime.home import home
from tasks.services import tracking
from tasks.services.registry import versions
from tasks.settings import Retrain, load
from tasks.stages.retraining.assess_changes import because
from tasks.stages.retraining.detect_changes import decided


def test_news_are_images_that_are_new_or_have_another_label():
    before = pd.DataFrame({"key": ["a", "b", "c"], "label": ["x", "y", "x"]})
    now = pd.DataFrame({"key": ["a", "b", "d"], "label": ["x", "x", "y"]})
    found = changes.between(before, now)
    assert (found.new, found.relabelled, found.removed, found.count) == (("d",), ("b",), 1, 2)
    assert changes.between(before, before).count == 0
    assert found.classes == () and "new classes" not in found.sentence
    more = changes.between(before, now.assign(label=["x", "x", "z"]))
    assert more.classes == ("z",) and more.sentence.endswith("1 removed, new classes: z")


def test_a_new_class_is_trained_on_as_the_model_is_wrong_about_it():
    few = Retrain(min_new=2)
    news = changes.Changes(("a", "b"), (), 0, ("cross",))
    assert decided(news, few, "3", 0) == ("train", f"{news.sentence} since version 3")
    assert decided(dataclasses.replace(news, classes=()), few, "3", 0)[0] == ""
    assert decided(news, Retrain(min_new=3), "3", 0)[0] == "skip"


def test_nothing_new_is_not_trained_on_however_often_it_was_looked_at():
    nothing = changes.Changes((), (), 0, ())
    assert decided(nothing, Retrain(force_after=2), "3", 5) == ("skip", "nothing is new since version 3")


@pytest.fixture(scope="module")
def recipe(server, three_layers, tmp_path_factory):
    """A recipe of its own folder of photos, trained once; who adds photos to the folder takes them away again."""
    folder = tmp_path_factory.mktemp("fresh")
    photos = helpers.photos(folder / "photos", each=40)
    extra = '[split]\nsalt = "fresh"\n[retrain]\nmin_new = 12\n[ladder]\nstop_at = "probe"'
    kind, weights = (word.partition("=")[2] for word in three_layers)
    extra += f'\n[backbone]\nkind = "{kind}"\nweights = "{weights}"'
    (folder / "r.toml").write_text(helpers.recipe(photos, "fresh", extra))
    return folder / "r.toml", retrain(str(folder / "r.toml"), why="a person")


@pytest.fixture
def trained(monkeypatch):
    """What would be trained, without doing so."""
    found = []
    monkeypatch.setattr(
        sys.modules["flows.retrain"], "train", lambda checked, repeat: found.append(checked.name) if repeat else None
    )
    return found


@pytest.fixture
def arrive(recipe):
    """Put new photos into the recipe's folder; they are gone after the test."""
    added = []

    def put(each, change=lambda pixels: pixels):
        for name, colour in helpers.COLOURS.items():
            for number in range(each):
                file = recipe[0].parent / "photos" / name / f"new {number}.png"
                pixels = np.asarray(helpers.photo(colour, 1000 + number * 7 + len(name)))
                Image.fromarray(change(pixels.astype(float)).clip(0, 255).astype("uint8")).save(file)
                added.append(file)

    yield put
    for file in added:
        file.unlink()


def test_the_first_look_trains_as_there_is_no_version(recipe):
    found = recipe[1]
    assert (found.decision, found.reason, found.why) == ("train", "there is no version yet", "a person")
    assert found.outcome.version.version == "1"
    table = versions.data_of("fresh", "1")
    assert len(table) == 120
    assert set(table["split"]) == {"train", "validation", "test"}


def test_nothing_new_is_not_trained_on(recipe, trained):
    found = retrain(str(recipe[0]), why="the schedule")
    assert (found.decision, found.reason) == ("skip", "nothing is new since version 1")
    assert not trained
    (run, *_) = tracking.client().search_runs(
        [tracking.client().get_experiment_by_name("fresh").experiment_id], "tags.`headstart.flow` = 'retrain'"
    )
    assert run.data.tags["headstart.retrain"] == "skip"
    assert run.data.params["why"] == "the schedule"
    assert "nothing is new since version 1" in run.data.tags["mlflow.note.content"]
    parts = {each.dataset.name: each.tags[0].value for each in run.inputs.dataset_inputs}
    assert parts == {"fresh: train": "training", "fresh: validation": "validation", "fresh: test": "testing"}


def test_the_page_of_every_flow_says_what_came_of_it(recipe):
    check(load(recipe[0]))
    client = tracking.client()
    runs = client.search_runs([client.get_experiment_by_name("fresh").experiment_id], "tags.`headstart.flow` != ''")
    told = {run.data.tags["headstart.flow"]: run.data.tags["mlflow.note.content"] for run in runs}
    assert {"train", "retrain", "check"} <= set(told)
    assert not [text for text in told.values() if "has not ended yet" in text]
    assert "can be trained on" in told["check"]


def test_too_few_new_images_are_waited_for(recipe, trained, arrive):
    arrive(3)
    found = retrain(str(recipe[0]))
    assert found.decision == "skip"
    assert found.reason.startswith("9 new images, 0 with another label, 0 removed since version 1: fewer than")
    assert not trained


def test_each_question_alone_is_a_reason_and_none_is_none():
    alike, unlike = (Drift(drifted, (), 20, 100, 0.02) for drifted in (False, True))
    well, worse = Accuracy(40, 0.9, 0.92, 0.4), Accuracy(40, 0.6, 0.92, 1e-4)
    nothing, gain = Gain(0.001, -0.01, 0.01), Gain(0.05, 0.02, 0.08)
    assert because(alike, well, nothing, 0.02) == []
    assert because(None, None, None, 0.02) == []
    for found in ((unlike, well, nothing), (alike, worse, nothing), (alike, well, gain)):
        assert len(because(*found, 0.02)) == 1
    assert because(alike, worse, nothing, 0.02) == [
        "the champion is right on 60.0% of them, against 92.0% of its test images, and less often within the classes"
    ]


def test_new_images_like_those_before_are_no_drift_and_no_worse_for_the_champion(recipe, trained, arrive):
    arrive(12)
    found = retrain(str(recipe[0]))
    assert not found.assessment.drift.drifted
    assert found.assessment.champion.images == 36
    assert found.assessment.champion.p > 0.05 / 3
    # More images may help a probe of so few.
    assert (found.decision == "train") == (found.assessment.probe.low > 0) == bool(trained)
    assert found.summary()["assessment"]["drift"]["drifted"] is False


def test_new_images_unlike_those_before_are_trained_on(recipe, trained, arrive):
    arrive(12, lambda pixels: pixels * 0.3)
    found = retrain(str(recipe[0]))
    assert (found.decision, trained) == ("train", ["fresh"])
    assert "the new images are unlike the old ones" in found.reason
    assert found.assessment.drift.drifted


def test_after_so_many_looks_it_trains_whatever_is_new(recipe, trained, arrive):
    arrive(1)
    found = [retrain(str(recipe[0]), ["retrain.force_after=2"]) for _ in range(4)]
    assert "train" in [look.decision for look in found]
    for look in found:
        assert (look.decision == "train") == (look.changes.skips >= 2)
        assert ("checks in a row have skipped training, the limit of retrain.force_after" in look.reason) == (
            look.decision == "train"
        )
    assert len(trained) == [look.decision for look in found].count("train")


def test_photos_unlike_the_last_data_set_are_a_warning_and_nothing_new_is_not_checked_again(
    recipe, arrive, monkeypatch
):
    checked = load(recipe[0])
    with monkeypatch.context() as patch:
        patch.setattr("tasks.stages.data.validate.findings_of", lambda case, docs: pytest.fail("computed again"))
        assert check(checked).warnings == ()
    arrive(8, lambda pixels: pixels * 0.3)
    dark = next(text for text in check(checked).warnings if "as before in brightness" in text)
    assert "their median, of 24, is expected from" in dark
    assert "that of 120 earlier images is" in dark


def test_by_time_the_newest_images_are_judged_beside_random_older_ones(server, three_layers, tmp_path):
    files = sorted(helpers.photos(tmp_path / "photos").rglob("*.png"))
    table = pd.DataFrame({"image": files, "label": [file.parent.name for file in files]})
    table["taken"] = [f"2026-{1 + place % 3:02}-{1 + place % 24:02}" for place in range(len(files))]
    table.to_csv(tmp_path / "photos.csv", index=False)
    text = helpers.recipe(tmp_path, "timed", "[split]\nby_time = 'taken'\ntest = 0.4\nolder = 0.6")
    text = text.replace('kind = "folder"', 'kind = "manifest"').replace(f'"{tmp_path}"', f'"{tmp_path}/photos.csv"')
    (tmp_path / "r.toml").write_text(text)
    brief = ("ladder.start_at=probe", "ladder.stop_at=probe", "audit.enabled=false", "transfer_check.enabled=false")
    found = train(load(tmp_path / "r.toml", (*brief, *three_layers)))
    counts, time = found.dataset.counts, found.report.time
    assert time is not None
    assert (time.newest.images, time.older.images) == (counts["test"], counts["older"])
    assert time.older.last < time.newest.first
    assert time.gaps["accuracy"] == time.newest.metrics["accuracy"] - time.older.metrics["accuracy"]
    assert found.summary()["time"]["gaps"] == time.gaps
    assert f"On the {counts['test']} newest images" in (home() / found.page.path).read_text()
    assert versions.data_of("timed", found.version.version)["split"].value_counts().to_dict() == counts
