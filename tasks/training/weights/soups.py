"""A greedy soup: the mean of the weights of several trainings of one network. Wortsman et al. 2022.

https://arxiv.org/abs/2203.05482, recipe 1. All were trained from the same head, so that their weights lie in one basin;
a training stays in the mean only if the mean answers the validation images no worse with it. An answer costs as much
as that of one network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

#: Learning rates of the trainings after the first, over that of the recipe, over and over.
RATES = (0.5, 2.0)


def rate(number: int) -> float:
    """The factor of the learning rate of one of several trainings; number 0 is the recipe's own."""
    return RATES[(number - 1) % len(RATES)] if number else 1.0


def greedy(members: Sequence[int], loss: Callable[[tuple[int, ...]], float]) -> tuple[int, ...]:
    """The members of the soup, from a sequence in which the best comes first; `loss`: of the mean of some."""
    soup: tuple[int, ...] = (members[0],)
    for member in members[1:]:
        if loss((*soup, member)) <= loss(soup):
            soup = (*soup, member)
    return soup


def mean(weights: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
    """The mean of each variable over several networks; what they share stays as it is, bit for bit."""
    return [
        each[0] if all(np.array_equal(each[0], other) for other in each[1:]) else np.mean(each, axis=0)
        for each in zip(*weights, strict=True)
    ]
