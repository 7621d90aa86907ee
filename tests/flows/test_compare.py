"""Did transfer help? Parts of the data, gains, verdicts, the check of every run, and a whole small comparison."""

import dataclasses
import json

import helpers
import numpy as np
import pandas as pd
import pytest

from tasks import settings
from tasks.data import subsets
from tasks.evaluation import learning_curves
from tasks.evaluation.statistics import bootstrap
from tasks.features import probes
from tasks.features.batches import Batches, repeated, subset
from tasks.networks import backbones
from tasks.records import Gain, Gap, Level, PointRef
from tasks.reports import sentences
from tasks.reports.sections import transfers
from tasks.runtime.errors import UsageError
from tasks.runtime.home import home
from tasks.services import tracking

LABELS = np.repeat([0, 1, 2], [60, 30, 3])


def test_parts_are_stratified_and_hold_the_smaller_ones():
    parts = subsets.parts((0.1, 0.5, 1.0), (5, 20), (60, 30, 3))
    # 5 a class are all 3 of the rarest; a share leaves at least one of it.
    assert list(parts) == [6 + 3 + 1, 5 + 5 + 3, 20 + 20 + 3, 30 + 15 + 2, 93]
    rows = {count: subsets.rows(LABELS, part, seed=0) for count, part in parts.items()}
    for count, found in rows.items():
        assert len(set(found)) == len(found) == count
    assert np.bincount(LABELS[rows[47]]).tolist() == [30, 15, 2]
    assert set(rows[10]) < set(rows[47]) < set(rows[93])
    assert set(rows[13]) < set(rows[43])
    np.testing.assert_array_equal(subsets.rows(LABELS, parts[10], 0), rows[10])
    assert not np.array_equal(subsets.rows(LABELS, parts[10], 1), rows[10])
    assert len(subsets.at_most(LABELS, 31, 0)) == 20 + 10 + 1
    assert len(subsets.at_most(LABELS, 1000, 0)) == 93


def test_a_part_of_batches_keeps_all_views_of_its_images_and_a_small_one_is_repeated():
    # Three images in two views: 0, 1 are the first one's.
    batches = Batches(lambda at: np.arange(6, dtype="float32")[at], np.array([0, 0, 1, 1, 2, 2]))
    some = subset(batches, np.array([0, 2]), images=3)
    assert some.everything().tolist() == [0, 1, 4, 5]
    assert some.labels.tolist() == [0, 0, 2, 2]
    more = repeated(some, 10)
    assert more.everything().tolist() == [0, 1, 4, 5] * 3
    assert more.labels.tolist() == [0, 0, 2, 2] * 3
    assert len(repeated(some, 3).labels) == 4


def test_a_gain_is_paired():
    right = np.repeat([1.0, 0.0], 100)
    better = right.copy()
    better[100:110] = 1
    found = bootstrap.gain(better, right, 0)
    assert found.value == pytest.approx(0.05)
    # Two unpaired samples of 200 would leave 0.05 open; row by row all ten differences have one sign.
    assert 0 < found.low < 0.05 < found.high < 0.1
    assert bootstrap.gain(right, right, 0) == Gain(0, 0, 0)


def _gap(images, value, width=0.02):
    return Gap(images, "frozen", "scratch", Gain(value, value - width, value + width))


@pytest.mark.parametrize(
    ("values", "answer", "says"),
    [
        ((0.2, 0.1, 0.05), "helps", "with 10 training images it gains 20.0 points (18.0 to 22.0)"),
        ((0.2, 0.1, 0.05), "helps", "does not catch up with the 1,000 images"),
        ((0.2, 0.01, -0.01), "catches up", "From 100 images on, training from scratch is not significantly worse."),
        ((0.2, 0.0, -0.1), "catches up", "with 1,000, scratch is better by 10.0 points (8.0 to 12.0)"),
        # What is caught up with at one size and not at the next is not.
        ((0.2, 0.0, 0.1), "helps", "with 1,000 10.0 points"),
        ((-0.1, 0.2, 0.0), "catches up", "From 1,000 images on"),
        ((0.01, -0.01, 0.015), "does not help", "at none of 3 sizes"),
        (
            (0.01, -0.1, 0.0),
            "harms",
            "with 100 training images it loses 10.0 points (8.0 to 12.0) of accuracy to scratch",
        ),
        ((), "unknown", "No verdict"),
    ],
)
def test_verdicts(values, answer, says):
    gaps = [_gap(images, value) for images, value in zip((10, 100, 1000), values, strict=False)]
    assert sentences.answer(gaps) == answer
    assert says in sentences.comparison(gaps)


def test_where_scratch_would_catch_up_is_an_extrapolation_where_the_points_tell():
    images = np.array([10, 30, 100, 300, 1000])
    errors = 2 * images**-0.5
    # The first two are no better than chance.
    errors[:2] = 0.5, 0.48
    assert learning_curves.reaches(images, errors, 2 * 4000**-0.5, 0.5) == pytest.approx(4000, rel=1e-3)
    assert "about 4,000 images" in sentences.comparison([_gap(1000, 0.1)], 4012.3)
    assert "extrapolated" in sentences.comparison([_gap(1000, 0.1)], 4012.3)
    assert "do not show" in sentences.comparison([_gap(1000, 0.1)])
    # Too far, not beyond the points, no slope, scattered, too few below chance, nothing to reach.
    assert learning_curves.reaches(images, errors, 2 * 1e6**-0.5, 0.5) is None
    assert learning_curves.reaches(images, errors, 0.2, 0.5) is None
    assert learning_curves.reaches(images, np.full(5, 0.3), 0.1, 0.5) is None
    assert learning_curves.reaches(images, np.array([0.4, 0.1, 0.35, 0.05, 0.3]), 0.02, 0.5) is None
    assert learning_curves.reaches(images, errors, 0.03, 0.15) is None
    assert learning_curves.reaches(images, errors, 0.0, 0.5) is None


def _point(method, images, log_loss=0.5, seed=0):
    scores = {"accuracy": 0.0, "log_loss": log_loss}
    return PointRef(f"{method}{images}{seed}", method, images, 32, seed, scores, "", 1.0 + seed, 1)


def test_points_become_curves_over_their_seeds_and_the_best_of_each_side_is_compared():
    right = {"frozen": 0.7, "fine_tuned": 0.8, "scratch": 0.5, "small_cnn": 0.6}
    points = [
        (_point(method, images, seed=seed), np.arange(100) < 100 * share + seed)
        for method, share in right.items()
        for images in (10, 20)
        for seed in (0, 1)
        if (method, images) != ("small_cnn", 20)
    ]
    found = learning_curves.levels(points, 0)
    levels = [level for level, _ in found]
    assert [(level.method, level.images, level.seeds) for level in levels[:2]] == [("frozen", 10, 2), ("frozen", 20, 2)]
    assert levels[0].accuracy == pytest.approx(0.705)
    assert levels[0].seconds == 1.5
    assert levels[0].low < 0.705 < levels[0].high
    small, large = learning_curves.gaps(found, 0)
    assert (small.transfer, small.scratch, large.scratch) == ("fine_tuned", "small_cnn", "scratch")
    assert small.gain.value == pytest.approx(0.2)
    assert learning_curves.gaps([pair for pair in found if pair[0].method == "frozen"], 0) == []
    assert learning_curves.catches_up(levels, large, 0.9) is None


def _features(seed, share):
    """Features of three classes; the classes show in `share` of the deviation."""
    random = np.random.default_rng(seed)
    labels = np.repeat([0, 1, 2], 60)
    return random.normal(size=(180, 8)) + share * np.eye(8)[labels], labels


def test_features_that_show_the_classes_win_over_those_that_do_not_whatever_their_scale():
    good, labels = _features(0, 4)
    seen, truth = _features(1, 4)
    noise, _ = _features(2, 0)
    other, _ = _features(3, 0)
    features = {"pretrained": (good, seen), "random": (1e-9 * noise + 1e-3, 1e-9 * other + 1e-3)}
    scores, found = probes.compared(features, labels, truth, 3, 0)
    assert scores["pretrained"]["accuracy"] > 0.9 > 0.5 > scores["random"]["accuracy"]
    assert scores["majority"] == {"accuracy": pytest.approx(1 / 3), "log_loss": pytest.approx(np.log(3))}
    assert found["accuracy"].low > 0.3
    assert found["log_loss"].low > 0
    said = sentences.weights(scores, found)
    assert said.startswith(f"The pretrained weights gain {100 * found['accuracy'].value:.1f} points (")
    # The same features in another unit are as good.
    same, found = probes.compared(
        {"pretrained": (good, seen), "random": (1e-6 * good, 1e-6 * seen)}, labels, truth, 3, 0
    )
    assert same["pretrained"] == pytest.approx(same["random"], abs=1e-6)
    assert "do not help here" in sentences.weights(same, found)
    worse, found = probes.compared(dict(zip(("random", "pretrained"), features.values())), labels, truth, 3, 0)  # noqa: B905
    assert "harm here: they lose" in sentences.weights(worse, found)


def test_better_probabilities_alone_are_said_to_be_that():
    scores = {name: {"accuracy": 0.8, "log_loss": loss} for name, loss in (("pretrained", 0.3), ("random", 0.5))}
    scores["majority"] = {"accuracy": 0.6, "log_loss": 0.7}
    found = {"accuracy": Gain(0.0, -0.02, 0.02), "log_loss": Gain(0.2, 0.1, 0.3)}
    assert "log loss 0.300 against 0.500, but no significant gain in accuracy" in sentences.weights(scores, found)


def test_a_class_without_a_training_row_has_probability_0():
    features, labels = _features(0, 4)
    found = probes.probe(features, labels, features, labels, classes=4)
    assert found.shape == (180, 4)
    assert not found[:, 3].any()


def test_random_weights_of_the_same_network(tmp_path):
    from tasks.settings import Backbone

    assert backbones.randomised(Backbone(options={"variant": "lite1"})).weights == "random"
    assert backbones.randomised(Backbone(kind="file", weights=str(tmp_path / "x.keras"))) is None


def test_from_scratch_everything_is_trained_and_nothing_is_pretrained():
    from tasks.networks import freezing
    from tasks.settings import Backbone
    from tasks.training import from_scratch

    random = backbones.randomised(Backbone())
    network = from_scratch.network(random, 32, 2)
    assert network.output_shape == (None, 2)
    left = {id(v) for v in network.variables} - {id(v) for v in network.trainable_variables}
    assert left == {id(v) for v in freezing.statistics(network)}
    assert len(network.trainable_variables) > 100
    kernel = network.get_layer("conv_stem").kernel.numpy()
    np.testing.assert_array_equal(kernel, backbones.load(random, 32).model.get_layer("conv_stem").kernel.numpy())
    assert not np.array_equal(kernel, backbones.load(Backbone(), 32).model.get_layer("conv_stem").kernel.numpy())


@pytest.fixture(scope="session")
def recipe(colours, three_layers, tmp_path_factory):
    """Of a network out of a file, of which there is none with random weights."""
    folder = tmp_path_factory.mktemp("recipe")
    (folder / "r.toml").write_text(helpers.recipe(colours, "compared", "[validation]\nmax_rejected = 0.1"))
    words = ("compare.shares=[1.0]", "compare.per_class=[2]", "compare.epochs=1", "compare.small_size=32")
    words += ("split.salt=compared",)  # nothing of other tests' runs is taken for it
    return settings.load(folder / "r.toml", (*words, *three_layers))


@pytest.fixture(scope="session")
def compared(server, recipe):
    from flows.compare import compare

    return compare(recipe)


def test_every_method_is_measured_at_every_size(compared):
    summary = compared.summary()
    assert json.loads(json.dumps(summary)) == summary
    methods = {(level["method"], level["images"]) for level in summary["curves"]}
    whole = summary["images"]["train"]
    assert methods == {(m, n) for m in ("frozen", "small_cnn", "fine_tuned") for n in (6, whole)}
    assert [gap["images"] for gap in summary["gains"]] == [6, whole]
    assert summary["transfer"] in ("helps", "catches up", "does not help", "harms")
    assert summary["verdict"]
    assert summary["notes"] == [
        "scratch was not trained: backbones of kind file are not available with random weights.",
    ]
    frozen = next(level for level in compared.curves.levels if (level.method, level.images) == ("frozen", whole))
    assert frozen.accuracy > 0.8
    assert frozen.low <= frozen.accuracy <= frozen.high
    table = pd.read_csv(home() / compared.curves.path)
    assert len(table) == 6
    assert list(table.columns) == [field.name for field in dataclasses.fields(Level)]
    assert (home() / compared.curves.figure).read_bytes().startswith(b"\x89PNG")
    assert [len(rows) for rows in transfers.tables(compared.curves)] == [6, 2]


def test_the_curves_are_in_mlflow_over_the_number_of_images(compared):
    client = tracking.client()
    run = client.get_run(compared.run_id)
    assert run.data.tags["mlflow.runName"] == "compare compared"
    history = client.get_metric_history(compared.run_id, "small_cnn.accuracy")
    assert {metric.step for metric in history} == {6, compared.dataset.counts["train"]}


def test_a_comparison_that_is_repeated_computes_nothing(compared, recipe):
    from flows.compare import compare

    again = compare(recipe.model_copy(update={"compare": recipe.compare.model_copy(update={"max_minutes": 1e-6})}))
    # What is there already is taken, whatever the time.
    assert all(log.cached for log in again.stages.values())
    assert again.curves == compared.curves


def test_what_the_time_was_too_short_for_is_said(compared, recipe):
    from flows.compare import compare

    more = {"max_minutes": 1e-6, "per_class": (2, 3)}
    again = compare(recipe.model_copy(update={"compare": recipe.compare.model_copy(update=more)}))
    assert {level.images for level in again.curves.levels} == {6}
    assert len(again.curves.notes) == 4
    assert "fine_tuned was not trained on 9 or more images: 1e-06 minutes" in again.curves.notes[2]


def test_random_weights_are_not_compared_with_themselves(recipe):
    from flows.compare import compare

    backbone = recipe.backbone.model_copy(update={"weights": "random"})
    with pytest.raises(UsageError, match="expected pretrained weights"):
        compare.fn(recipe.model_copy(update={"backbone": backbone}))


def test_the_check_of_a_run_sees_the_same_images_with_both_weights(server, colours, tmp_path):
    from prefect import flow

    from tasks.stages.data.ingest import ingest
    from tasks.stages.data.preprocess import preprocess
    from tasks.stages.data.validate import validate
    from tasks.stages.features.check_transfer import check_transfer
    from tasks.stages.features.extract import extract

    (tmp_path / "r.toml").write_text(helpers.recipe(colours, "checked", "[validation]\nmax_rejected = 0.1"))
    r = settings.load(tmp_path / "r.toml", ("split.salt=checked",))

    @flow
    def prepared():
        with tracking.run(r.name, "test", {}):
            images = preprocess(validate(ingest(r.source, r.images, r.labels), r.split, r.validation, r.name), r.images)
            return images, extract(images, r.extraction)

    images, features = prepared()
    less = settings.TransferCheck(images=12)
    args = (images, features, r.extraction)
    found = check_transfer.body(*args, less, 0)
    assert found.images == 12
    assert set(found.scores) == {"pretrained", "random", "majority"}
    assert found.sentence in transfers.section(found)
    assert set(found.numbers) >= {"pretrained_accuracy", "random_log_loss", "accuracy_gain", "accuracy_gain_low"}
    assert check_transfer.body(*args, less, 0) == found
    off = check_transfer.body(*args, settings.TransferCheck(enabled=False), 0)
    assert "enabled is false" in off.sentence
    assert transfers.section(off) == f"<p>{off.sentence}</p>"

    def of(backbone):
        return check_transfer.body(images, features, r.extraction.model_copy(update={"backbone": backbone}), less, 0)

    assert "own weights are random" in of(r.backbone.model_copy(update={"weights": "random"})).sentence
    file = settings.Backbone(kind="file", weights="x.keras")
    assert "kind file are not available with random weights" in of(file).sentence
