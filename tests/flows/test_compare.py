"""Did transfer help? Parts of the data, the check of every run, and a whole small comparison."""

import dataclasses
import json

import helpers
import numpy as np
import pandas as pd
import pytest

from tasks import settings
from tasks.data import subsets
from tasks.features.batches import Batches, repeated, subset
from tasks.networks import backbones
from tasks.records import AuditRef, Level
from tasks.reports.blocks import Text
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
    words += ("compare.seeds=1", "split.salt=compared")  # nothing of other tests' runs is taken for it
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
    assert [(gap["images"], gap["trainings"]) for gap in summary["gains"]] == [(6, 1), (whole, 1)]
    assert summary["transfer"] == "cannot be told"
    assert "each method was trained once" in summary["verdict"]
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
    assert "each method was trained once" in run.data.tags["mlflow.note.content"]
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
    # What is there is taken, at any size.
    assert {level.images for level in again.curves.levels} == {6, compared.dataset.counts["train"]}
    assert len(again.curves.notes) == 4
    assert again.curves.notes[3].startswith("fine_tuned: 1 of 3 trainings were not done, as 1e-06 minutes")


def test_two_trainings_give_an_interval_and_one_that_is_missing_is_said(compared, recipe):
    from flows.compare import compare

    small = {"methods": ("frozen", "small_cnn"), "shares": (), "per_class": (2,), "seeds": 2}
    again = compare(recipe.model_copy(update={"compare": recipe.compare.model_copy(update=small)}))
    (gap,) = again.curves.gaps
    assert gap.trainings == 2
    assert -1 <= gap.gain.low < gap.gain.value < gap.gain.high <= 1
    more = {"methods": ("frozen", "small_cnn", "fine_tuned"), "max_minutes": 1e-6}
    cut = compare(recipe.model_copy(update={"compare": recipe.compare.model_copy(update=small | more)}))
    assert cut.curves.verdict.endswith("not trained equally often: fine_tuned has 1 of 2 trainings.")


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
    args = (images, features, AuditRef("none"), r.extraction)
    found = check_transfer.body(*args, less, 0)
    assert found.images == 12
    assert set(found.scores) == {"pretrained", "random", "majority"}
    assert Text(found.sentence) in transfers.section(found)
    assert set(found.numbers) >= {"pretrained_accuracy", "random_log_loss", "accuracy_gain", "accuracy_gain_low"}
    assert check_transfer.body(*args, less, 0) == found
    off = check_transfer.body(*args, settings.TransferCheck(enabled=False), 0)
    assert "enabled is false" in off.sentence
    assert transfers.section(off) == [Text(off.sentence)]

    def of(backbone):
        return check_transfer.body(*args[:3], r.extraction.model_copy(update={"backbone": backbone}), less, 0)

    assert "own weights are random" in of(r.backbone.model_copy(update={"weights": "random"})).sentence
    file = settings.Backbone(kind="file", weights="x.keras")
    assert "kind file are not available with random weights" in of(file).sentence
