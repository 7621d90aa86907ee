"""A race of settings: what is tried, in which order, and what is taken."""

import numpy as np
import pytest

from tasks.runtime.errors import UsageError
from tasks.settings import Augment, FineTune, Whole
from tasks.stages.models.race import _part
from tasks.training.trials import racing

GIVEN = FineTune(learning_rate=4e-4, blocks=5, trials=9)


def _race(tuning, loss, seconds=0.0):
    """`loss`: of settings; every judged image has it, but for a little noise that all trials share."""
    seen = []
    noise = np.random.default_rng(0).normal(0, 0.1, 80)

    def trained(wanted):
        seen.append(wanted)
        own = np.random.default_rng(len(seen)).normal(0, 0.01, 80)
        return racing.Answers(loss(wanted) + noise + own, noise > 0, 10.0)

    trials, best = racing.race(tuning, trained, seconds, seed=0)
    assert len(seen) == sum(trial.log_loss > 0 for trial in trials)
    return trials, best


def test_rare_classes_judge_nothing_and_stop_nothing():
    labels = np.array([0] * 12 + [1] * 12 + [2] * 3)
    units = np.arange(27)
    units[25:] = 24  # of the third class there is one unit
    rest, judged = _part(labels, units, 0)
    assert set(labels[judged]) == {0, 1}
    assert set(rest) | set(judged) == set(range(27)) and not set(rest) & set(judged)
    assert _part(labels, np.zeros(27, int), 0) is None
    assert _part(labels[:14], np.arange(14), 0) is None


@pytest.mark.parametrize(
    ("loss", "changed", "tried"),
    [
        (lambda t: 1.0, {}, 5),
        (lambda t: 1.0 - 500 * t.learning_rate, {"learning_rate": 8e-4}, 4),
        (lambda t: 0.5 + 500 * t.learning_rate, {"learning_rate": 2e-4}, 5),
        (lambda t: 1.0 - 0.05 * t.blocks, {"blocks": 8}, 4),
        (lambda t: 0.5 + 500 * t.learning_rate + 0.05 * t.blocks, {"learning_rate": 2e-4, "blocks": 3}, 5),
    ],
)
def test_what_is_better_is_taken_and_everything_else_stays(loss, changed, tried):
    trials, best = _race(GIVEN, loss)
    assert best == GIVEN.model_copy(update=changed)
    assert sum(trial.log_loss > 0 for trial in trials) == tried
    assert trials[0].taken and trials[0].gain is None


def test_a_difference_within_chance_changes_nothing():
    for _ in range(3):
        assert _race(GIVEN, lambda t: 1.0)[1] == GIVEN


def test_stronger_augmentation_is_tried_where_the_weaker_helped():
    whole = Whole(trials=9)
    assert _race(whole, lambda t: 1.0)[1].augment == Augment()
    names = [trial.name for trial in _race(whole, lambda t: 1.0)[0]]
    assert "random crops" in names and "random crops, RandAugment and MixUp" not in names
    best = _race(whole, lambda t: 1.0 - 0.1 * t.augment.crop - 0.1 * t.augment.mix_up)[1]
    assert best.augment == Augment(crop=0.3, rand_augment=0.3, mix_up=0.2)


def test_no_more_trials_than_asked_and_none_that_would_pass_the_time():
    assert len(_race(GIVEN.model_copy(update={"trials": 2}), lambda t: 1.0)[0]) == 3
    trials, best = _race(GIVEN, lambda t: 1.0 - 500 * t.learning_rate, seconds=1e-9)
    assert trials[0].taken and best == GIVEN
    assert all(trial.late and trial.reason == "no time was left" for trial in trials[1:])


def test_what_the_network_cannot_is_told_and_left_out():
    def trained(wanted):
        if wanted.blocks > 5:
            raise UsageError("fine_tune.blocks: expected at most 7 for this backbone, found 8.")
        return racing.Answers(np.ones(10) + 0.1 * np.arange(10), np.ones(10), 1.0)

    trials, best = racing.race(GIVEN, trained, 0.0, seed=0)
    assert best == GIVEN
    assert "expected at most 7" in next(trial.reason for trial in trials if trial.name == "the last 8 blocks")


def test_a_trial_trains_for_fewer_epochs_and_never_none():
    assert racing.brief(FineTune(epochs=4, minutes=3)).epochs == 2
    assert racing.brief(FineTune(epochs=1)).epochs == 1
    assert racing.brief(FineTune(minutes=3)).minutes == 0
