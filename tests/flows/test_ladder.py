"""What the ladder is made of: learning rates, the search for one, weights in between, and the choice of a rung."""

import helpers
import numpy as np
import pytest

from flows.parts.rungs import Rungs
from flows.train import train
from tasks import settings
from tasks.evaluation.statistics import bootstrap
from tasks.features.batches import Batches, jittered
from tasks.networks import classifiers, freezing, pooling
from tasks.networks.cutting import Backbone
from tasks.networks.files import load
from tasks.runtime import plugins
from tasks.runtime.errors import UsageError
from tasks.runtime.home import home
from tasks.services import tracking
from tasks.training import fine_tuning, fit, optimizers, precision
from tasks.training.heads import head_fitting
from tasks.training.trials import lr_finder, racing
from tasks.training.weights import interpolation

BRIEF = ("audit.enabled=false", "transfer_check.enabled=false")


@pytest.fixture
def data():
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 96)
    images = random.normal(size=(96, 8, 8, 3)) + labels[:, None, None, None]
    return Batches(lambda positions: images[positions].astype("float32"), labels)


BLOCKS = ("norm_0", "norm_1", "norm_2")


def _network():
    import keras

    fit.seed_everything(0)
    x = pixels = keras.Input((8, 8, 3))
    for number in range(3):
        x = keras.layers.Conv2D(4, 3, padding="same", name=f"conv_{number}")(x)
        x = keras.layers.BatchNormalization(name=f"norm_{number}")(x)
        x = keras.layers.ReLU(name=f"relu_{number}")(x)
    features = pooling.pooled(Backbone(keras.Model(pixels, x), BLOCKS), "avg")
    network = classifiers.classifier(features, plugins.entry("heads", "linear")(features.output_shape[1:], 2))
    freezing.unfreeze(network)
    return network


def _plan(**others):
    values = {"epochs": 2, "patience": 9, "learning_rate": 1e-2, "weight_decay": 0.0, "batch_size": 16, "seed": 0}
    return fit.Plan(**(values | others))


def _moves(network, data, plan):
    """How far each layer's kernel went in training."""
    kernels = [v for v in network.trainable_variables if v.path.endswith("kernel")]
    before = [v.numpy() for v in kernels]
    fit.fit(classifiers.to_logits(network), data, data, plan)
    return {v.path.split("/")[-2]: np.abs(v.numpy() - b).mean() for v, b in zip(kernels, before, strict=True)}


def test_blocks_nearer_to_the_input_move_less(data):
    network = _network()
    shares = optimizers.layer_wise(network, BLOCKS, 0.1)
    assert shares == pytest.approx(
        {
            path: share
            for number, share in enumerate((1e-3, 1e-2, 1e-1))
            for path in (f"conv_{number}/kernel", f"conv_{number}/bias")
        }
        | {v.path: 1.0 for v in network.get_layer("head").trainable_variables}
    )
    moved = _moves(network, data, _plan(shares=shares))
    assert 3 * moved["conv_0"] < moved["conv_1"] < moved["conv_2"] / 3
    assert optimizers.layer_wise(network, BLOCKS, 1.0) == {}


def test_the_learning_rate_rises_then_falls():
    schedule = optimizers.schedule(0.1, 100, warm_up=0.2, cosine=True)
    at = [float(schedule(step)) for step in (0, 10, 20, 60, 100)]
    np.testing.assert_allclose(at, [0, 0.05, 0.1, 0.05, 0], atol=1e-6)
    stays = optimizers.schedule(0.1, 100, warm_up=0.2, cosine=False)
    np.testing.assert_allclose([float(stays(step)) for step in (10, 20, 99)], [0.05, 0.1, 0.1], atol=1e-6)
    assert optimizers.schedule(0.1, 100, warm_up=0, cosine=False) == 0.1
    np.testing.assert_allclose(
        float(optimizers.schedule(0.1 * 0.5, 100, warm_up=0.2, cosine=True)(20)), 0.05, atol=1e-6
    )


@pytest.mark.parametrize("shares", [False, True])
def test_the_moving_average_is_what_is_validated_and_kept(data, shares):
    network = _network()
    plan = _plan(ema=0.99, shares=optimizers.layer_wise(network, BLOCKS, 0.9) if shares else {})
    averaged = _moves(network, data, plan)
    raw = _moves(_network(), data, _plan(shares=plan.shares))
    # Twelve steps of an average with momentum 0.99 are far behind the weights themselves.
    assert all(0 < averaged[name] < 0.5 * raw[name] for name in raw)
    history = fit.fit(classifiers.to_logits(network), data, data, plan)
    found = fit.scores(fit.predict(classifiers.to_logits(network), data), data.labels)["log_loss"]
    assert found == pytest.approx(min(history.validation_loss), rel=1e-4)


def test_gradients_are_clipped(data):
    """Plain AdamW does not see the size of a gradient; its first step after one of another size does."""
    import keras

    optimizer = optimizers.optimizer(lambda share: 0.1 * share, {}, 0.0, 1.0, 0.0)
    assert optimizer.global_clipnorm == 1
    clipped = keras.ops.convert_to_numpy(optimizer._clip_gradients([keras.ops.ones((4, 4)) * 100])[0])
    assert np.linalg.norm(clipped) == pytest.approx(1)
    assert optimizers.optimizer(lambda share: 0.1 * share, {}, 0.0, 0.0, 0.0).global_clipnorm is None


def test_a_learning_rate_is_found_and_the_weights_stay(data):
    network = _network()
    before = [v.numpy() for v in network.variables]
    found = lr_finder.rate(classifiers.to_logits(network), data, _plan())
    for old, new in zip(before, network.variables, strict=True):
        np.testing.assert_array_equal(old, new.numpy())
    changed = jittered(data, ("identity", "flip_up_down"), 0.1, seed=0)
    drawn = changed.random.bit_generator.state
    assert lr_finder.rate(classifiers.to_logits(network), changed, _plan()).rate
    assert changed.random.bit_generator.state == drawn
    assert len(found.rates) == len(found.losses) <= 80
    assert 1e-5 < found.rate < 3e-2
    # It trains, and better than a learning rate a thousand times smaller.
    logits = classifiers.to_logits(network)
    good = min(fit.fit(logits, data, data, _plan(learning_rate=found.rate)).validation_loss)
    slow = min(
        fit.fit(classifiers.to_logits(_network()), data, data, _plan(learning_rate=found.rate / 1e3)).validation_loss
    )
    assert good < slow


def test_a_learning_rate_is_found_for_a_network_that_begins_at_its_lowest_loss(data):
    network = _network()
    head = classifiers.to_logits(network)
    fit.fit(head, data, data, _plan(epochs=30, patience=30))
    assert lr_finder.rate(head, data, _plan()).rate > 1e-5


def test_weights_in_between_and_their_statistics(data):
    frozen, tuned = _network(), _network()
    fit.fit(classifiers.to_logits(tuned), data, data, _plan())
    ends = [[v.numpy() for v in network.variables] for network in (frozen, tuned)]
    between = interpolation.moved(frozen, tuned)
    assert {v.path.split("/")[-2] for v, _, _ in between} == {"conv_0", "conv_1", "conv_2", "logits"}
    for share, expected in ((0.0, ends[0]), (1.0, ends[1])):
        interpolation.set_share(between, share)
        for variable, value in zip(tuned.variables, expected, strict=True):
            np.testing.assert_allclose(variable.numpy(), value, atol=1e-6)
    interpolation.set_share(between, 0.25)
    np.testing.assert_allclose(
        tuned.get_layer("conv_1").kernel.numpy(),
        0.75 * frozen.get_layer("conv_1").kernel.numpy()
        + 0.25 * ends[1][[v.path for v in tuned.variables].index("conv_1/kernel")],
        atol=1e-6,
    )
    interpolation.renew_statistics(classifiers.to_logits(tuned), data, 0)
    import keras

    first = keras.Model(tuned.input, tuned.get_layer("conv_0").output).predict(data.everything(), verbose=0)
    # 96 rows are one batch of 64 and more: the average over them is the mean of all.
    np.testing.assert_allclose(tuned.get_layer("norm_0").moving_mean.numpy(), first.mean(axis=(0, 1, 2)), atol=1e-4)
    assert all(layer.momentum == 0.99 and not layer.trainable for layer in freezing.norms(tuned))


def test_sixteen_bits_inside_thirty_two_outside(data):
    network = _network()
    logits = classifiers.to_logits(network)
    with precision.mixed(logits, "mixed_bfloat16"):
        assert network.get_layer("conv_1").compute_dtype == "bfloat16"
        history = fit.fit(logits, data, data, _plan())
    assert history.loss[-1] < history.loss[0]
    assert all(layer.compute_dtype == "float32" for layer in network.layers)
    assert all(v.dtype == "float32" for v in network.variables)
    with precision.mixed(logits, "float32"):
        assert network.get_layer("conv_1").compute_dtype == "float32"


def test_losses_are_those_of_the_labels():
    probabilities = np.array([[0.9, 0.1], [0.0, 1.0]])
    np.testing.assert_allclose(
        bootstrap.losses(np.array([0, 0]), probabilities), [-np.log(0.9), -np.log(bootstrap.FLOOR)]
    )


@pytest.mark.parametrize(
    "words",
    [("ladder.ship=whole",), ("ladder.ship=averaged",), ("ladder.ship=interpolated", "ladder.interpolate=false")],
)
def test_a_rung_that_is_not_tried_cannot_be_shipped(tmp_path, words):
    (tmp_path / "r.toml").write_text(helpers.recipe(tmp_path))
    with pytest.raises(UsageError, match="is not one of the rungs that are tried: probe, head, blocks"):
        settings.load(tmp_path / "r.toml", words)


def test_a_ladder_that_ends_below_its_start_is_refused(tmp_path):
    (tmp_path / "r.toml").write_text(helpers.recipe(tmp_path))
    with pytest.raises(UsageError, match=r"start_at = 'head' is above stop_at = 'probe'"):
        settings.load(tmp_path / "r.toml", ("ladder.start_at=head", "ladder.stop_at=probe"))


def test_the_whole_network_and_a_refit_of_the_rung_that_was_chosen(server, colours, three_layers, tmp_path):
    (tmp_path / "r.toml").write_text(helpers.recipe(colours, "whole", "[validation]\nmax_rejected = 0.1"))
    words = ("ladder.start_at=head", "ladder.stop_at=whole", "ladder.refit=true", "whole.epochs=1", "head.epochs=1")
    words += ('ladder.average=["rungs"]', "ladder.seeds=2", "ladder.interpolate=false", "ladder.ship=averaged")
    words += (*three_layers, *BRIEF)
    # A confidence of a half takes the rung with the lowest loss.
    done = train(settings.load(tmp_path / "r.toml", (*words, "ladder.confidence=0.501", "whole.learning_rate=find")))
    assert [score.rung for score in done.ladder.scores] == ["head", "blocks", "whole", "averaged"]
    tuned = min(done.ladder.rungs[1:3], key=lambda rung: rung.validation.scores["log_loss"]).rung
    assert done.model.origin.averages == ("head", tuned, tuned)
    stage = {"blocks": "fine_tune", "whole": "whole"}[tuned]
    assert {f"{stage}_2", f"refit_{stage}", f"refit_{stage}_2", "refit_average"} <= done.stages.keys()
    assert done.model.rung == done.ladder.chosen.rung
    assert done.model.digest != done.ladder.chosen.digest
    assert any(name.startswith("refit_") for name in done.stages)
    assert done.model.training.epochs == done.ladder.chosen.training.epochs
    # It has seen the validation images; what the page says of them is from before.
    assert done.model.validation == done.ladder.chosen.validation
    assert "for the same number of epochs, on the validation images too" in (home() / done.page.path).read_text()
    again = train(settings.load(tmp_path / "r.toml", (*words, "ladder.confidence=0.501", "whole.learning_rate=find")))
    assert all(log.cached for log in again.stages.values())


def test_the_best_settings_of_a_race_are_trained_and_stay_with_the_version(
    server, colours, three_layers, tmp_path, monkeypatch
):
    (tmp_path / "r.toml").write_text(helpers.recipe(colours, "raced", "[validation]\nmax_rejected = 0.1"))
    # At the given rate nothing moves, so that a larger one is better.
    words = (
        "ladder.start_at=head",
        "ladder.interpolate=false",
        "fine_tune.learning_rate=1e-12",
        "fine_tune.trials=1",
        "fine_tune.epochs=40",
    )
    words += ("head.kind=linear", "head.epochs=1", "ladder.refit=true", "ladder.ship=blocks", *three_layers, *BRIEF)
    words += ('images.views=["identity", "flip_left_right"]', 'ladder.average=["views", "rungs"]')
    monkeypatch.setattr(racing, "FACTORS", (1e10, 0.5))
    fitted, built = [], head_fitting.built
    monkeypatch.setattr(head_fitting, "built", lambda *args: fitted.append(len(args[3].labels)) or built(*args))
    recipe = settings.load(tmp_path / "r.toml", words)
    done = train(recipe)
    (race,) = done.ladder.races
    assert [trial.what for trial in race.trials] == ["given", "learning rate"]
    assert race.trials[1].taken and race.chosen == {"learning_rate": pytest.approx(0.01), "trials": 0}
    # The head of its trials has not seen what judges them.
    assert (done.dataset.counts["train"] - race.judged) * len(recipe.images.views) in fitted
    assert race.images + race.judged <= done.dataset.counts["train"]
    assert done.recipe["fine_tune"]["learning_rate"] == pytest.approx(0.01)
    assert {"race_blocks", "fine_tune", "refit_fine_tune"} <= done.stages.keys()
    # The head, which is surely worse, has no part in the average.
    assert done.ladder.rungs[-1].origin.averages == ("blocks",)
    assert "Better than what was given: learning rate 0.01" in (home() / done.page.path).read_text()
    client = tracking.client()
    experiment = client.get_run(done.run_id).info.experiment_id
    trials = client.search_runs([experiment], "tags.`headstart.trial` = 'taken'")
    assert {run.data.tags["mlflow.runName"] for run in trials} == {"race 0", "race 1"}


def test_weights_of_several_trainings_are_averaged_and_refitted(server, colours, three_layers, tmp_path):
    (tmp_path / "r.toml").write_text(helpers.recipe(colours, "soup", "[validation]\nmax_rejected = 0.1"))
    words = ("ladder.start_at=head", "ladder.soup=2", "ladder.ship=souped", "ladder.interpolate=false")
    words += ("ladder.refit=true", "head.epochs=1", *three_layers, *BRIEF)
    done = train(settings.load(tmp_path / "r.toml", words))
    assert [score.rung for score in done.ladder.scores] == ["head", "blocks", "souped"]
    trained = {"fine_tune", "fine_tune_soup_2", "fine_tune_soup_3", "soup"}
    assert trained | {f"refit_{name}" for name in trained} <= done.stages.keys()
    members = done.ladder.chosen.origin.soup
    assert members == done.model.origin.soup and set(members) <= {0, 1, 2}
    # The soup is the mean of its members' weights, of the same size as one of them.
    souped, blocks = (load(home() / rung.path) for rung in (done.ladder.chosen, done.ladder.rungs[1]))
    assert souped.count_params() == blocks.count_params()
    assert "Mean of the weights of several fine-tunings" in (home() / done.page.path).read_text()


def test_one_network_learns_what_the_average_answers_also_for_photos_without_labels(
    server, colours, three_layers, tmp_path
):
    # Of 28 photos of each colour the data set has 24 already.
    further = helpers.photos(tmp_path / "further", each=28)
    (tmp_path / "r.toml").write_text(helpers.recipe(colours, "distilled", "[validation]\nmax_rejected = 0.1"))
    words = ("ladder.start_at=head", 'ladder.average=["rungs"]', "ladder.distill=true", "ladder.ship=distilled")
    words += (f'ladder.unlabelled={{kind="files", options={{path="{further}"}}}}', "ladder.interpolate=false")
    words += ("ladder.refit=true", "head.epochs=1", *three_layers, *BRIEF)
    done = train(settings.load(tmp_path / "r.toml", words))
    assert [score.rung for score in done.ladder.scores] == ["head", "blocks", "distilled", "averaged"]
    assert {"ingest_unlabelled", "average", "distill", "refit_average", "refit_distill"} <= done.stages.keys()
    assert done.model.rung == "distilled" and done.model.origin.unlabelled == 12
    student, average = (load(home() / rung.path) for rung in done.ladder.rungs[-2:])
    assert student.count_params() < average.count_params()
    assert "One network that learned the answers of the average" in (home() / done.page.path).read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("ladder.distill=true",), "needs an average to learn from"),
        (("ladder.distill=true", "ladder.seeds=2", "fine_tune.enabled=false"), "needs an average to learn from"),
        (('ladder.unlabelled={kind="files"}',), "only used by ladder.distill"),
    ],
)
def test_distillation_needs_something_to_learn_from(tmp_path, words, said):
    (tmp_path / "r.toml").write_text(helpers.recipe(tmp_path))
    with pytest.raises(UsageError, match=said):
        settings.load(tmp_path / "r.toml", words)


def test_answers_averaged_over_views_and_backbones_are_a_rung_and_are_refitted(server, colours, tmp_path):
    (tmp_path / "r.toml").write_text(helpers.recipe(colours, "averaged", "[validation]\nmax_rejected = 0.1"))
    words = ("ladder.start_at=head", "ladder.stop_at=head", 'ladder.average=["views"]', "ladder.refit=true")
    words += ('ladder.backbones=[{ weights = "random" }]', "ladder.ship=averaged")
    words += (*BRIEF, "extract.engine=tensorflow")
    done = train(settings.load(tmp_path / "r.toml", words))
    assert [score.rung for score in done.ladder.scores] == ["head", "averaged"]
    assert (done.model.rung, done.model.origin.averages) == ("averaged", ("head", "head"))
    other = {"extract_backbone_2", "train_head_backbone_2", "refit_train_head_backbone_2"}
    assert {"average", "refit_train_head", "refit_average", *other} <= done.stages.keys()
    page = (home() / done.page.path).read_text()
    assert "The chosen rung is the one that the recipe names." in page
    assert "lite0 packaged; efficientnet_lite lite0 random" in page
    version = tracking.client().get_model_version(done.version.name, done.version.version)
    assert version.tags["headstart.backbone"] == "efficientnet_lite; efficientnet_lite"
    network = load(home() / done.model.path)
    photos = np.random.default_rng(0).uniform(0, 255, (4, *network.input_shape[1:])).astype("float32")
    np.testing.assert_allclose(network.predict(photos[:, :, ::-1]), network.predict(photos), atol=1e-5)


def test_updates_of_low_rank_are_trained_and_end_in_the_weights(server, colours, tmp_path):
    """LoRA: of the network only queries and values change, by matrices of that rank, and it has no further layers."""
    import keras

    fit.seed_everything(0)
    pixels = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(4, 2, 2, activation="relu")(keras.layers.Rescaling(1 / 255)(pixels))
    x = keras.layers.Reshape((16, 12))(keras.layers.Conv2D(12, 4, 4)(x))
    x = keras.layers.LayerNormalization()(x + keras.layers.MultiHeadAttention(1, 12, name="attention")(x, x))
    keras.Model(pixels, keras.layers.Reshape((4, 4, 12))(x)).save(tmp_path / "network.keras")
    (tmp_path / "r.toml").write_text(helpers.recipe(colours, "low_rank", "[validation]\nmax_rejected = 0.1"))
    words = ("ladder.start_at=head", "ladder.stop_at=whole", "ladder.ship=whole", "ladder.soup=1")
    words += ("whole.lora_rank=2", "whole.epochs=2", 'ladder.average=["rungs"]', "ladder.distill=true", *BRIEF)
    words += ("backbone.kind=file", f"backbone.weights={tmp_path / 'network.keras'}")
    done = train(settings.load(tmp_path / "r.toml", words))
    # What goes on from a rung takes its weights as they are.
    rungs = [rung.rung for rung in done.ladder.rungs]
    assert rungs == ["head", "blocks", "whole", "interpolated", "souped", "distilled", "averaged"]
    head, tuned = (
        load(home() / next(r for r in done.ladder.rungs if r.rung == rung).path) for rung in ("head", "whole")
    )
    assert [v.path for v in head.variables] == [v.path for v in tuned.variables]
    changes = {w.path: w.numpy() - v.numpy() for v, w in zip(head.variables, tuned.variables, strict=True)}
    changed = {path for path, change in changes.items() if np.abs(change).max() > 0}
    of_attention = {"attention/query/kernel", "attention/value/kernel"}
    assert {path for path in changed if "logits" not in path} == of_attention
    assert {np.linalg.matrix_rank(changes[path].reshape(12, 12), 1e-5) for path in of_attention} == {2}


def test_low_rank_leaves_networks_beside_as_they_are():
    import keras

    from tasks.networks import freezing

    def transformer(name):
        words = keras.Input((4, 6))
        mixed = keras.layers.MultiHeadAttention(1, 6, name="attention")(words, words)
        return keras.Model(words, mixed, name=name)

    words = keras.Input((4, 6))
    joined = transformer("own")(words) + transformer("still_beside_1")(words)
    logits = keras.layers.Dense(2, name="head")(keras.layers.Flatten()(joined))
    model = keras.Model(words, logits)
    assert freezing.low_rank(model, 2) == 2
    assert model.get_layer("own").trainable_variables
    assert not model.get_layer("still_beside_1").trainable_variables


def test_of_an_average_the_rungs_that_were_chosen_are_trained_again(tmp_path):
    recipe = settings.Recipe(name="x", ladder={"backbones": [{"weights": "random"}], "seeds": 3, "refit": True})
    again = Rungs(None, None, recipe, None, compared=False)
    assert again.chosen_of(("interpolated", "blocks")) == ("interpolated",)
    assert again.chosen_of(("head", "blocks", "blocks", "blocks", "blocks")) == ("head", "blocks")


def test_low_rank_is_refused_for_a_network_without_attention():
    recipe = settings.Recipe.model_validate({"name": "x", "source": {"kind": "folder"}, "whole": {"lora_rank": 4}})
    with pytest.raises(UsageError, match=r"whole.lora_rank: expected 0 for a network without attention"):
        fine_tuning.part_above_cut(_network(), BLOCKS, recipe.tuning("whole"), None, fine_tuning.Photos(None, None))
