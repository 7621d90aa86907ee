"""Splits that suit small classes, keep groups and copies together, and never leak when the data grow."""

import os

import numpy as np
import pandas as pd
import pytest

from tasks.data import selection, splits
from tasks.records import OLDER, SPLITS
from tasks.runtime.errors import UsageError
from tasks.settings import Split, Validation

#: `HEADSTART_GROWTHS=500` tries as many as were tried when the split was written.
GROWTHS = int(os.environ.get("HEADSTART_GROWTHS", "60"))
PLACE = {name: place for place, name in enumerate(splits.ORDER)}


def _rows(keys, labels="a", group=None, split=None, **more):
    return pd.DataFrame(
        {"uri": keys, "key": keys, "label": labels, "group": group, "split": split} | more, dtype=object
    )


def _counts(rows, drawn):
    counts = pd.crosstab(rows["label"], drawn.to_numpy())
    return counts.reindex(columns=list(SPLITS), fill_value=0)


def _facts(rows):
    return rows.assign(width=64, height=64, error=None)


@pytest.mark.parametrize("classes", [2, 37, 102])
def test_shares_are_met_and_every_class_is_in_each_split(classes):
    rows = _rows([f"key {i}" for i in range(2040)], [f"c{i % classes}" for i in range(2040)])
    for salt in "abc":
        drawn = splits.draw(rows, Split(test=0.25, validation=0.15, salt=salt))
        shares = drawn.value_counts(normalize=True)
        assert shares["test"] == pytest.approx(0.25, abs=0.03)
        assert shares["validation"] == pytest.approx(0.15, abs=0.03)
        assert (_counts(rows, drawn) > 0).all(axis=None)


def test_a_class_of_three_has_one_in_each_split():
    rows = _rows([f"key {i}" for i in range(900)], [f"c{i // 3}" for i in range(900)])
    assert (_counts(rows, splits.draw(rows, Split())) == 1).all(axis=None)


@pytest.mark.parametrize("images", [400, 600, 1500])
def test_shares_come_out_whatever_the_salt(images):
    rows = _rows([f"key {i}" for i in range(images)], [f"c{i % 5}" for i in range(images)])
    for salt in range(40):
        shares = splits.draw(rows, Split(salt=str(salt))).value_counts(normalize=True)
        assert abs(shares["test"] - 0.2) <= 0.03
        assert abs(shares["validation"] - 0.15) <= 0.03


def _growths(trials, groups):
    """Tables of random images that grow three times: the seed of each and its tables."""
    for seed in range(trials):
        random = np.random.default_rng([seed, groups])
        classes, total = int(random.integers(2, 30)), int(random.integers(10, 400))
        keys = [f"{seed} {i}" for i in random.permutation(total)]
        group = [f"g{i}" for i in random.integers(0, max(3, total // 4), total)] if groups else None
        rows = _rows(keys, [f"c{i}" for i in random.integers(0, classes, total)], group)
        ends = np.sort(random.integers(1, total + 1, 3))
        yield seed, [rows[: int(end)] for end in ends]


@pytest.mark.parametrize("groups", [False, True])
def test_over_random_growths_no_image_moves_to_where_it_would_leak(groups):
    for seed, tables in _growths(GROWTHS, groups):
        before = None
        for table in tables:
            images = selection.select(_facts(table), Split(), Validation(), before).images
            kept = selection.accepted(images).set_index("key")["split"]
            if before is not None:
                old = before[before.index.isin(kept.index)]
                assert (kept[old.index].map(PLACE) <= old.map(PLACE)).all(), seed
            if groups:
                rows = images[images["error"].isna()]
                assert not len(rows) or rows.groupby("group")["split"].nunique().max() == 1, seed
            else:
                used = images[images["error"].isna()]
                if before is None and len(used):
                    assert (_counts(used, used["split"]) > 0).all(axis=None), seed
            before = splits.remembered(kept, before)


def test_a_class_that_was_away_comes_back_in_its_splits():
    large = [(f"{label}{i}", label) for label in "ab" for i in range(120)]
    for trial in range(20):
        few, more = ([(f"{trial} {kind} {i}", "c") for i in range(3)] for kind in ("few", "more"))
        before, tables = None, [large + few, large + few[:1], large + few + more]
        for table in tables:
            chosen = selection.select(
                _facts(_rows(*map(list, zip(*table, strict=True)))), Split(), Validation(), before
            )
            kept = selection.accepted(chosen.images).set_index("key")["split"]
            if before is not None:
                old = before[before.index.isin(kept.index)]
                assert (kept[old.index].map(PLACE) <= old.map(PLACE)).all()
            before = splits.remembered(kept, before)


def test_large_data_keep_their_splits_without_a_memory():
    keys = [f"key {i}" for i in range(4000)]
    rows = _rows(keys, [f"c{i % 4}" for i in range(4000)])
    whole = splits.draw(rows, Split())
    assert splits.draw(rows[:1500], Split()).tolist() == whole.tolist()[:1500]
    assert whole.tolist() != splits.draw(rows, Split(salt="other")).tolist()


def test_copies_and_groups_stay_together():
    assert splits.draw(_rows(["a"] * 9), Split()).nunique() == 1
    grouped = _rows([f"k{i}" for i in range(300)], group=[f"g{i % 30}" for i in range(300)])
    grouped["drawn"] = splits.draw(grouped, Split())
    assert grouped.groupby("group")["drawn"].nunique().max() == 1
    assert grouped["drawn"].nunique() == 3


def test_copies_in_two_groups_join_them():
    rows = _rows([f"k{i}" for i in range(60)] + ["k0"], group=[f"g{i % 20}" for i in range(60)] + ["g7"])
    drawn = splits.draw(rows, Split()).groupby(rows["group"].to_numpy()).first()
    assert drawn["g0"] == drawn["g7"]
    assert splits.draw(rows, Split())[60] == splits.draw(rows, Split())[0]


def test_groups_with_several_classes_still_give_each_class_its_splits():
    rows = _rows([f"k{i}" for i in range(40)], ["sick", "well"] * 20, group=[f"patient {i // 4}" for i in range(40)])
    assert (_counts(rows, splits.draw(rows, Split())) > 0).all(axis=None)


def test_what_the_source_fixes_stays_and_what_it_lacks_comes_out_of_training():
    keys = [f"k{i}" for i in range(400)]
    fixed = _rows(keys, split=["train"] * 300 + ["test"] * 100)
    drawn = splits.draw(fixed, Split())
    assert (drawn[300:] == "test").all()
    assert set(drawn[:300]) == {"train", "validation"}
    whole = _rows(keys, split=["train"] * 300 + ["test"] * 50 + ["validation"] * 50)
    assert splits.draw(whole, Split()).tolist() == whole["split"].tolist()


def test_by_time_the_newest_images_are_the_test_images():
    days = [f"2026-{1 + i // 28:02}-{1 + i % 28:02}" for i in range(200)]
    rows = _rows([f"k{i}" for i in range(200)], ["a", "b"] * 100, slice_day=days)
    drawn = splits.draw(rows.sample(frac=1, random_state=1), Split(by_time="day", older=0)).sort_index()
    assert drawn.tolist() == ["train"] * 130 + ["validation"] * 30 + ["test"] * 40


def _dated(start, end, group=None):
    days = [f"2026-{1 + i // 280:02}-{1 + i // 10 % 28:02}" for i in range(start, end)]
    keys, labels = [f"k{i}" for i in range(start, end)], ["a", "b"] * ((end - start) // 2)
    return _rows(keys, labels, group and group(start, end), slice_day=days)


def test_by_time_a_random_share_of_the_older_images_is_set_apart():
    rows, split = _dated(0, 1000), Split(by_time="day")
    drawn, without = splits.draw(rows, split), splits.draw(rows, split.model_copy(update={"older": 0.0}))
    assert set(without) == {"train", "validation", "test"}
    apart = drawn == OLDER
    assert (drawn[~apart] == without[~apart]).all()
    assert not (apart & (without == "test")).any()
    assert apart.sum() / (without != "test").sum() == pytest.approx(split.older, abs=0.03)
    # They are of all times.
    assert apart[:400].mean() == pytest.approx(apart[400:800].mean(), abs=0.05)
    assert splits.counts(drawn)[OLDER] == apart.sum()
    assert OLDER not in splits.counts(without)


def test_whole_groups_are_set_apart_and_each_class_keeps_images_to_train_on():
    rows = _dated(0, 600, lambda start, end: [f"g{i // 4}" for i in range(start, end)])
    drawn = splits.draw(rows, Split(by_time="day", older=0.3))
    assert drawn.groupby(rows["group"].to_numpy()).nunique().max() == 1
    assert (drawn == OLDER).any()
    rare = rows.assign(label=["rare" if i in (3, 9) else label for i, label in enumerate(rows["label"])], group=None)
    for salt in range(20):
        drawn = splits.draw(rare, Split(by_time="day", older=0.9, salt=str(salt)))
        assert set(drawn[rare["label"] == "rare"]) - {OLDER}


def test_no_image_that_was_trained_on_is_set_apart_later_and_what_is_apart_stays():
    split, before, now = Split(by_time="day", older=0.3), None, None
    trained, first = Split(by_time="day", older=0.0), True
    for end in (200, 400, 600):
        was = now
        images = selection.select(_facts(_dated(0, end)), trained if first else split, Validation(), before).images
        now, first = selection.accepted(images).set_index("key")["split"], False
        if was is not None:
            assert not was[now.index[now == OLDER].intersection(was.index)].isin(["train", "validation"]).any()
            assert (now[was.index[was == OLDER]] == OLDER).all()
        before = splits.remembered(now, before)
    assert (now == OLDER).sum() > 30  # of those that came after the first model


def test_random_splits_have_nothing_apart():
    rows = _dated(0, 400)
    assert splits.draw(rows, Split(older=0.5)).equals(splits.draw(rows, Split(older=0.0)))
    assert OLDER not in set(splits.draw(rows, Split(older=0.5)))


def test_a_column_of_dates_that_is_not_there_is_refused_with_those_that_are():
    rows = _facts(_rows([f"k{i}" for i in range(6)], ["a", "b"] * 3, slice_day="2026-01-01"))
    with pytest.raises(UsageError, match=r"found no 'label'. The columns are: day\."):
        selection.select(rows, Split(by_time="label"), Validation())


def test_an_image_without_a_date_is_set_aside_where_dates_split():
    days = ["2026-01-02", "2026-01-03T08:30", "01.02.2024", None, "n/a", "2024"]
    rows = _facts(_rows([f"k{i}" for i in range(6)], ["a", "b"] * 3, slice_day=days))
    images = selection.select(rows, Split(by_time="day", rare="train"), Validation()).images
    assert images["error"].notna().tolist() == [False, False, True, True, True, False]
    assert images["error"][2].endswith("expected a date such as 2026-11-28 or 2026-11-28T09:30, found '01.02.2024'")
    assert images["error"][3].endswith("found none")


@pytest.mark.parametrize(
    ("rare", "used", "says"),
    [("aside", 60, "set aside (split.rare): newt (2)"), ("train", 62, "only trained on: newt (2)"), ("stop", 62, None)],
)
def test_a_class_with_too_few_images_is_set_aside_trained_on_or_left_to_fail(rare, used, says):
    rows = _facts(_rows([f"k{i}" for i in range(62)], ["cat", "dog"] * 30 + ["newt"] * 2))
    images, notes, _ = selection.select(rows, Split(rare=rare), Validation())
    assert len(selection.accepted(images)) == used
    assert notes == [] if says is None else says in notes[0]
    if rare == "train":
        assert set(images.loc[images["label"] == "newt", "split"]) == {"train"}


def test_what_cannot_be_used_is_set_aside_with_the_reason():
    rows = _facts(_rows([f"k{i}" for i in range(12)], ["cat", "dog"] * 6))
    rows.loc[0, "height"], rows.loc[1, "width"], rows.loc[2, "error"] = 7, 30_000, "empty file"
    rows.loc[4, "key"] = rows.loc[3, "key"]
    images = selection.select(rows, Split(), Validation()).images
    assert images["error"].head(5).tolist() == [
        "64 x 7 pixels: a side below validation.min_side = 8",
        "30000 x 64 pixels: a side above validation.max_side = 20000",
        "empty file",
        "the same image has the labels cat, dog",
        "the same image has the labels cat, dog",
    ]
    assert images["error"].notna().sum() == 5


def test_of_copies_in_two_given_splits_the_test_image_is_used():
    rows = _facts(
        _rows(["a", "b", "c", "a", "b", "d"], "x", split=["train", "train", "train", "test", "validation", "test"])
    )
    used = selection.accepted(selection.select(rows, Split(), Validation()).images)
    assert used.set_index("key")["split"].to_dict() == {"a": "test", "b": "validation", "c": "train", "d": "test"}


def test_a_row_without_a_label_is_drawn_like_the_others_and_left_to_fail():
    rows = _facts(_rows([f"k{i}" for i in range(60)], ["cat", "dog", None] * 20))
    images = selection.select(rows, Split(), Validation()).images
    assert images["error"].isna().all()
    assert images["split"].notna().all()


def test_images_that_show_the_same_are_one_unit_with_their_groups():
    rows = pd.DataFrame({"key": list("abcdef"), "uri": "", "group": ["g", "g", None, None, "h", None]})
    assert splits.units(rows).tolist() == [0, 0, 1, 2, 3, 4]
    alike = pd.DataFrame({"copy_key": ["c", "d", "gone"], "original_key": ["b", "e", "f"]})
    assert splits.units(rows, alike).tolist() == [0, 0, 0, 1, 1, 2]


def test_images_and_copies_and_groups_that_a_model_was_trained_on_are_not_unseen():
    rows = pd.DataFrame(
        {
            "key": list("abcdefg"),
            "uri": "",
            "group": [None, None, None, "g", None, None, "h"],
            "split": ["train", "test", "test", "test", "test", "validation", "test"],
        }
    )
    alike = pd.DataFrame({"copy_key": ["b"], "original_key": ["a"]})
    earlier = pd.DataFrame({"key": ["c", "gone", "e"], "group": [None, "g", None], "split": ["train", "train", "test"]})
    found = splits.unseen(rows, splits.units(rows, alike), earlier)
    assert [key for key, new in zip(rows["key"], found, strict=True) if new] == ["e", "g"]
    alone = splits.unseen(rows, splits.units(rows, alike), None)
    assert [key for key, new in zip(rows["key"], alone, strict=True) if new] == ["c", "d", "e", "g"]
    older = splits.unseen(rows, splits.units(rows, alike), earlier.drop(columns="group"))
    assert [key for key, new in zip(rows["key"], older, strict=True) if new] == ["d", "e", "g"]


def test_what_an_earlier_model_was_trained_or_steered_on_may_not_judge_one_that_goes_on_from_it():
    parts = ["train", "validation", "test", "validation", "test", "test"]
    now = _rows(list("abcdef"), split=parts, group=list("uvwxyz"))
    then = _rows(list("abcg"), split=["train", "validation", "test", "train"], group=list("uvwx"))
    seen = then.set_index("key")["split"]
    assert splits.leaks(now, then.assign(group=None), seen) == 0
    assert splits.leaks(now, then, seen) == 1  # d, of the group of g
    leaks = (("b", "train"), ("c", "validation"), ("c", "train"), ("f", "train"))
    for key, part, found in (*((*leak, 1) for leak in leaks), ("b", "test", 0), ("a", "test", 0)):
        moved = pd.concat([seen.drop(key, errors="ignore"), pd.Series({key: part})])
        assert splits.leaks(now, then.assign(group=None), moved) == found, (key, part)
