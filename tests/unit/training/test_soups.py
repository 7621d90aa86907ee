"""The greedy soup of several trainings."""

import numpy as np
import pytest

from tasks.evaluation import model_choice
from tasks.training.weights import soups


def _losses(values):
    """The loss of a mean of members: that of the mean of one number each."""
    return lambda members: float((np.mean([values[member] for member in members]) - 1.0) ** 2)


@pytest.mark.parametrize(
    ("values", "order", "soup"),
    [
        ([1.1, 0.9, 3.0], (0, 1, 2), (0, 1)),
        ([1.0, 0.5, 2.0], (0, 1, 2), (0,)),
        ([0.0, 2.0, 1.5], (2, 0, 1), (2, 0, 1)),
        ([1.0], (0,), (0,)),
    ],
)
def test_a_training_stays_in_the_soup_only_if_it_helps(values, order, soup):
    assert soups.greedy(order, _losses(values)) == soup


def test_what_all_share_stays_as_it_is_bit_for_bit():
    shared = np.float32([0.1, 0.7])
    weights = [[shared, np.float32([1.0])], [shared.copy(), np.float32([2.0])], [shared.copy(), np.float32([3.0])]]
    same, mean = soups.mean(weights)
    assert same.tobytes() == shared.tobytes() and mean == [2.0]


def test_trainings_have_half_and_twice_the_learning_rate():
    assert [soups.rate(number) for number in range(4)] == [1.0, 0.5, 2.0, 0.5]


def test_answers_come_from_what_the_other_half_chooses():
    labels = np.arange(200) % 2
    seen = []

    def best(rows):
        seen.append(rows)
        return np.full((200, 2), float(len(seen)))

    answers = model_choice.unflattered(200, best, seed=0, groups=labels.repeat(2)[:200])
    first, second = seen
    assert (first ^ second).all() and 0 < first.sum() < 200
    assert (answers[second, 0] == 1).all() and (answers[first, 0] == 2).all()
