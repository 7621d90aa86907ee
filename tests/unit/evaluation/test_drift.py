"""New images are told from those before where they differ, and seldom where they do not."""

import json

import numpy as np
import pytest
from scipy.stats import binom, fisher_exact

from tasks.evaluation import drift

CLASSES = ("a", "b", "c")
#: Shares of the classes as they were, and others.
USUAL, OTHER = (0.5, 0.3, 0.2), (0.2, 0.3, 0.5)
#: Of each value's noise.
SPREAD = np.geomspace(3, 0.1, 40).astype("float32")


def sample(images: int, seed: int, shares: tuple[float, ...] = USUAL):
    """Features that are skewed, lie elsewhere for each class and vary more in some directions; and labels."""
    random = np.random.default_rng(seed)
    labels = random.choice(len(shares), images, p=shares)
    centres = np.random.default_rng(99).normal(0, 2, (len(shares), len(SPREAD)))
    noise = random.exponential(size=(images, len(SPREAD))) * SPREAD
    return (centres[labels] + noise).astype("float32"), labels


def scaled(features, labels, by):
    """The features at other distances from the mean of their class."""
    means = np.stack([features[labels == label].mean(axis=0) for label in range(3)])[labels]
    return means + by * (features - means)


BEFORE = sample(300, 1000)


def found(new, before=BEFORE, seed=0):
    return drift.of_features(new[0], before[0], new[1], before[1], CLASSES, seed)


def test_where_nothing_but_the_shares_of_classes_has_changed_drift_is_seldom_told():
    many = [
        found(sample(images, n, OTHER), sample(before, 500 + n), seed=n)
        for images, before in ((30, 300), (80, 40))
        for n in range(20)
    ]
    # More are found once in a hundred times, were 5 % the chance of each.
    assert sum(one.drifted for one in many) <= binom.ppf(0.99, len(many), 0.05)
    assert np.mean([one.auc for one in many]) == pytest.approx(0.5, abs=0.03)


def test_other_shares_of_classes_are_said_and_are_no_drift():
    one = found(sample(200, 1, OTHER))
    assert not one.drifted
    assert one.shares < 1e-6
    assert "which does not count as drift: a " in one.sentences[-1]
    assert "do not differ" in found(sample(200, 1)).sentences[-1]


def test_without_labels_other_shares_look_like_drift_and_the_answer_warns_of_it():
    features, _ = sample(200, 1, OTHER)
    one = drift.of_features(features, BEFORE[0], None, BEFORE[1], CLASSES, 0)
    assert one.drifted
    assert (one.shares, one.classes) == (None, {})
    assert "no labels" in one.sentences[-1]
    alike = drift.of_features(sample(200, 1)[0], BEFORE[0], None, BEFORE[1], CLASSES, 0)
    assert not alike.drifted


def test_thirty_pictures_that_lie_elsewhere_are_drift():
    features, labels = sample(30, 1)
    one = found((features + 0.5, labels))
    assert one.drifted
    assert one.auc > 0.9
    assert one.numbers["drifted"] == 1
    assert max(one.p.values()) < 0.01
    assert "drifted: 30 new images were compared with 300 earlier ones" in one.sentences[0]
    assert json.loads(json.dumps(one.summary()))["p"] == one.p
    assert found((features + 0.5, labels)) == one


def test_pictures_that_lie_closer_together_do_not_hide_that_they_lie_elsewhere():
    features, labels = sample(30, 1)
    one = found((scaled(features, labels, 0.9) + 0.2 * SPREAD, labels))
    assert max(one.p.values()) < 0.01


def test_a_class_that_drifted_alone_is_named():
    features, labels = sample(150, 1)
    one = found((features + 0.5 * (labels == 1)[:, None], labels))
    assert one.drifted
    assert [name for name, p in one.classes.items() if p <= 0.05] == ["b"]
    assert any(said.startswith("Classes that differ: b (p = ") for said in one.sentences)
    assert one.numbers["drifted_classes"] == 1


def test_pictures_that_vary_more_about_the_same_mean_are_drift_though_no_line_parts_them():
    features, labels = sample(100, 1)
    one = found((scaled(features, labels, 1.6), labels))
    assert one.drifted
    assert one.p["energy"] < 0.05 < one.p["classifier"]


def test_few_images_give_a_sentence_and_no_verdict():
    for images in (0, 1, 9):
        one = found(sample(images, 1))
        assert (one.drifted, one.p, one.auc) == (False, {}, None)
        assert one.sentences[0].startswith("Too few images to detect drift")
    assert "p_energy" not in one.numbers


def test_classes_with_few_images_are_compared_with_the_rest_and_named():
    features, labels = sample(60, 1, (0.5, 0.45, 0.05))
    one = found((features, labels))
    assert set(one.classes) == {"a", "b"}
    assert any(said.endswith("(10 new and 10 earlier): c.") for said in one.sentences)


def test_a_class_that_there_was_none_of_is_named_and_left_out():
    features, labels = sample(100, 1)
    one = found((features, labels), tuple(each[BEFORE[1] != 2] for each in BEFORE))
    assert not one.drifted
    assert one.new == (labels != 2).sum()
    assert one.sentences[-1] == f"New classes: c ({(labels == 2).sum()} images)."


def test_images_that_are_all_the_same_are_no_drift():
    one = found((np.ones((30, 8)), np.zeros(30, int)), (np.ones((50, 8)), np.zeros(50, int)))
    assert not one.drifted
    assert one.auc == 0.5


def test_more_images_than_can_be_compared_are_drawn_from(monkeypatch):
    monkeypatch.setattr(drift, "MOST", 90)
    features, labels = sample(200, 1)
    one = found((features + 0.5, labels))
    assert (one.new, one.before) == (90, 90)
    assert one.drifted


def test_other_shares_of_classes_and_more_new_images_are_drift():
    before = {"a": 200, "b": 100, "c": 0}
    same, p = drift.of_answers({"a": 130, "b": 70, "c": 0}, before, 9, 0.05)
    assert p["classes"] > 0.05 < p["novelty"]
    assert same[0].startswith("Classes are predicted as often")
    other, p = drift.of_answers({"a": 70, "b": 130, "c": 0}, before, 30, 0.05)
    assert p["classes"] < 1e-6
    assert p["novelty"] < 1e-6
    assert "a 35.0%, before 66.7%" in other[0]
    assert other[1].startswith("More images than expected are unlike the training images: 15.0%")
    assert len(drift.of_answers({"a": 0, "b": 0, "c": 0}, before, None, 0.05)[0]) == 1


def test_shares_of_few_images_are_compared_without_large_numbers():
    now, before = {"a": 0, "b": 3}, {"a": 30, "b": 12}
    exact = fisher_exact([list(now.values()), list(before.values())]).pvalue
    assert exact == pytest.approx(0.032, abs=1e-3)  # the chi-squared distribution gives 0.057, or 0.011 uncorrected
    assert drift.of_answers(now, before, None, 0.05)[1]["classes"] == pytest.approx(exact, abs=5e-3)
