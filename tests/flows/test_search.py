"""The search for features: what it finds, what it leaves alone, what retraining remembers, and where it is seen."""

from dataclasses import replace
from types import SimpleNamespace

import helpers
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from flows.parts.search import applied, asked, remembered
from flows.recipes import draft
from flows.train import check, train
from tasks import settings
from tasks.data import datasets
from tasks.features import searching, sides
from tasks.records import DatasetRef, Gain, SearchRef, Trial
from tasks.reports.sections import search as report
from tasks.runtime.errors import UsageError
from tasks.runtime.home import home
from tasks.services import tracking
from tasks.settings.effort import BUDGETS, EACH, END


@pytest.mark.parametrize(
    ("own", "most", "found", "first"),
    [
        (8, 320, (64, 112, 160, 224, 320), 112),
        (28, 224, (64, 112, 160, 224), 112),
        (200, 320, (64, 112, 160, 224, 320), 224),
        (250, 320, (64, 112, 160, 240, 320), 240),
        (256, 224, (64, 112, 160, 224), 224),
        (3000, 448, (64, 112, 160, 224, 320, 448), 224),
    ],
)
def test_sides_to_try_hold_the_photos_own(own, most, found, first):
    assert sides.grid(own, most) == found
    assert sides.first(own, found) == first


@pytest.mark.parametrize(("photos", "size"), [(800, 224), (3000, 112), (1_000_000, 64)])
def test_without_a_search_many_photos_are_seen_smaller(monkeypatch, photos, size):
    table = pd.DataFrame({"width": [900, 1000, 800], "height": [900, 1000, 800]})
    monkeypatch.setattr(datasets, "rows", lambda *_: table)
    dataset = DatasetRef("p", "d", ("a", "b"), {"train": photos}, 0, 0, 0, (), "")
    question = asked(settings.Recipe(name="x", effort="quick"))
    assert sides.by_rules(dataset, question)["images"] == {"size": size, "fit": "crop", "views": ("identity",)}


@pytest.fixture
def rare(monkeypatch):
    """Two classes of which no fold lacks photos, and two that are too rare."""
    labels = ["a"] * 20 + ["b"] * 12 + ["c"] * 3 + ["d"] * 8
    groups = [None] * 35 + ["one"] * 4 + ["two"] * 4
    table = pd.DataFrame({"key": [f"{n:02}" for n in range(43)], "label": labels, "group": groups, "split": "train"})
    table = table.assign(uri=table["key"], width=50, height=50)
    monkeypatch.setattr(datasets, "rows", lambda *_: table)
    return table


def _search():
    dataset = DatasetRef("p", "d", ("a", "b", "c", "d"), {"train": 43, "validation": 0, "test": 0}, 0, 0, 0, (), "")
    return searching.Search(dataset, asked(settings.Recipe(name="x", effort="standard")))


def test_a_rare_class_does_not_keep_others_from_being_judged(rare, monkeypatch):
    found = _search()
    assert len(found.folds) == 4 and set(found.rows["label"]) == {"a", "b"}
    monkeypatch.setattr(datasets, "rows", lambda *_: rare[32:].reset_index(drop=True))
    found = _search()
    assert found.run() == "fewer than two classes have 4 training images to judge by" and found.chosen() == {}


def test_of_more_classes_than_fit_some_are_judged():
    rows = pd.DataFrame({"key": [f"{n:04}" for n in range(2100)], "label": [f"c{n % 210:03}" for n in range(2100)]})
    sampled = datasets.stratified_by_unit(rows.assign(unit=range(2100)), 400, searching.FOLDS, 0)
    counts = sampled["label"].value_counts()
    assert (len(sampled), len(counts), counts.min(), counts.max()) == (400, 100, 4, 4)


def test_views_that_a_recipe_gives_count_where_the_time_is_estimated(rare):
    given = {"views": ("identity", "flip_left_right", "rotate_180")}
    question = asked(settings.Recipe(name="x", effort="standard", images=given))
    found = searching.Search(_search().dataset, question)
    eye, slow = _eye(224), 43 / question.features
    assert found.given == given["views"]
    assert found._small_enough(replace(eye, speed=1.5 * slow)) > 0
    assert _search()._small_enough(replace(eye, speed=1.5 * slow)) == 0


def _eye(side):
    network = SimpleNamespace(table=None, parts=())
    return searching.Eye(
        settings.Candidate(), SimpleNamespace(size=side, fit="squash"), network, speed=(2240 / side) ** 2, took=0.0
    )


@pytest.mark.parametrize(("size", "share", "taken"), [(112, 0.98, True), (448, 0.98, False), (448, 0.95, True)])
def test_what_takes_longer_must_gain_more(rare, monkeypatch, size, share, taken):
    found, losses = _search(), np.full(32, 0.5)
    found.best = searching.Best((_eye(224),), False, ("identity",), losses)
    monkeypatch.setattr(found, "_held_out", lambda *_: (losses * share, np.ones(32)))
    eyes = tuple(sorted((_eye(224), _eye(size)), key=lambda each: -each.images.size))
    found._compare("beside", "another", searching.Best(eyes, False, ("identity",), losses), np.empty(0), ())
    assert found.trials[-1].taken is taken and (found.best.eyes == eyes) is taken


@pytest.mark.parametrize(("photos", "tried"), [(40_000, True), (1_000, False), (0, True)])
def test_larger_photos_are_tried_only_if_fine_tuning_sees_them_often(rare, monkeypatch, photos, tried):
    found, asked_for = _search(), []
    found.settings = found.settings.model_copy(update={"photos": photos, "networks": (), "joined": 4})
    found.grid = (224, 448)
    found.best = searching.Best((_eye(224),), False, ("identity",), np.full(32, 0.5))
    monkeypatch.setattr(found, "_beside", lambda network, size: asked_for.append(size) or False)
    assert not any(found._further())
    assert asked_for == ([448] if tried else [])
    # 1,000 photos of 224 pixels take as long as 250 of 448: 6 for each of the 43.
    assert tried or "see each photo only 6 times" in found.trials[-1].reason


@pytest.mark.parametrize(("with_filters", "texture"), [(0.55, False), (0.45, True)])
def test_a_network_is_joined_without_filters_if_it_makes_them_worse(rare, monkeypatch, with_filters, texture):
    found = _search()
    found.best = searching.Best((_eye(224),), True, ("identity",), np.full(32, 0.5))
    monkeypatch.setattr(found, "_eye", lambda *_: (_eye(112), False))
    monkeypatch.setattr(found, "_features", lambda eyes, textured, *_: (np.full((32, 1), float(textured)), ()))
    losses = {0.0: 0.3, 1.0: with_filters}
    monkeypatch.setattr(found, "_held_out", lambda seen, _: (np.full(32, losses[seen[0, 0, 0]]), np.ones(32)))
    found._beside(settings.Candidate(), 112)
    assert found.best.texture is texture and len(found.best.eyes) == 2
    # Where they fit together, nothing else is asked.
    assert [trial.taken for trial in found.trials] == ([True] if texture else [False, True])


def test_minutes_stand_for_an_effort():
    assert settings.budget("quick", 0) == BUDGETS["quick"]
    assert settings.budget("none", 1.5) == replace(BUDGETS["quick"], minutes=1.5)
    assert settings.budget("none", 8) == replace(BUDGETS["standard"], minutes=8)
    assert settings.budget("quick", 60) == replace(BUDGETS["quick"], minutes=60)
    with pytest.raises(UsageError, match=r"effort.*'quick', 'standard' or 'best'"):
        settings.check({"name": "x", "effort": "much"}, "--set")


def test_the_end_of_a_run_keeps_its_time():
    standard = BUDGETS["standard"]
    assert standard.climb(20, 1, 0) == pytest.approx(4 - 50 / 60)
    assert standard.climb(10, 4, 1) == pytest.approx(4 - (70 + EACH) / 60)
    assert standard.climb(1000, 1, 0) == 2
    assert standard.twice.climb(20, 1, 0) == pytest.approx(4 * (1 - standard.twice.again) - 50 / 60)
    assert standard.twice.epochs_of(standard.photos // 8, 224) == 5
    best = BUDGETS["best"]
    assert best.climb(20, 1, 2) == pytest.approx(20 - (20 + 2 * (END + 2 * EACH)) / 60)
    assert best.average(20, 6) == {} and best.average(60, 6) == {"average": ("rungs",)}
    assert [standard.epochs_of(rows, 224) for rows in (100, standard.photos // 8, 100_000)] == [12, 8, 1]
    assert standard.epochs_of(standard.photos // 2, 112) == 8


def _recipe(folder, name, words=()):
    brief = ("effort=standard", "minutes=20", "ladder.stop_at=head", "fine_tune.enabled=false", "head.kind=logistic")
    file = folder.parent / f"{name}.toml"
    written = helpers.recipe(folder, name, "[validation]\nmax_rejected = 0.1")
    file.write_text(written.replace('pooling = "avg"', ""))
    return settings.load(file, (*brief, *words, f"split.salt={name}"))


@pytest.fixture(scope="module")
def recipe(colours, three_layers):
    return _recipe(colours, "searched", (*three_layers, 'select.candidates=[{options={variant="lite1"}}]'))


@pytest.fixture(scope="module")
def first(server, recipe):
    return train(recipe)


def test_what_is_open_is_chosen_and_what_is_given_stays(first, recipe):
    found = first.search
    assert found is not None and found.images == first.dataset.counts["train"]
    assert [trial.what for trial in found.trials][:2] == ["size", "pooling"]
    assert {trial.what for trial in found.trials} <= {"size", "pooling", "beside", "network", "views"}
    assert found.chosen["backbone"].keys() == {"pooling", "beside"}
    assert found.chosen["images"].keys() == {"fit", "views"}
    # The size, the network and the head are the recipe's own.
    assert first.recipe["images"]["size"] == 32 and first.recipe["backbone"]["kind"] == "file"
    assert first.recipe["head"]["kind"] == "logistic"
    assert first.recipe["backbone"]["pooling"] == found.chosen["backbone"]["pooling"] in ("pyramid", "texture")
    assert first.recipe["images"]["views"] == list(found.chosen["images"]["views"])
    best = [trial for trial in found.trials if trial.taken][-1]
    assert best.log_loss == min(trial.log_loss for trial in found.trials if trial.taken)
    for trial in found.trials:
        assert trial.gain is None or trial.gain.low <= trial.gain.value <= trial.gain.high
        assert trial.taken or not trial.log_loss or trial.gain
        assert (trial.gain is None) == (trial.needed is None)
        if trial.gain and not trial.reason:
            assert trial.taken == (trial.gain.value > trial.needed)


def test_what_missed_says_what_it_needed(first):
    missed = Trial("photos of 999 pixels", "size", 0.5, 0.9, Gain(0.002, -0.001, 0.005), needed=0.015)
    (*_, row) = report.trials(replace(first.search, trials=(*first.search.trials, missed)))
    assert row["result"] == "needed more than +0.015"


def test_trials_are_runs_in_mlflow_and_told_on_the_page(first):
    client = tracking.client()
    experiment = client.get_experiment_by_name("searched").experiment_id

    def children(run_id):
        return client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{run_id}'")

    stage = next(run for run in children(first.run_id) if run.info.run_name == "search")
    trials = sorted(children(stage.info.run_id), key=lambda run: run.info.run_name)
    assert [run.data.params["name"] for run in trials] == [trial.name for trial in first.search.trials]
    assert trials[0].data.metrics["log_loss"] == pytest.approx(first.search.trials[0].log_loss)
    assert {file.path for file in client.list_artifacts(stage.info.run_id)} == {"search.csv"}
    page = (home() / first.page.path).read_text()
    assert "What was chosen" in page and first.search.trials[1].name in page
    # What more time would probably give.
    assert "for want of time" in page.lower()
    assert "is not known; the last step that was taken gained" in report.sentence(_late(first.search))
    measured = replace(_late(first.search).trials[-1], gain=Gain(0.016, 0.004, 0.029), log_loss=0.3)
    told = report.sentence(replace(first.search, trials=(*first.search.trials[:1], measured)))
    assert "999 pixels (which gained 0.016)" in told and "gain less" not in told


def _late(found):
    """The search, if one of its trials had not been reached."""
    missed = Trial("photos of 999 pixels", "size", reason="no time was left", late=True)
    gained = Trial("joined", "beside", 0.4, 0.9, Gain(0.1, 0.05, 0.15), taken=True)
    return replace(found, trials=(*found.trials, gained, missed))


def test_what_was_chosen_is_a_recipe_that_needs_no_search(first, recipe, tmp_path):
    draft.keep(first.recipe, tmp_path / "plain.toml", "As it was chosen.")
    again = settings.load(tmp_path / "plain.toml")
    assert (again.effort, again.minutes) == ("none", 0)
    chosen = applied(recipe, first.search, first.dataset.counts["train"])
    for table in ("images", "backbone", "head", "ladder", "fine_tune", "whole"):
        assert getattr(again, table) == getattr(chosen, table)
    with pytest.raises(UsageError, match="Expected no file"):
        draft.check_free(tmp_path / "plain.toml")


def test_retraining_repeats_what_was_chosen_while_it_holds(first, recipe):
    few, question = first.dataset, first.search.asked
    found = remembered("searched", question, few)
    assert found is not None and not found.trials and found.reason == "repeats version 1"
    assert applied(recipe, found, 60) == applied(recipe, first.search, 60)
    assert found.memory == first.search.memory
    # A few new classes are told apart by the same features.
    (a, *others) = few.classes
    assert remembered("searched", question, replace(few, classes=(a, *others, "1"))) == found
    assert remembered("searched", question, replace(few, classes=(a,))) == found
    assert remembered("searched", question, replace(few, classes=(a, "1"))) is None
    # More images than it was made for, another question, another model: the search is made again.
    many = replace(few, counts={split: 2 * count for split, count in few.counts.items()})
    assert remembered("searched", question, many) is None
    assert remembered("searched", "another", few) is None
    assert remembered("never trained", question, few) is None
    with pytest.raises(ValueError, match="choices of a search"):
        SearchRef.remembered('{"asked": 1}', "1")


def _grain(folder):
    """Classes that differ by a small patch of stripes."""
    for name in ("plain", "patch"):
        (folder / name).mkdir(parents=True)
        for number in range(40):
            random = np.random.default_rng([number, len(name)])
            pixels = random.normal(128, 12, (64, 64, 3))
            if name == "patch":
                y, x = random.integers(8, 44, 2)
                pixels[y : y + 12, x : x + 12] += 30 * np.sin(np.arange(12) * 2)[:, None, None]
            Image.fromarray(pixels.clip(0, 255).astype("uint8")).save(folder / name / f"{number}.png")
    return folder


def test_filters_are_taken_where_grain_tells(server, three_layers, tmp_path):
    recipe = _recipe(_grain(tmp_path / "grain"), "grain", (*three_layers, "images.size=64", 'images.fit="crop"'))
    dataset = check(recipe)
    found = searching.Search(dataset, asked(recipe))
    assert found.run() == "nothing else was left to try"
    assert found.best.texture and found.chosen()["backbone"]["pooling"] == "texture"
    rows = datasets.rows(dataset, "train")
    assert sides.of_photos(rows) == 64 and not sides.oblong(rows)
    assert sides.oblong(pd.DataFrame({"width": [30, 40], "height": [60, 20]}))


def test_networks_are_joined_where_that_gains(server, colours, three_layers, tmp_path):
    lite1 = 'select.candidates=[{options={variant="lite1"}}]'
    recipe = _recipe(colours, "joined", (*three_layers, "images.size=64", lite1))
    dataset = check(recipe)
    found = searching.Search(dataset, asked(recipe).model_copy(update={"views": ()}))
    found.run()
    tried = [trial for trial in found.trials if trial.what == "beside"]
    assert len(tried) == 1 and "lite1" in tried[0].name
    chosen = found.chosen()["backbone"]
    assert len(chosen["beside"]) == tried[0].taken
    if tried[0].taken:
        assert chosen["beside"][0]["options"] == {"variant": "lite1"} and chosen["beside"][0]["size"] == 0


@pytest.mark.parametrize(
    ("words", "closed"),
    [
        (("head.kind=linear",), {"pooling", "beside"}),
        (("images.size=64", 'images.views=["identity"]'), {"size", "views"}),
        (("backbone.kind=auto",), set()),
        (("backbone.pooling=none", "head.kind=flatten_mlp"), {"pooling", "beside"}),
    ],
)
def test_what_a_recipe_gives_is_not_chosen(tmp_path, words, closed):
    (tmp_path / "r.toml").write_text(f'name = "x"\nsource.options.path = "{tmp_path}"')
    question = asked(settings.load(tmp_path / "r.toml", ("effort=best", *words)))
    assert set(question.open) == {"size", "fit", "views", "network", "pooling", "beside"} - closed
    assert question.backbone.kind == "efficientnet_lite"


def test_a_view_that_turns_one_class_into_another_is_told(server, three_layers, tmp_path):
    for name, bright in (("left", slice(0, 32)), ("right", slice(32, 64))):
        (tmp_path / "sides" / name).mkdir(parents=True)
        for number in range(30):
            pixels = np.random.default_rng([number, len(name)]).normal(90, 20, (64, 64, 3))
            pixels[:, bright] += 60
            Image.fromarray(pixels.clip(0, 255).astype("uint8")).save(tmp_path / "sides" / name / f"{number}.png")
    recipe = _recipe(tmp_path / "sides", "sides", (*three_layers, "images.size=64"))
    views = ("flip_left_right", "flip_up_down")
    found = searching.Search(check(recipe), asked(recipe).model_copy(update={"views": views}))
    found.run()
    told = {trial.name: trial.reason for trial in found.trials if trial.what == "views"}
    assert "misread" in told["flip left right"]
    assert "flip_left_right" not in found.best.views
