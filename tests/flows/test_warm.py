"""A warm start: the champion's network goes on when a class is added, where that is possible and not worse."""

from dataclasses import replace

import helpers
import numpy as np
import pytest
import tiny_networks
from prefect import flow

from flows.parts.ladder import climb
from flows.retrain import retrain
from flows.train import train
from tasks.data import datasets
from tasks.networks import classifiers, files
from tasks.records import SPLITS
from tasks.runtime import plugins
from tasks.runtime.home import home
from tasks.services import tracking
from tasks.services.orchestration import monitoring
from tasks.services.registry import predict, registered_models, versions
from tasks.settings import load
from tasks.stages.features.extract import extract
from tasks.stages.models import warm_start as module

CLASSES = ("blue", "green", "red")


@pytest.fixture(scope="module")
def grown(server, three_layers, tmp_path_factory):
    """A recipe, the fine-tuned champion of two classes, and what `retrain` made once there was one between them."""
    folder = tmp_path_factory.mktemp("warm")
    photos = helpers.photos(folder / "photos", each=60, classes=("red", "blue"))
    extra = '[split]\nvalidation = 0.3\n[retrain]\nmin_new = 12\n[ladder]\nstart_at = "head"\ninterpolate = false'
    (folder / "r.toml").write_text(helpers.recipe(photos, "warm", extra))
    words = (*three_layers, "audit.enabled=false", "transfer_check.enabled=false")
    champion = train(load(folder / "r.toml", (*words, "ladder.ship=blocks")))
    assert "champion" in champion.version.aliases
    helpers.photos(photos, each=60, classes=("green",))
    words = (*words, "ladder.warm=first")
    return load(folder / "r.toml", words), champion, retrain(str(folder / "r.toml"), list(words)).outcome


@pytest.fixture
def again(grown, monkeypatch):
    """What the stage answers for other arguments."""
    recipe, _, outcome = grown
    monkeypatch.setattr(tracking, "log_tag", lambda *_: None)
    monkeypatch.setattr(tracking, "log_series", lambda *_: None)
    given = {
        "images": datasets.images_of(outcome.dataset, recipe.images),
        "head": _rung(outcome, "head"),
        "audited": outcome.audit,
        "settings": recipe.warm_start,
    }
    return lambda **others: module.warm_start.body(**given | {k: change(given[k]) for k, change in others.items()})


def _rung(outcome, name):
    return next(rung for rung in outcome.ladder.rungs if rung.rung == name)


def _changed(monkeypatch, change):
    """Apply `change` to the network of each version that is opened."""
    found = predict.network

    def network(name, version):
        network, spec = found(name, version)
        change(network)
        return network, spec

    monkeypatch.setattr(predict, "network", network)


def test_a_class_is_added_and_training_from_the_pretrained_network_is_left_out(grown):
    _, champion, outcome = grown
    assert [rung.rung for rung in outcome.ladder.rungs] == ["head", "warm"]
    assert (champion.dataset.classes, outcome.dataset.classes) == (("blue", "red"), CLASSES)
    assert "the warm start is not surely worse than the rungs before it. Warm start from version 1" in (
        outcome.ladder.reason
    )
    assert outcome.ladder.reason in (home() / outcome.page.path).read_text()
    warm = _rung(outcome, "warm")
    assert warm.origin.started_from == champion.version.version
    answers = np.load(home() / warm.validation.predictions).argmax(axis=1)
    labels = datasets.labels(datasets.rows(outcome.dataset, "validation"), CLASSES)
    assert all((answers == labels)[labels == at].mean() > 0.8 for at in range(3))


def test_a_version_says_what_its_training_went_on_from(grown):
    _, champion, outcome = grown
    tags = versions.version_of("warm", champion.version.version).tags
    assert (tags[versions.REFIT], tags[versions.STARTED_FROM]) == ("false", "")
    # A repeated run starts from the same version, whichever is champion now.
    assert registered_models.forerunner("warm", outcome.dataset.digest) == champion.version.version


def test_classes_that_stay_keep_their_weights(grown):
    recipe, champion, outcome = grown
    images = datasets.images_of(outcome.dataset, recipe.images)
    start = module._champion(images, _rung(outcome, "head"), recipe.warm_start, champion.version.version)
    pixels = np.random.default_rng(0).uniform(0, 255, (6, 32, 32, 3)).astype("float32")
    before = classifiers.to_logits(start.network).predict(pixels, verbose=0)
    for classes, places in ((CLASSES, [0, 2]), (("blue", "green"), [0])):  # one added, one removed too
        after = classifiers.to_logits(module._widened(start, classes, recipe.warm_start)).predict(pixels, verbose=0)
        assert after.shape == (6, len(classes))
        np.testing.assert_allclose(after[:, places], before[:, : len(places)], rtol=1e-5)


def test_a_damaged_champion_is_not_gone_on_from(grown, monkeypatch):
    """Its network is as bad afterwards: surely worse than the head, so that the others are trained."""
    recipe, _, outcome = grown

    def damage(network):
        layer = next(each for each in network.layers if "conv2d" in each.name)
        layer.set_weights([np.zeros_like(value) for value in layer.get_weights()])

    _changed(monkeypatch, damage)
    images = datasets.images_of(outcome.dataset, recipe.images)
    other = recipe.model_copy(update={"seed": 1})  # so that nothing is taken from the cache

    @flow
    def climbed():
        with monitoring.run("warm", "train", {}, recipe.observe):
            features = extract(images, other.extraction, cut=other.cut)
            return climb(images, features, outcome.audit, other, 0.0, repeat=True)

    ladder = climbed()
    assert [rung.rung for rung in ladder.rungs] == ["head", "warm", "blocks"]
    assert ladder.chosen.rung != "warm"


def test_what_forgets_the_old_classes_is_left_out_with_the_reason(again, monkeypatch):
    def forget(network, start, part, before, *_):
        return np.tile(np.array([0, 9, 0], np.float32), (len(before), 1)), 1, 0

    monkeypatch.setattr(module, "_shortly", forget)
    found = again()
    assert found.model is None
    assert "version 1 is surely worse on its own classes: all of them -" in found.reason
    assert found.gain.high < 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"settings": lambda s: s.model_copy(update={"refit": True})}, "with ladder.refit"),
        ({"settings": lambda s: s.model_copy(update={"model": "nobody"})}, "no champion was made from other data"),
        ({"images": lambda i: replace(i, size=64)}, "sees images of 32 pixels made square by crop"),
    ],
)
def test_where_it_is_not_possible_it_says_why(again, change, reason):
    found = again(**change)
    assert found.model is None
    assert found.reason.startswith("There is no warm start: ")
    assert reason in found.reason


def test_another_backbone_or_head_is_not_gone_on_from(again, tmp_path):
    def other(head, network):
        folder = home() / "store" / "models" / f"other {len(network.layers)}"
        folder.mkdir(parents=True, exist_ok=True)
        return replace(head, path=str((folder / files.save(network, folder)).relative_to(home())))

    def with_mlp(head):
        below = classifiers.below_head(files.load(home() / head.path))
        return other(head, classifiers.classifier(below, plugins.entry("heads", "mlp")(below.output_shape[1:], 3)))

    assert "has another head" in again(head=with_mlp).reason
    found = again(head=lambda head: other(head, tiny_networks.classifier()))
    assert "has another backbone or pooling" in found.reason


def test_a_champion_that_was_trained_on_what_judges_now_is_not_gone_on_from(grown, again, monkeypatch):
    seen = versions.seen_by
    for part in SPLITS:
        moved = {split: "train" if split == part else split for split in SPLITS}
        monkeypatch.setattr(versions, "seen_by", lambda *words, moved=moved: seen(*words).map(moved))
        said = again().reason
        assert ("was trained or steered on" in said) == (part != "train"), said


def test_a_champion_on_the_pretrained_network_is_what_the_head_starts_from_too(again, monkeypatch):
    found = versions.version_of

    def version_of(*words):
        version = found(*words)
        version.tags["headstart.rung"] = "probe"
        return version

    monkeypatch.setattr(versions, "version_of", version_of)
    assert "from which the rung head starts too" in again().reason
