"""What gates decide about two models on the same test images, and what a worn test set costs."""

import dataclasses
import hashlib

import numpy as np
import pytest

from tasks.evaluation import gates, metrics, test_set_budget
from tasks.evaluation.gates import Case
from tasks.evaluation.statistics import paired
from tasks.records import GateResult

CLASSES = ("a", "b")


def case(fixed, broken, rows=1000, right=800, **terms):
    """Two models on `rows` images of two classes: `right` images both get right, and those that they differ on."""
    labels = np.arange(rows) % 2
    champion, challenger = np.zeros(rows, bool), np.zeros(rows, bool)
    champion[:right] = challenger[:right] = True
    challenger[right : right + fixed] = True
    champion[right + fixed : right + fixed + broken] = True

    answers = [
        np.where(np.eye(2)[np.where(correct, labels, 1 - labels)], 0.9, 0.1) for correct in (challenger, champion)
    ]
    return Case(labels, CLASSES, answers[0], answers[1], **terms)


def resampled(found, seed):
    """As many of the case's rows, drawn with replacement."""
    rows = np.random.default_rng(seed).integers(0, len(found.labels), len(found.labels))
    parts = {name: getattr(found, name)[rows] for name in ("labels", "challenger", "champion")}
    return dataclasses.replace(found, **parts)


def answer(name, found, **options) -> GateResult:
    return gates.run({name: options}, found)[0]


def decision(found, **options):
    return gates.decide(gates.run({"not_worse_than_champion": options}, found))


def test_forty_fixed_and_twenty_broken_promote():
    result = answer("not_worse_than_champion", case(40, 20))
    assert result.numbers["p"] == pytest.approx(0.0135, abs=1e-4)
    assert result.numbers["gain"] == pytest.approx(0.02)
    assert decision(case(40, 20))[0] == "promote"
    # At the level of the first decision on a test set too, but not at that of the second.
    assert decision(case(40, 20, level=test_set_budget.level(0.05, 0)))[0] == "promote"
    assert decision(case(40, 20, level=test_set_budget.level(0.05, 1)))[0] == "undecided"
    assert decision(case(20, 40))[0] == "keep"


def test_thirty_six_and_twenty_four_are_too_few_to_tell():
    result = answer("not_worse_than_champion", case(36, 24))
    assert result.numbers["p"] == pytest.approx(0.155, abs=1e-3)
    said, reason = decision(case(36, 24))
    assert said == "undecided"
    assert "label about 2,300 more test images" in reason


def test_as_many_images_as_are_asked_for_show_the_difference_as_often_as_promised():
    found = answer("not_worse_than_champion", case(36, 24))
    rows, random = 1000 + found.more, np.random.default_rng(0)
    drawn = random.multinomial(rows, [0.036, 0.024, 0.94], 400)
    shown = np.mean([paired.p_value(np.repeat([1.0, -1.0, 0.0], split), None, 0) <= 0.05 for split in drawn])
    assert 0.75 < shown < 0.86


def test_a_model_never_replaces_its_equal():
    same = case(0, 0)
    assert decision(same, metric="log_loss")[0] == "undecided"
    for seed in range(100):
        assert decision(resampled(same, seed))[0] == "undecided"


def test_equally_good_models_replace_each_other_no_more_often_than_allowed():
    random = np.random.default_rng(1)
    promoted = [decision(case(*random.multinomial(1000, [0.03, 0.03, 0.94])[:2]))[0] == "promote" for _ in range(400)]
    assert np.mean(promoted) <= 0.04  # 2.5 % of two-sided 5 %, and the test is exact


def test_the_interval_of_a_difference_covers_the_truth_as_often_as_it_says():
    random = np.random.default_rng(2)
    drawn = random.multinomial(200, [0.06, 0.03, 0.91], 400)
    ends = [paired.shares(np.repeat([1.0, -1.0, 0.0], split), 0.05) for split in drawn]
    assert 0.92 < np.mean([end.low <= 0.03 <= end.high for end in ends]) < 0.985


def test_a_margin_promotes_what_is_surely_not_much_worse():
    assert decision(case(20, 20), margin=0.03)[0] == "promote"
    assert decision(case(20, 20), margin=0.001)[0] == "undecided"
    assert decision(case(0, 100), margin=0.03)[0] == "keep"
    # Few images that agree prove little.
    assert decision(case(0, 0, rows=20, right=10), margin=0.03)[0] == "undecided"


def test_other_metrics_are_compared_row_by_row():
    labels = np.arange(300) % 3
    random = np.random.default_rng(0)
    logits = random.normal(size=(300, 3)) + 1.5 * np.eye(3)[labels]
    old = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    logits[:60] += 2 * np.eye(3)[labels[:60]]
    new = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    better = Case(labels, ("a", "b", "c"), new, old)
    for metric in ("macro_f1", "log_loss", "roc_auc", "balanced_accuracy"):
        assert decision(better, metric=metric)[0] == "promote"
        turned = dataclasses.replace(better, challenger=old, champion=new)
        result = answer("not_worse_than_champion", turned, metric=metric)
        assert result.outcome == "failed"
        assert result.numbers[metric] == pytest.approx(metrics.evaluate(labels, old)[metric])
    single = np.r_[labels, 0] + np.r_[np.zeros(300, int), 3]
    wide = [np.c_[np.r_[said, said[:1]], np.full(301, 1e-3)] for said in (new, old)]
    assert decision(Case(single, ("a", "b", "c", "d"), *wide), metric="macro_f1")[0] == "promote"


def test_no_class_may_get_worse():
    fine = case(40, 0)
    assert answer("no_class_regression", fine).outcome == "passed"
    labels = fine.labels
    worse = fine.champion.copy()
    worse[np.flatnonzero(labels == 1)[:150]] = [0.9, 0.1]
    result = answer("no_class_regression", dataclasses.replace(fine, challenger=worse))
    assert result.outcome == "failed"
    assert "worse: class b" in result.reason
    assert "class a" not in result.reason
    unsure = answer("no_class_regression", case(6, 6, rows=60, right=40))
    assert unsure.outcome == "undecided"
    assert unsure.more > 0
    part = {"camera left": labels == 1}
    sliced = dataclasses.replace(fine, challenger=worse, slices=part)
    assert "camera left" in answer("no_class_regression", sliced, slices=True).reason


def test_negative_flips_are_bounded_with_certainty():
    assert answer("max_negative_flips", case(100, 10)).outcome == "passed"
    assert answer("max_negative_flips", case(100, 100)).outcome == "failed"
    unsure = answer("max_negative_flips", case(100, 45))
    assert unsure.outcome == "undecided"
    assert unsure.more > 1000
    # Ten photos of each cell are right or wrong together: they are as many as one.
    series = dataclasses.replace(case(100, 30), groups=np.arange(1000) // 10)
    assert answer("max_negative_flips", case(100, 30)).outcome == "passed"
    assert answer("max_negative_flips", series).outcome == "undecided"


def test_absolute_thresholds():
    found = case(0, 0)
    assert answer("min_metric", found, at_least={"accuracy": 0.8}).outcome == "passed"
    refused = answer("min_metric", found, at_least={"accuracy": 0.81})
    assert refused.outcome == "failed"
    assert "is below" in refused.reason
    assert answer("min_metric", found, at_most={"log_loss": 0.01}).outcome == "failed"
    # Nine tenths sure and eight tenths right.
    assert answer("max_calibration_error", found, at_most=0.13).outcome == "passed"
    assert answer("max_calibration_error", found, at_most=0.07).outcome == "failed"
    unsure = answer("max_calibration_error", found, at_most=0.11)
    assert unsure.outcome == "undecided"
    assert 1000 < unsure.more < 20_000
    assert answer("max_latency", dataclasses.replace(found, latency=lambda: 250.0)).outcome == "failed"


def test_a_gate_that_cannot_be_computed_has_failed():
    result = answer("min_metric", case(0, 0), at_least={"no_such_metric": 0.1})
    assert result.outcome == "failed"
    assert "could not be computed" in result.reason
    assert gates.decide((result, GateResult("other", "undecided", "", {}, 9)))[0] == "keep"


def _keys(start, images):
    return [hashlib.sha256(str(number).encode()).hexdigest() for number in range(start, start + images)]


def test_decisions_on_the_same_images_add_up_and_never_spend_more_than_is_there():
    today = test_set_budget.sketch(_keys(0, 500))
    assert test_set_budget.worn(today, [today] * 3) == 3
    assert test_set_budget.worn(today, [test_set_budget.sketch(_keys(9000, 500))]) == 0
    assert sum(test_set_budget.level(0.05, number) for number in range(10_000)) <= 0.05
    assert test_set_budget.level(0.05, 0) == 0.025


@pytest.mark.parametrize("images", [30, 1000])
def test_a_test_set_that_grew_or_shrank_counts_every_decision_whole(images):
    earlier, today = test_set_budget.sketch(_keys(0, images)), test_set_budget.sketch(_keys(0, 4 * images))
    assert test_set_budget.worn(today, [earlier]) == test_set_budget.worn(earlier, [today]) == 1
    assert len(today) < 8000  # what MLflow takes as a tag


def series(random, groups=33, each=20, share=0.06, alike=0.1):
    """Two equally good models on series: in each the models differ on a share of its own, with a sign of its own."""
    shares = random.beta(*(part * (1 - alike) / alike for part in (share, 1 - share)), groups)
    better = random.beta(0.3, 0.3, groups)
    differ, ours = random.random((2, groups, each))
    fixed, broken = differ < (shares * better)[:, None], ours < (shares * (1 - better))[:, None]
    return _models((fixed & ~broken).ravel(), (broken & ~fixed).ravel(), np.repeat(np.arange(groups), each))


def _models(fixed, broken, groups=None, **terms):
    labels = np.arange(len(fixed)) % 2
    answers = [np.where(np.eye(2)[np.where(wrong, 1 - labels, labels)], 0.9, 0.1) for wrong in (broken, fixed)]
    return Case(labels, CLASSES, *answers, groups=groups, **terms)


def test_series_count_as_one_photo_each_when_models_are_compared():
    random = np.random.default_rng(3)
    found = [series(random) for _ in range(300)]
    with_groups = np.mean([decision(each)[0] == "promote" for each in found])
    without = np.mean([decision(dataclasses.replace(each, groups=None))[0] == "promote" for each in found])
    assert with_groups <= 0.05
    assert without >= 0.1
    assert "33 of the images are independent" in decision(found[0])[1]


def test_a_comparison_rests_on_images_that_neither_model_has_seen():
    fixed, broken = np.zeros(400, bool), np.zeros(400, bool)
    fixed[:40], broken[300:] = True, True
    # The champion was trained on the last hundred, and gets them right.
    found = _models(fixed, broken)
    assert decision(found)[0] == "keep"
    fair = dataclasses.replace(found, unseen=np.arange(400) < 300)
    said, reason = decision(fair)
    assert said == "promote"
    assert "on the same 300 test images" in reason
    assert "100 of 400 test images, or copies of them, were used to train one of the two" in reason
    none = dataclasses.replace(found, unseen=np.arange(400) < 9)
    said, reason = decision(none)
    assert said == "undecided"
    assert "9 test images can be compared, 20 are needed" in reason


def test_few_groups_decide_nothing_and_more_are_counted_in_images():
    found = _models(np.arange(200) < 40, np.zeros(200, bool))
    (result,) = gates.run({"not_worse_than_champion": {}}, dataclasses.replace(found, groups=np.arange(200) // 20))
    assert (result.outcome, result.more) == ("undecided", 200)
    assert "200 test images can be compared, 20 independent ones are needed; 10 of the images are" in result.reason
    few = dataclasses.replace(found, unseen=np.arange(200) < 12)
    assert {gates.run({name: {}}, few)[0].outcome for name in ("no_class_regression", "max_negative_flips")} == {
        "undecided"
    }


def test_a_class_of_which_no_image_can_be_compared_is_undecided():
    broken = np.arange(230) >= 200
    found = _models(np.zeros(230, bool), broken)
    rare = dataclasses.replace(found, labels=np.where(broken, 1, 0), unseen=~broken)
    (result,) = gates.run({"no_class_regression": {}}, rare)
    assert (result.outcome, result.more) == ("undecided", None)
    assert f"class {found.classes[1]} (no image)" in result.reason


def new_class(random, images=650):
    """A worse challenger that knows a third class, of a tenth of the images, and a better champion that does not."""
    labels = random.choice(3, images, p=[0.45, 0.45, 0.1])
    ours = random.random(images) < 0.9
    theirs = np.where(ours, random.random(images) < 0.98, random.random(images) < 0.48) & (labels != 2)
    answers = [
        np.where(np.eye(3)[np.where(right, labels, np.where(labels == 2, 0, 1 - labels))] == 1, 0.9, 0.05)
        for right in (ours, theirs)
    ]
    answers[1][:, 2] = 0
    return Case(labels, ("a", "b", "c"), *answers, known=("a", "b"))


@pytest.mark.parametrize("metric", ["accuracy", "log_loss", "macro_f1", "balanced_accuracy", "roc_auc"])
def test_a_class_that_the_champion_cannot_know_is_told_beside_the_verdict(metric):
    random = np.random.default_rng(4)
    found = [decision(new_class(random), metric=metric) for _ in range(8)]
    assert [said for said, _ in found].count("promote") <= 1
    assert all("the champion does not know c" in reason for _, reason in found)


def test_a_class_that_fell_from_nine_right_to_none_does_not_pass():
    labels = np.r_[np.tile(np.repeat([0, 1], 100), 20), np.full(9, 2)]
    new = np.ones(len(labels), bool)
    new[-9:] = False
    answers = [
        np.where(np.eye(3)[np.where(right, labels, 0)] == 1, 0.9, 0.05) for right in (new, np.ones(len(labels), bool))
    ]
    result = answer("no_class_regression", Case(labels, ("a", "b", "c"), *answers, level=0.025))
    assert result.outcome == "failed"
    assert "class c" in result.reason
    few = answer("no_class_regression", Case(labels, ("a", "b", "c"), answers[1], answers[1], level=0.025))
    assert few.outcome == "undecided"
    assert few.more > 1000


def test_six_equal_classes_need_enough_images_for_all_of_them():
    labels = np.repeat(np.arange(6), 100)
    new = np.ones(600, bool)
    old = new.copy()
    for at in range(6):
        new[at * 100 : at * 100 + 3] = False
        old[at * 100 + 3 : at * 100 + 6] = False
    answers = [np.where(np.eye(6)[np.where(right, labels, (labels + 1) % 6)] == 1, 0.9, 0.02) for right in (new, old)]
    found = Case(labels, tuple("abcdef"), *answers, level=0.025, next_level=0.05 / 6)
    result = answer("no_class_regression", found)
    assert result.more >= 1500
    # As many, drawn from these, pass at the level of the next decision.
    random, passed = np.random.default_rng(5), []
    for _ in range(60):
        rows = random.integers(0, 600, 600 + result.more)
        grown = dataclasses.replace(
            found, labels=labels[rows], challenger=answers[0][rows], champion=answers[1][rows], level=found.next_level
        )
        passed.append(answer("no_class_regression", grown).outcome == "passed")
    assert 0.65 <= np.mean(passed) <= 0.95


def test_the_reason_says_how_many_to_label_so_that_enough_become_test_images():
    results = gates.run({"not_worse_than_champion": {}}, case(36, 24))
    said, reason = gates.decide(results, 0.25)
    assert said == "undecided"
    assert "label about 9,100 more images, of which about 2,300 become test images" in reason
