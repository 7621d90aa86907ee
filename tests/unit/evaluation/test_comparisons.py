"""Does transfer help? Gains over trainings and rows, what would tell, and words that say no more than intervals do."""

import numpy as np
import pytest

from tasks.evaluation import learning_curves
from tasks.evaluation.statistics import bootstrap, crossed, equivalence, paired
from tasks.features import probes
from tasks.records import Gain, Gap, PointRef
from tasks.reports import sentences

MARGIN = 0.02


def test_a_gain_is_paired():
    right = np.repeat([1.0, 0.0], 100)
    better = right.copy()
    better[100:110] = 1
    found = bootstrap.gain(better, right, 0)
    assert found.value == pytest.approx(0.05)
    # Two unpaired samples of 200 would leave 0.05 open; row by row all ten differences have one sign.
    assert 0 < found.low < 0.05 < found.high < 0.1
    assert bootstrap.gain(right, right, 0) == Gain(0, 0, 0)


@pytest.mark.parametrize(
    ("low", "high", "finding"),
    [
        (0.001, 0.2, "gain"),
        (0.001, 0.01, "gain"),
        (-0.2, -0.001, "loss"),
        (-0.2, 0.019, "none"),
        (-0.001, 0.021, "open"),
        (-0.02, 0.22, "open"),
    ],
)
def test_only_an_interval_below_the_margin_excludes_a_gain(low, high, finding):
    assert equivalence.finding(Gain((low + high) / 2, low, high), MARGIN) == finding


def test_more_rows_are_asked_for_where_they_would_tell():
    gains = np.repeat([1.0, -1.0, 0.0], [14, 8, 78])
    unsure = equivalence.gain(paired.shares(gains, equivalence.LEVEL), MARGIN)
    assert equivalence.finding(unsure, MARGIN) == "open"
    told = equivalence.gain(paired.shares(np.tile(gains, 1 + unsure.more // 100), equivalence.LEVEL), MARGIN)
    assert equivalence.finding(told, MARGIN) == "gain"
    assert told.more is None
    # Twenty photos of each cell: as many photos tell less, and more of them are needed.
    grouped = np.tile(gains, 4)[np.random.default_rng(0).permutation(400)].repeat(5)
    alike = equivalence.gain(paired.shares(grouped, equivalence.LEVEL, np.arange(2000) // 20), MARGIN)
    alone = equivalence.gain(paired.shares(grouped, equivalence.LEVEL), MARGIN)
    assert alike.low < alone.low


def _values(random, trainings, rows, luck, each=1):
    """Gains of trainings on rows: luck that moves a training as a whole, and that of groups of `each` rows."""
    hard = np.repeat(random.normal(size=rows // each), each)
    return np.tanh(luck * random.normal(size=(trainings, 1)) + hard + random.normal(size=(trainings, rows))) / 2


def test_the_luck_of_a_training_and_of_a_row_are_both_counted():
    random = np.random.default_rng(0)
    calm, lucky = (crossed.mean(_values(random, 5, 1000, luck)) for luck in (0, 1))
    narrow, wide = ((high - low) for low, high in (calm.interval(0.05), lucky.interval(0.05)))
    assert wide > 3 * narrow
    # More trainings help where these differ, and more rows where rows do.
    moved = {name: crossed.Mean(0.05, *parts, 4, 500, 500, 499) for name, parts in _PARTS.items()}
    assert moved["trainings"].more_trainings(0.0, 0.05, 0.8) < 30
    assert moved["trainings"].more_rows(0.0, 0.05, 0.8) is None
    assert moved["rows"].more_trainings(0.0, 0.05, 0.8) is None
    assert 500 < moved["rows"].more_rows(0.0, 0.05, 0.8) < 1500
    # The rows of a group count once.
    rows = _values(random, 5, 1000, 0, each=20)
    alone, alike = (crossed.mean(rows, groups).interval(0.05) for groups in (None, np.arange(1000) // 20))
    assert alike[1] - alike[0] > 2 * (alone[1] - alone[0])


#: Variance from trainings, from rows, and of both alone.
_PARTS = {"trainings": (0.04**2, 0.002**2, 0.002**2), "rows": (0.002**2, 0.03**2, 0.002**2)}


@pytest.mark.parametrize("trainings", [2, 3, 5])
def test_intervals_over_few_trainings_hold(trainings):
    random, missed = np.random.default_rng(trainings), 0
    for _ in range(400):
        low, high = crossed.mean(_values(random, trainings, 200, 0.3)).interval(0.05)
        missed += not low <= 0 <= high
    assert missed <= 30  # 20 are expected; more than 30 come up once in 90 times


def test_where_nothing_differs_nothing_is_certain():
    assert crossed.mean(np.zeros((3, 20))).interval(0.05)[1] > 0.05
    one = crossed.mean(np.ones((1, 20)))
    assert one.more_trainings(0.0, 0.05, 0.8) is None
    assert one.interval(0.05)[0] < 1.0


def _curves(gain, trainings=5, seed=0, rows=400, sizes=(50, 100), methods=("frozen", "scratch"), each=1):
    random, hits = np.random.default_rng(seed), {}
    hard = np.repeat(random.normal(size=rows // each), each)
    for method in methods:
        for size in sizes:
            noise = hard + 0.6 * random.normal(size=(trainings, rows)) + 0.05 * random.normal(size=(trainings, 1))
            limit = 0.6 + (3 * gain if method in ("frozen", "fine_tuned") else 0)
            hits[method, size] = dict(enumerate((noise < limit).astype(float)))
    return learning_curves.Curves(hits, np.arange(rows) // each if each > 1 else None)


def test_the_best_of_each_side_is_compared_at_each_size_for_all_sizes_together():
    found = _curves(0.3, methods=("frozen", "fine_tuned", "scratch", "small_cnn"))
    small, large = learning_curves.gaps(found, MARGIN)
    assert (small.images, large.images, small.trainings) == (50, 100, 5)
    assert 0 < small.gain.low < small.gain.value < small.gain.high
    many = learning_curves.gaps(_curves(0.1, sizes=tuple(range(50, 60))), MARGIN)
    assert many[0].gain.low < learning_curves.gaps(_curves(0.1, sizes=(50,)), MARGIN)[0].gain.low
    alone = {pair: hits for pair, hits in found.hits.items() if pair[0] == "frozen"}
    assert learning_curves.gaps(learning_curves.Curves(alone), MARGIN) == []


def test_equal_methods_are_seldom_called_different():
    methods = ("frozen", "fine_tuned", "small_cnn")
    answers = []
    for seed in range(60):
        found = _curves(0.0, trainings=3, seed=seed, rows=200, methods=methods)
        answers.append(sentences.answer(learning_curves.gaps(found, MARGIN), MARGIN))
    assert sum(answer in ("helps", "harms", "catches up") for answer in answers) <= 6


def test_one_training_shows_nothing_and_what_would_tell_is_said():
    gaps = learning_curves.gaps(_curves(0.1, trainings=1), MARGIN)
    assert sentences.answer(gaps, MARGIN) == "cannot be told"
    said = sentences.comparison(gaps, MARGIN)
    assert f"it gains {100 * gaps[-1].gain.value:.1f} points of accuracy; each method was trained once" in said
    two = learning_curves.gaps(_curves(0.1, trainings=2), MARGIN)
    assert two[-1].more_trainings > 0
    assert "more trainings of each method (compare.seeds) would tell" in sentences.comparison(two, MARGIN)


def test_methods_are_compared_on_the_trainings_that_both_have():
    hits = dict(_curves(0.1).hits)
    hits["scratch", 100] = {seed: hits["scratch", 100][seed] for seed in range(3)}
    gaps = learning_curves.gaps(learning_curves.Curves(hits), MARGIN)
    assert [gap.trainings for gap in gaps] == [5, 3]
    points = [_point(method, 50, seed) for method in ("frozen", "scratch") for seed in range(3)]
    assert learning_curves.short(points) == {}
    assert learning_curves.short(points[:5]) == {"scratch": (2, 3)}
    said = sentences.shortened(learning_curves.short(points[:5]))
    assert said == " The methods were not trained equally often: scratch has 2 of 3 trainings."


def _point(method, images, seed=0):
    scores = {"accuracy": 0.0, "log_loss": 0.5}
    return PointRef(f"{method}{images}{seed}", method, images, 32, seed, scores, "", 1.0 + seed, 1)


def test_points_become_curves_over_their_seeds():
    points = [
        _point(method, images, seed) for method in ("frozen", "scratch") for images in (10, 20) for seed in (0, 1)
    ]
    hits = [(np.arange(100) < 70 + point.seed).astype(float) for point in points]
    levels = learning_curves.levels(points, learning_curves.curves(list(zip(points, hits, strict=True))))
    assert [(level.method, level.images, level.seeds) for level in levels[:2]] == [("frozen", 10, 2), ("frozen", 20, 2)]
    assert levels[0].accuracy == pytest.approx(0.705)
    assert levels[0].seconds == 1.5
    assert levels[0].low < 0.705 < levels[0].high


def _law(images, floor, noise=0.0, slope=0.5):
    return floor + 2 * np.array(images, float) ** -slope + noise


def _reached(errors, target, images=(100, 200, 400, 800, 1600), spread=0.002):
    values = np.append(errors, target)
    return learning_curves.reaches(np.array(images, float), values, np.diag(np.full(len(values), spread**2)), 4)


def test_where_scratch_would_catch_up_is_a_range_or_nothing():
    images = (100, 200, 400, 800, 1600)
    low, high = _reached(_law(images, 0.0), _law([6400], 0.0)[0], spread=0.0005)
    assert 1600 < low < 6400 < high < 48_000
    # A target that the floor may be above has no end.
    low, high = _reached(_law(images, 0.1), 0.09)
    assert high == np.inf
    # Too few points, no law, and a target that is reached already.
    assert _reached(_law(images[:3], 0.0), 0.02, images[:3]) is None
    assert _reached(np.array([0.4, 0.1, 0.35, 0.05, 0.3]), 0.02) is None
    assert _reached(_law(images, 0.0), _law([1600], 0.0)[0]) is None


def test_points_that_vary_much_give_a_wider_range():
    images = (100, 200, 400, 800, 1600)
    sure, unsure = (_reached(_law(images, 0.0), _law([6400], 0.0)[0], spread=spread) for spread in (0.0005, 0.002))
    assert sure[1] - sure[0] < unsure[1] - unsure[0]


def test_a_method_that_has_not_started_to_learn_predicts_nothing():
    found = _curves(0.1, sizes=(10, 20, 40, 80, 160))
    last = learning_curves.gaps(found, MARGIN)[-1]
    assert learning_curves.catches_up(found, last, chance=0.1) is None


def _gap(images, value, width=0.015, trainings=5, **more):
    return Gap(images, "frozen", "scratch", Gain(value, value - width, value + width), trainings, **more)


@pytest.mark.parametrize(
    ("values", "answer", "says"),
    [
        ((0.2, 0.1, 0.05), "helps", "with 10 training images it gains 20.0 points (18.5 to 21.5)"),
        ((0.2, 0.1, 0.05), "helps", "does not catch up with the 1,000 images"),
        ((0.2, 0.0, -0.01), "catches up", "From 100 images on, a gain of 2 points of accuracy or more is excluded."),
        ((0.2, 0.0, -0.1), "catches up", "with 1,000, scratch is better by 10.0 points (8.5 to 11.5)"),
        # That no gain is shown at the last size does not show that there is none.
        ((0.2, 0.1, 0.01), "helps", "Whether training from scratch has caught up with 1,000 images cannot be told"),
        # What is caught up with at one size and not at the next is not.
        ((0.2, 0.0, 0.1), "helps", "with 1,000 10.0 points"),
        ((-0.1, 0.2, 0.0), "catches up", "From 1,000 images on"),
        ((0.0, -0.01, 0.0), "does not help", "a gain of 2 points of accuracy or more is excluded at all of 3 sizes"),
        ((0.0, 0.01, 0.0), "cannot be told", "It cannot be told whether transfer helps here"),
        ((0.0, -0.1, 0.0), "harms", "it loses 10.0 points (8.5 to 11.5) of accuracy to scratch"),
        ((), "unknown", "No verdict"),
    ],
)
def test_verdicts(values, answer, says):
    gaps = [_gap(images, value) for images, value in zip((10, 100, 1000), values, strict=False)]
    assert sentences.answer(gaps, MARGIN) == answer
    assert says in sentences.comparison(gaps, MARGIN)


def test_an_extrapolation_is_told_as_a_range():
    helps = [_gap(1000, 0.1)]
    assert "would need about 3,500 to 5,100 images" in sentences.comparison(helps, MARGIN, (3512.0, 5103.0))
    assert "more than about 3,500 images, if any number," in sentences.comparison(helps, MARGIN, (3512.0, np.inf))
    assert "its points do not show when it would" in sentences.comparison(helps, MARGIN)


@pytest.mark.parametrize(
    ("gap", "says"),
    [
        (_gap(10, 0.01, trainings=1), "only further trainings (compare.seeds) would tell"),
        (_gap(10, 0.01, more_trainings=4), "about 4 more trainings of each method (compare.seeds) would tell"),
        (_gap(10, 0.01), "more trainings (compare.seeds) and more validation images"),
    ],
)
def test_what_would_tell_is_said(gap, says):
    assert says in sentences.comparison([gap], MARGIN)


SCORES = {name: {"accuracy": 0.8, "log_loss": loss} for name, loss in (("pretrained", 0.3), ("random", 0.5))}
SCORES["majority"] = {"accuracy": 0.6, "log_loss": 0.7}
EVEN = Gain(0.0, -0.1, 0.1)


@pytest.mark.parametrize(
    ("accuracy", "losses", "says"),
    [
        (Gain(0.1, 0.05, 0.15), EVEN, "The pretrained weights gain 10.0 points (5.0 to 15.0)"),
        (Gain(0.01, 0.005, 0.015), EVEN, "less than the 2 points that matter"),
        (Gain(-0.1, -0.15, -0.05), EVEN, "harm here: they lose 10.0 points (5.0 to 15.0)"),
        (Gain(0.0, -0.01, 0.01), EVEN, "do not help here: a gain of 2 points of accuracy or more is excluded"),
        (Gain(0.1, -0.02, 0.22, 140), EVEN, "It cannot be told whether the pretrained weights help here"),
        (Gain(0.1, -0.02, 0.22, 140), EVEN, "; about 140 more validation images would tell."),
        (Gain(0.0, -0.02, 0.02), Gain(0.2, 0.1, 0.3), "give better probabilities than random ones, log loss 0.300"),
        (Gain(0.0, -0.02, 0.02), Gain(0.2, 0.1, 0.3), "but whether they gain accuracy cannot be told"),
        (Gain(0.0, -0.01, 0.01), Gain(-0.2, -0.3, -0.1), "give worse probabilities"),
    ],
)
def test_what_a_run_says_of_its_weights_follows_from_the_intervals(accuracy, losses, says):
    said = sentences.weights(SCORES, {"accuracy": accuracy, "log_loss": losses}, MARGIN)
    assert says in said
    assert ("do not help" in said) == (accuracy.low <= 0 <= accuracy.high < MARGIN and losses == EVEN)


def _features(seed, share, each=60):
    """Features of three classes; the classes show in `share` of the deviation."""
    random = np.random.default_rng(seed)
    labels = np.repeat([0, 1, 2], each)
    return random.normal(size=(3 * each, 8)) + share * np.eye(8)[labels], labels


def test_features_that_show_the_classes_win_over_those_that_do_not_whatever_their_scale():
    good, labels = _features(0, 4)
    seen, truth = _features(1, 4)
    noise, _ = _features(2, 0)
    other, _ = _features(3, 0)
    features = {"pretrained": (good, seen), "random": (1e-9 * noise + 1e-3, 1e-9 * other + 1e-3)}
    scores, found = probes.compared(features, labels, truth, 3, MARGIN, 0)
    assert scores["pretrained"]["accuracy"] > 0.9 > 0.5 > scores["random"]["accuracy"]
    assert scores["majority"] == {"accuracy": pytest.approx(1 / 3), "log_loss": pytest.approx(np.log(3))}
    assert found["accuracy"].low > 0.3
    assert found["log_loss"].low > 0
    # The same features in another unit are as good; 180 images show it to within about 2 points.
    features["random"] = (1e-6 * good, 1e-6 * seen)
    same, found = probes.compared(features, labels, truth, 3, 0.03, 0)
    assert same["pretrained"] == pytest.approx(same["random"], abs=1e-6)
    assert "do not help here" in sentences.weights(same, found, 0.03)
    _, alike = probes.compared(features, labels, truth, 3, 0.03, 0, np.arange(180) // 20)
    assert equivalence.finding(alike["accuracy"], 0.03) == "open"


def test_a_class_without_a_training_row_has_probability_0():
    features, labels = _features(0, 4)
    found = probes.probe(features, labels, features, labels, classes=4)
    assert found.shape == (180, 4)
    assert not found[:, 3].any()
