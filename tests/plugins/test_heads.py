"""What each head computes, and what the loss does with unequal classes."""

import dataclasses

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf, ledoit_wolf_shrinkage
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from tasks import settings
from tasks.evaluation.statistics import bootstrap
from tasks.features.batches import Batches
from tasks.networks import classifiers, files
from tasks.networks.heads import Examples, cosine, flatten_mlp, knn, lda, logistic, nearest_mean
from tasks.networks.heads._within import within
from tasks.runtime import plugins
from tasks.runtime.errors import UsageError
from tasks.settings import Loss
from tasks.training import fit, saving


def test_the_tutorials_head_is_flatten_256_relu_and_the_classes():
    head = flatten_mlp.build((7, 7, 512), 10)
    assert [type(layer).__name__ for layer in head.layers[1:]] == ["Flatten", "Dense", "Dense"]
    assert head.count_params() == (7 * 7 * 512 + 1) * 256 + (256 + 1) * 10
    assert head.get_layer("hidden").activation.__name__ == "relu"


def _examples(features, labels, **more):
    return Examples(lambda rows: features[rows], labels, **more)


def test_nearest_neighbours_vote_as_scikit_learns_do():
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 200)
    features = random.normal(size=(200, 8)).astype("float32") + np.eye(4, 8)[labels] * 2
    asked = features[:50] + random.normal(0, 0.5, (50, 8)).astype("float32")
    head = knn.learn(_examples(features.astype("float32"), labels), 4, k=7, temperature=0.1)
    theirs = KNeighborsClassifier(7, metric="cosine", weights=lambda distance: np.exp((1 - distance) / 0.1))
    expected = theirs.fit(features, labels).predict_proba(asked)
    np.testing.assert_allclose(np.exp(head(asked)) - knn.FLOOR, expected, atol=1e-4)


def test_fewer_images_than_neighbours_still_vote():
    head = knn.learn(_examples(np.eye(3, dtype="float32"), np.array([0, 1, 1])), 2, k=20)
    assert np.asarray(head(np.eye(3, dtype="float32"))).argmax(1).tolist() == [0, 1, 1]


def test_a_feature_that_hardly_varied_in_few_photos_does_not_decide():
    random = np.random.default_rng(0)
    labels = np.arange(300) % 3
    features = (random.normal(size=(300, 12)) + 3 * np.eye(3, 12)[labels]).astype("float32")
    few = features[:6].copy()
    few[:, 11] = few[:, 11].mean() + random.normal(0, 1e-3, 6)
    head = logistic.learn(_examples(few, labels[:6]), 3)
    assert (np.asarray(head(features)).argmax(axis=1) == labels)[6:].mean() > 0.75


def test_a_discriminant_gives_scikit_learns_probabilities_for_many_images():
    random = np.random.default_rng(0)
    labels = random.choice(3, 4000, p=[0.5, 0.3, 0.2])
    mixed = random.normal(size=(4000, 6)) @ (np.eye(6) + 0.2) + 2 * np.eye(3, 6)[labels]
    features = (mixed * [1, 1, 1, 1, 1, 1000]).astype("float32")
    theirs = LinearDiscriminantAnalysis().fit(features, labels).predict_proba(features)
    ours = saving.softmax(np.asarray(lda.learn(_examples(features, labels), 3)(features)))
    np.testing.assert_allclose(ours, theirs, atol=0.02)


def test_a_discriminant_of_few_images_with_many_features_is_scikit_learns():
    random = np.random.default_rng(0)
    labels = np.arange(60) % 3
    features = (random.normal(size=(60, 400)) + 0.5 * np.eye(3, 400)[labels]).astype("float32")
    features -= np.stack([features[labels == k].mean(axis=0) for k in range(3)])[labels]
    features /= features.std(axis=0)  # as it scales them; so scikit-learn sees the same
    found = within(features, labels, 3, 2048)
    shrinkage = ledoit_wolf_shrinkage(features, assume_centered=True)
    assert found.shrinkage == pytest.approx(shrinkage, rel=1e-3)
    covariance = ledoit_wolf(features, assume_centered=True)[0]
    asked = random.normal(size=(400, 3))
    ours = dataclasses.replace(found, means=asked.T).linear(found.shrinkage)[0] * found.scale[:, None]
    np.testing.assert_allclose(ours, np.linalg.solve(covariance, asked), atol=1e-3)


def test_no_matrix_grows_with_the_square_of_the_features():
    random = np.random.default_rng(0)
    labels = np.arange(40) % 2
    features = (random.normal(size=(40, 60_000)) + 0.2 * labels[:, None]).astype("float32")
    head = lda.learn(_examples(features, labels), 2)  # its covariance would take 29 GB
    assert (np.asarray(head(features)).argmax(axis=1) == labels).all()


def test_a_discriminant_takes_the_nearest_mean_of_single_images_and_any_feature():
    head = lda.learn(_examples(np.eye(3, dtype="float32"), np.array([0, 2, 3])), 4)
    assert np.asarray(head(np.eye(3, dtype="float32"))).argmax(1).tolist() == [0, 2, 3]
    random = np.random.default_rng(0)
    labels = np.arange(40) % 2
    features = (random.normal(size=(40, 300)) + 0.5 * labels[:, None]).astype("float32")
    features[:, 0] = labels  # differs between the classes alone
    features[:, 1] = 7
    asked = (random.normal(size=(400, 300)) + 0.5 * (np.arange(400) % 2)[:, None]).astype("float32")
    said = np.asarray(lda.learn(_examples(features, labels), 2)(asked))
    assert np.isfinite(said).all()
    assert (said.argmax(1) == np.arange(400) % 2).mean() > 0.9


def test_the_nearest_class_mean_does_not_favour_classes_with_many_photos():
    random = np.random.default_rng(0)
    # Photos of one class differ most along two directions, which tell nothing of the class.
    long, centres = np.r_[8.0, 8.0, np.ones(38)], np.r_["1", np.zeros((3, 2)), 0.4 * random.normal(size=(3, 38))]

    def drawn(counts):
        labels = np.repeat(np.arange(3), counts)
        return (centres[labels] + long * random.normal(size=(len(labels), 40))).astype("float32"), labels

    (features, labels), (asked, truth) = drawn((150, 12, 12)), drawn((300, 300, 300))
    ours, theirs = (
        saving.softmax(np.asarray(head.learn(_examples(features, labels), 3)(asked))) for head in (nearest_mean, lda)
    )
    assert (ours.argmax(1) == truth).mean() > 0.6
    assert bootstrap.losses(truth, ours).mean() < bootstrap.losses(truth, theirs).mean()
    often = [(said.argmax(1) == 0).mean() for said in (ours, theirs)]
    assert often[0] < often[1] - 0.05


def _parts(rows, told):
    """Two parts of 5 and 200 features, of which the first tells the three classes apart by `told` deviations."""
    random = np.random.default_rng(rows)
    labels = np.arange(rows) % 3
    telling = random.normal(size=(rows, 5)) + told * np.eye(3, 5)[labels]
    return np.concatenate([telling, random.normal(0, 50, (rows, 200)) + 7], axis=1).astype("float32"), labels


def test_logistic_regression_finds_the_part_that_tells():
    (features, labels), (asked, truth) = _parts(150, 3), _parts(600, 3)
    known, blind = (
        saving.softmax(np.asarray(logistic.learn(_examples(features, labels, parts=parts), 3)(asked)))
        for parts in ((5, 200), (205,))
    )
    assert (known.argmax(1) == truth).mean() > (blind.argmax(1) == truth).mean() + 0.05
    assert bootstrap.losses(truth, known).mean() < bootstrap.losses(truth, blind).mean() - 0.1
    random = np.random.default_rng(0)
    told = logistic.shares(random.normal(size=(90, 20)).astype("float32"), np.eye(3)[np.arange(90) % 3], [slice(0, 20)])
    assert told.tolist() == [1.0]


def test_logistic_regression_at_a_penalty_is_scikit_learns():
    features, labels = _parts(150, 2)
    values = (features - features.mean(axis=0)) / features.std(axis=0)
    weights, biases = logistic.fitted(values, np.eye(3)[labels], np.ones(150), 0.02)
    theirs = LogisticRegression(C=1 / (0.02 * 150), tol=1e-8, max_iter=1000).fit(values, labels)
    ours = saving.softmax(values @ weights + biases)
    np.testing.assert_allclose(ours, theirs.predict_proba(values), atol=0.01)


def test_copies_of_a_photo_do_not_weaken_the_penalty():
    # Each image five times: where copies count as evidence, they are learned by heart, and the head is sure of noise.
    random = np.random.default_rng(0)
    images, labels = random.normal(size=(60, 40)).astype("float32"), np.arange(60) % 2
    features, five = np.repeat(images, 5, axis=0), np.repeat(labels, 5)
    asked = random.normal(size=(200, 40)).astype("float32")
    apart = logistic.learn(_examples(features, five), 2)
    together = logistic.learn(_examples(features, five, units=np.repeat(np.arange(60), 5)), 2)
    sure, unsure = (saving.softmax(np.asarray(head(asked))).max(axis=1).mean() for head in (apart, together))
    assert unsure < 0.65 < 0.8 < sure


@pytest.mark.parametrize("head", [lda, logistic, nearest_mean])
def test_what_is_fitted_at_once_takes_anything(head):
    one_each = head.learn(_examples(np.eye(3, dtype="float32"), np.arange(3)), 3)
    assert np.asarray(one_each(np.eye(3, dtype="float32"))).argmax(1).tolist() == [0, 1, 2]
    constant = np.asarray(head.learn(_examples(np.ones((6, 4), "float32"), np.arange(6) % 3), 4)(np.ones((2, 4))))
    assert np.isfinite(constant).all()
    large = np.random.default_rng(0).normal(size=(40, 6)).astype("float32") * [1, 1e-6, 1e6, 1, 0, 1]
    assert np.isfinite(np.asarray(head.learn(_examples(large.astype("float32"), np.arange(40) % 2), 2)(large))).all()


def test_rare_classes_and_smoothing_reach_what_is_fitted_at_once():
    random = np.random.default_rng(0)
    labels = (random.random(800) < 0.05).astype(int)
    features = (random.normal(size=(800, 2)) + labels[:, None]).astype("float32")
    weights = fit.balanced(labels)[labels]
    found = {}
    for name, more in {"plain": {}, "weights": {"weights": weights}, "smoothed": {"smoothing": 0.3}}.items():
        found[name] = saving.softmax(np.asarray(logistic.learn(_examples(features, labels, **more), 2)(features)))
    assert (found["plain"].argmax(1) == labels)[labels == 1].mean() < 0.3
    assert (found["weights"].argmax(1) == labels)[labels == 1].mean() > 0.6
    assert found["smoothed"].max(axis=1).mean() < found["plain"].max(axis=1).mean() - 0.03


def test_a_cosine_head_does_not_see_how_long_features_are():
    head = cosine.build((6,), 3, scale=10)
    features = np.random.default_rng(0).normal(size=(20, 6)).astype("float32")
    np.testing.assert_allclose(head(features * 7), head(features), atol=1e-4)
    assert np.abs(head(features)).max() <= 10 + 1e-4


def _fitted(loss):
    """A linear head on two overlapping classes, 19 to 1; its share of each class that it finds."""
    random = np.random.default_rng(0)
    labels = (random.random(800) < 0.05).astype(int)
    features = (random.normal(size=(800, 2)) + labels[:, None]).astype("float32")
    batches = Batches(lambda positions: features[positions], labels)
    fit.seed_everything(0)
    model = plugins.entry("heads", "linear")((2,), 2)
    fit.fit(model, batches, batches, fit.Plan(20, 20, 0.05, 0.0, 64, seed=0, loss=loss))
    logits = fit.predict(model, batches)
    return [float((logits.argmax(1) == labels)[labels == label].mean()) for label in (0, 1)], saving.softmax(logits)


def test_balance_finds_the_rare_class():
    plain, weighted, sampled = (_fitted(Loss(balance=balance))[0] for balance in ("none", "weights", "sampling"))
    smoothed = _fitted(Loss(balance="weights", label_smoothing=0.05))[0]
    assert plain[1] < 0.3 < plain[0]
    for balanced in (weighted, sampled, smoothed):
        assert balanced[1] > plain[1] + 0.3
        assert balanced[0] > 0.6


def test_label_smoothing_makes_less_sure():
    sure, smoothed = (_fitted(Loss(label_smoothing=share))[1] for share in (0.0, 0.3))
    assert smoothed.max(axis=1).mean() < sure.max(axis=1).mean() - 0.03


def test_a_network_trained_with_smoothing_comes_back_from_its_file(tmp_path):
    import keras

    images = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    batches = Batches(lambda positions: images[positions], np.arange(8) % 2)
    head = plugins.entry("heads", "linear")((4,), 2)
    fit.fit(head, batches, batches, fit.Plan(1, 1, 0.05, 0.0, 8, seed=0, loss=Loss(label_smoothing=0.1)))
    inputs = keras.Input((4,))
    network = classifiers.classifier(keras.Model(inputs, inputs), head)
    path = tmp_path / files.save(network, tmp_path)
    np.testing.assert_allclose(files.load(path)(images), network(images), atol=1e-6)


def test_a_head_without_training_is_not_fine_tuned():
    recipe = {"name": "x", "source": {"options": {"path": "photos"}}, "head": {"kind": "knn"}}
    with pytest.raises(UsageError, match=r"fine_tune\.enabled: expected false for head knn"):
        settings.check(recipe, "r.toml")
    settings.check(recipe | {"fine_tune": {"enabled": False}}, "r.toml")
