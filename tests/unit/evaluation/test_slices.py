"""Slices: planted bias is found, chance is not, and what fine-tuning did to a gap is told apart from noise."""

import numpy as np
import pandas as pd
import pytest

from tasks.data import sources
from tasks.evaluation import slices
from tasks.evaluation.slices import columns
from tasks.evaluation.statistics import simultaneous
from tasks.reports import html
from tasks.reports.sections import slices as page
from tasks.runtime.errors import UsageError
from tasks.settings import Slices


def _parts(random, n, own=3, values=4):
    """Random columns of several values each."""
    return pd.DataFrame({f"slice_{i}": random.integers(0, values, n).astype(str) for i in range(own)}).astype(object)


def _answers(random, labels, right):
    """Probabilities of two classes, float[n, 2]; a row names its label with the probability `right`, float[n]."""
    sure = 0.5 + 0.5 * random.beta(3, 1, len(labels))
    named = np.where(random.random(len(labels)) < right, labels, 1 - labels)
    return np.where(np.arange(2) == named[:, None], sure[:, None], 1 - sure[:, None])


def _judged(parts, labels, shipped, probe=None, **settings):
    return slices.judge(parts, labels, (shipped, shipped if probe is None else probe), Slices(**settings), 0)


@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
def test_planted_bias_is_found_and_flagged(metric):
    random = np.random.default_rng(0)
    parts, labels = _parts(random, 650), random.integers(0, 2, 650)
    planted = (parts["slice_1"] == "2").to_numpy()
    found = _judged(parts, labels, _answers(random, labels, np.where(planted, 0.7, 0.93)), metric=metric)
    assert len(found) == 12
    worst = found[0]
    assert (worst.column, worst.value, worst.images) == ("1", "2", planted.sum())
    assert worst.flagged
    assert worst.verdict == "worse"
    assert worst.interval[0] <= worst.gap <= worst.interval[1]
    assert set(worst.metrics) == {"accuracy", "log_loss", "balanced_accuracy", "macro_f1"}
    # What is not planted is not called worse; that it is better than a rest with the planted slice in it may be.
    assert not any(score.verdict == "worse" for score in found[1:])


@pytest.mark.parametrize(
    ("metric", "right", "values"), [("accuracy", 0.87, 8), ("accuracy", 0.98, 12), ("log_loss", 0.9, 8)]
)
def test_without_bias_a_run_in_twenty_at_most_flags_anything(metric, right, values):
    alarms = 0
    for seed in range(100):
        random = np.random.default_rng(seed)
        labels = random.integers(0, 2, 400)
        masks = np.hstack([random.integers(0, values, (400, 1)) == np.arange(values) for _ in range(3)])
        answers = _answers(random, labels, np.full(400, right))
        _, low, high = simultaneous.intervals(simultaneous.values(metric, labels, answers), masks, seed)
        alarms += bool(((low > 0) | (high < 0)).any())
    assert alarms <= 9  # at most 5 are expected; 10 and more come up in 3 of 100 cases


def test_a_small_slice_without_a_mistake_is_no_sure_gap():
    labels = np.zeros(600, int)
    right = np.ones(600, bool)
    right[30:60] = False
    parts = pd.DataFrame({"slice_few": np.where(np.arange(600) < 30, "a", "b")})
    found = _judged(parts, labels, np.stack([right, ~right], axis=1).astype(float))
    assert {score.value: score.metrics["accuracy"] for score in found}["a"] == 1
    assert not any(score.flagged for score in found)


def test_all_intervals_cover_the_truth_together_as_often_as_they_say():
    covered = 0
    share = np.array([0.5, 0.3, 0.2])
    for seed in range(200):
        random = np.random.default_rng(1000 + seed)
        values = random.choice(3, 400, p=share)
        right = np.array([0.9, 0.8, 0.95])
        masks = values[:, None] == np.arange(3)
        truth = right - [np.delete(share * right, i).sum() / np.delete(share, i).sum() for i in range(3)]
        _, low, high = simultaneous.intervals((random.random(400) < right[values]).astype(float), masks, seed)
        covered += bool(((low <= truth) & (truth <= high)).all())
    assert covered >= 182  # 190 are expected at least; fewer than 182 come up in 1 of 100 cases


def test_slices_of_a_few_groups_are_flagged_as_rarely_as_promised():
    alarms = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        shared, slices = random.normal(size=80), random.integers(0, 8, 80)
        right = 0.5 * np.repeat(shared, 10) + 0.87 * random.normal(size=800) < 1
        masks = np.repeat(slices, 10)[:, None] == np.arange(8)
        _, low, high = simultaneous.intervals(right.astype(float), masks, seed, np.repeat(np.arange(80), 10))
        alarms += bool(((low > 0) | (high < 0)).any())
    assert alarms <= 17  # at most 10 are expected; 18 and more come up in 1 of 100 cases


def test_intervals_are_not_wider_for_a_slice_that_is_there_twice():
    random = np.random.default_rng(0)
    values, masks = random.random(300), random.random((300, 1)) < 0.4
    _, low, high = simultaneous.intervals(values, masks, 0)
    _, _, twice = simultaneous.intervals(values, np.hstack([masks, ~masks, masks]), 0)
    assert twice[0] - low[0] == pytest.approx(high[0] - low[0], rel=0.02)
    others = random.random((300, 40)) < 0.4
    _, low_of_many, high_of_many = simultaneous.intervals(values, np.hstack([masks, others]), 0)
    assert (high_of_many - low_of_many)[0] > 1.4 * (high - low)[0]


def test_a_planted_reduction_is_told_from_growth_and_from_noise():
    random = np.random.default_rng(1)
    parts, labels = _parts(random, 1200, 2), random.integers(0, 2, 1200)
    planted = (parts["slice_0"] == "1").to_numpy()
    even, biased = np.full(1200, 0.92), np.where(planted, 0.65, 0.92)
    fair, unfair = (_answers(random, labels, right) for right in (even, biased))

    def change(shipped, probe):
        found = _judged(parts, labels, shipped, probe)
        return next(score for score in found if (score.column, score.value) == ("0", "1"))

    reduced, grown = change(fair, unfair), change(unfair, fair)
    assert (reduced.change, grown.change) == ("reduced", "grown")
    assert reduced.probe_gap == pytest.approx(grown.gap)
    assert reduced.change_interval[0] <= reduced.gap - reduced.probe_gap <= reduced.change_interval[1]
    assert change(_answers(random, labels, biased), unfair).change == "no sure change"
    assert change(unfair, unfair).change_interval == (0, 0)
    # Now worse than the rest where it was better by about as much: a sure change, but of what is not sure.
    turned = change(unfair, _answers(random, labels, np.where(planted, 0.93, 0.66)))
    assert turned.change_interval[1] < 0
    assert turned.change == "no sure change"


def _rows(**own):
    """A data set of 80 rows: 40 to train on, dark and small, 40 to test on, bright and large."""
    numbers = np.arange(40.0)
    test = {"brightness": numbers / 100 + 0.2, "width": 200, "height": 100, "sharpness": 5.0, "split": "test"}
    train = {"brightness": numbers / 100, "width": 100, "height": 100, "sharpness": 5.0, "split": "train"}
    return pd.concat([pd.DataFrame(train), pd.DataFrame(test)], ignore_index=True).assign(**own)


def test_images_whose_copy_was_trained_on_are_a_slice_where_there_are_any():
    random = np.random.default_rng(0)
    parts, labels = _parts(random, 400), random.integers(0, 2, 400)
    unseen = random.random(400) < 0.8
    told = slices.with_copies(parts, unseen)
    found = _judged(told, labels, _answers(random, labels, np.where(unseen, 0.75, 1.0)))
    best = found[-1]
    assert (best.column, best.value, best.images) == ("near-copies", "in another split", (~unseen).sum())
    assert best.metrics["accuracy"] == 1.0 and best.gap > 0.2
    assert slices.with_copies(parts, np.ones(400, bool)) is parts


def test_quarters_are_those_of_the_training_rows():
    found = columns.values(_rows(), Slices())
    assert list(found) == ["brightness", "size", "sharpness"]
    names = ["below 0.0975", "0.0975 to 0.195", "0.195 to 0.2925", "0.2925 and above"]
    assert found["brightness"][:40].value_counts().to_dict() == dict.fromkeys(names, 10)
    assert found["brightness"][40:].value_counts().to_dict() == {names[2]: 10, names[3]: 30}
    # What is equal everywhere is one slice, and one slice is none.
    assert found["sharpness"].nunique() == 1
    assert list(columns.values(_rows(), Slices(derived=("size",)))) == ["size"]


def test_columns_with_many_values_and_measurements_are_left_out_unless_they_are_named():
    rows = _rows(
        slice_camera=["a", "b", "c", None] * 20,
        slice_site=[1.0, 2.0, np.nan, 4.0] * 20,
        slice_name=[f"image {i}" for i in range(80)],
        slice_share=[0.25, 0.5] * 40,
        slice_width=[str(i) for i in range(80)],
    )
    found = columns.values(rows, Slices(derived=()))
    assert list(found) == ["slice_camera", "slice_site"]
    assert found["slice_camera"].unique().tolist() == ["a", "b", "c", "(none)"]
    assert found["slice_site"].unique().tolist() == ["1", "2", "(none)", "4"]
    named = columns.values(rows, Slices(columns=("share", "width"), derived=()))
    assert named["slice_share"].unique().tolist() == ["0.25", "0.5"]
    assert named["slice_width"].nunique() == 4
    with pytest.raises(UsageError, match=r"at most 20 values in a column, found 80 texts in 'name'"):
        columns.values(rows, Slices(columns=("name",)))
    with pytest.raises(UsageError, match=r"which has camera, site, name, share, width; found 'kamera'"):
        columns.values(rows, Slices(columns=("kamera",)))


def test_a_column_of_a_source_takes_no_fact_away():
    rows = sources.prefixed(pd.DataFrame({"uri": ["a"], "label": ["b"], "width": ["wide"], "key": ["k"]}))
    assert list(rows) == ["uri", "label", "slice_width", "slice_key"]


def test_slices_that_are_too_small_or_all_there_is_are_not_judged():
    labels = np.arange(100) % 2
    parts = pd.DataFrame({"slice_a": ["x"] * 95 + ["y"] * 5, "slice_b": "z", "slice_c": ["u", "v"] * 50})
    found = _judged(parts, labels, np.eye(2)[labels], min_images=10)
    assert [(score.column, score.value) for score in found] == [("c", "u"), ("c", "v")]
    # One class alone: what needs every class is not there, and nothing is wrong with a gap of nothing.
    assert set(found[0].metrics) == {"accuracy", "log_loss"}
    assert {(score.flagged, score.change) for score in found} == {(False, "no sure change")}
    assert _judged(parts[["slice_b"]], labels, np.eye(2)[labels]) == ()


def test_fifty_thousand_rows_take_little_memory():
    import tracemalloc

    random = np.random.default_rng(0)
    masks = random.random((50_000, 15)) < 0.3
    tracemalloc.start()
    simultaneous.intervals(random.random(50_000), masks, 0)
    assert tracemalloc.get_traced_memory()[1] < 100 * 2**20
    tracemalloc.stop()


def test_the_page_shows_gaps_and_changes_and_escapes_what_a_source_says():
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 200)
    parts = pd.DataFrame({"slice_<b>": np.where(np.arange(200) < 80, "<script>", "b")})
    right = np.where(np.arange(200) < 80, 0.6, 0.98)
    found = _judged(parts, labels, _answers(random, labels, right))
    text = html.blocks(page.section(found, "blocks", "probe"))
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert "<b>worse</b>" in text
    assert "gap, probe" in text
    assert "nothing to compare" in html.blocks(page.section(found, "probe", "probe"))
    assert "No column splits" in html.blocks(page.section((), "blocks", "probe"))
    assert list(slices.table(found)["value"]) == ["<script>", "b"]
