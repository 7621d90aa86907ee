"""Whether new pictures and classes are as in the last accepted data set, and what is said where they are not."""

import numpy as np
import pandas as pd
import pytest

from tasks.data.expectations import Case, evaluate
from tasks.data.expectations.history import LEVEL, expected, suite
from tasks.settings import Validation


def _images(labels, start=0, **shifts):
    """A row for each label; its facts are drawn by its key, and shifted."""
    n = len(labels)
    random = np.random.default_rng(start)
    facts = {
        "brightness": random.normal(0.5, 0.1, n),
        "contrast": random.normal(0.2, 0.05, n),
        "sharpness": random.gamma(2, 100, n),
        "width": np.full(n, 300),
        "height": np.full(n, 300),
    }
    keys = [f"k{start + i}" for i in range(n)]
    fixed = {"key": keys, "uri": keys, "label": list(labels), "split": "train", "error": None}
    return pd.DataFrame(fixed | {name: values + shifts.get(name, 0) for name, values in facts.items()})


BEFORE = _images("ab" * 50)


def _warned(now, before=BEFORE):
    findings = evaluate(suite(Case(now, Validation(), before)))
    assert not any(finding.critical for finding in findings)
    return [finding.text for finding in findings if not finding.passed]


def test_a_first_version_has_nothing_to_compare_with():
    assert suite(Case(BEFORE, Validation())) == []


def test_more_images_of_the_same_kind_are_no_warning():
    assert _warned(pd.concat([BEFORE, _images("ab" * 20, 1000)])) == []
    assert _warned(BEFORE.tail(40)) == []


@pytest.mark.parametrize(
    ("shifts", "says"),
    [
        ({"brightness": -0.3}, "brightness (0 to 1): their median, of 40, is expected from 0.4"),
        ({"contrast": 0.2}, "contrast (0 to 1)"),
        ({"sharpness": 1000}, "sharpness (variance of the Laplacian)"),
        ({"width": 340}, "that of 100 earlier images is 300; found 640"),
    ],
)
def test_new_images_unlike_the_earlier_ones_are_told_with_numbers(shifts, says):
    (text,) = _warned(pd.concat([BEFORE, _images("ab" * 20, 1000, **shifts)]))
    assert says in text
    assert "; found " in text


def test_two_odd_images_may_be_chance():
    assert _warned(pd.concat([BEFORE, _images("ab", 1000, brightness=0.2)])) == []


def test_a_changed_share_is_told_and_a_small_or_uncertain_change_is_not():
    (text,) = _warned(pd.concat([BEFORE, _images("a" * 100, 1000)]))
    assert "fails for 2 of 2: a: 50.0% before, 75.0% now, h (0.52), b: 50.0% before, 25.0% now, h (0.52)" in text
    assert _warned(pd.concat([BEFORE, _images("a" * 15, 1000)])) == []
    assert _warned(_images("aaab"), _images("aabb")) == []


def test_new_and_vanished_classes_are_named_and_are_no_change_of_the_others_shares():
    first, second = _warned(pd.concat([BEFORE[BEFORE["label"] == "a"], _images("c" * 50, 1000)]))
    assert "Every class had images before; fails for 1 of 3: c: 50 now, before (0)" in first
    assert "Every earlier class still has images; fails for 1 of 3: b: 50 before, now (0)" in second


def test_an_older_version_kept_no_facts_but_its_images_that_are_still_there_have_them():
    (text,) = _warned(_images("ab" * 20 + "c", 1000, brightness=0.4), BEFORE[["key", "label", "split"]])
    assert "c: 1 now" in text
    (text,) = _warned(pd.concat([BEFORE, _images("ab" * 20, 1000, brightness=0.4)]), BEFORE[["key", "label", "split"]])
    assert "brightness" in text


def test_images_of_the_same_kind_are_outside_the_range_as_rarely_as_promised():
    random = np.random.default_rng(0)
    outside = 0
    for _ in range(2000):
        earlier, new = random.normal(size=random.integers(2, 80)), random.normal(size=random.integers(1, 40))
        bounds = expected(earlier, len(new), 0.1)
        outside += bounds is not None and not bounds[0] <= np.median(new) <= bounds[1]
    assert outside / 2000 < 0.1
    assert expected(np.arange(10.0), 1, LEVEL) is None
