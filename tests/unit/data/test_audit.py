"""Copies, label suspects and shortcuts on small data that is made here."""

import dataclasses
import io

import helpers
import imagehash
import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps

from tasks.data.audits import alignment, candidates, duplicates, labels, shortcuts, views
from tasks.records import AuditRef, DuplicatePair, LabelSuspect, Shortcut
from tasks.reports import html
from tasks.reports.sections import audits as page


def _cell(number: int) -> Image.Image:
    """Photos that look alike: the same frame and bars in each, and faint structure of its own."""
    random = np.random.default_rng(number)
    own = Image.fromarray(random.normal(128, 40, (30, 30)).clip(0, 255).astype("uint8")).resize((240, 240))
    values = 150 + (np.asarray(own, float) - 128) * 0.4
    values[:8] = values[-8:] = values[:, :8] = values[:, -8:] = 20
    for bar in (60, 120, 180):
        values[bar : bar + 6] = 40
    return Image.fromarray(values.clip(0, 255).astype("uint8"))


def _greys(photos: list[Image.Image]) -> np.ndarray:
    return views.grey(np.stack([np.asarray(photo.convert("RGB").resize((128, 128))) for photo in photos]))


def _found(photos: list[Image.Image], splits: list[str], least: float = 0.95) -> list[duplicates.Copy]:
    greys, features = _greys(photos), np.random.default_rng(0).normal(size=(len(photos), 8))
    hashes = [str(imagehash.phash(photo)) for photo in photos]
    return duplicates.find(greys, features, hashes, np.array(splits), least, lambda at: greys[at])


def _jpeg(photo: Image.Image) -> Image.Image:
    return Image.open(io.BytesIO(helpers.encoded(photo, "JPEG", quality=60)))


@pytest.mark.parametrize("count", [12, 240])
def test_planted_copies_are_found_among_photos_that_look_alike_and_nothing_else(count):
    photos = [_cell(number) for number in range(count)]
    planted = {
        "neither cut nor turned": _jpeg(photos[0]),
        "cut to 87%": photos[1].crop((20, 8, 229, 217)),
        "mirrored": ImageOps.mirror(photos[2]),
        "mirrored, cut to 90%": ImageOps.mirror(photos[3].crop((5, 15, 221, 231))),
        "turned left": photos[4].rotate(90),
        "the same pixels": photos[5],
    }
    splits = ["train"] * (count // 2) + ["validation"] * (count // 2)
    found = _found([*photos, *planted.values()], splits + ["test"] * len(planted))
    assert {(min(copy.copy, copy.original), max(copy.copy, copy.original)) for copy in found} == {
        (at, count + at) for at in range(len(planted))
    }
    # Whichever of a whole pair is taken for the copy; of a crop it is known.
    changes = {min(copy.copy, copy.original): copy for copy in found}
    for at, change in enumerate(planted):
        copy = changes[at]
        assert copy.copy >= count or copy.share > 0.98
        said = copy.change if copy.copy >= count else copy.change.replace("right", "left")
        assert said.split("cut")[0] == change.split("cut")[0]
    assert changes[1].share == pytest.approx(0.87, abs=0.01)
    assert all(0.95 <= copy.similarity <= 1 + 1e-6 for copy in found)
    assert next(copy for copy in found if copy.same).bits == 0


@pytest.mark.parametrize("splits", [["train", "train", "test"], ["train"] * 3, ["train", "test", "test"]])
def test_copies_are_found_across_splits_and_within_one(splits):
    (copy,) = _found([_cell(number) for number in (1, 1, 2)], splits)
    assert {copy.copy, copy.original} == {0, 1}


def test_blank_images_are_no_copies():
    blank = [Image.new("L", (64, 64), shade) for shade in (0, 200)]
    assert _found(blank, ["train", "test"]) == []


def test_a_crop_is_told_its_window():
    photo = _cell(7)
    greys = _greys([photo, photo.crop((24, 12, 228, 216))])  # 0.85 of the side, from (0.05, 0.1)
    score, window = alignment.align(greys[1:], greys[:1], np.array([[0.9, 0.1, 0.05]]))
    assert score[0] > 0.95
    np.testing.assert_allclose(window[0], [0.85, 0.05, 0.1], atol=0.01)


@pytest.mark.parametrize("turn", views.TURNS)
def test_a_turned_photo_has_its_hash_turned(turn):
    photo = _cell(3)
    other = Image.fromarray(views.turned(np.asarray(photo), turn))
    sides = candidates.hashed([str(imagehash.phash(other)), str(imagehash.phash(photo))])
    # The copy's hash, turned back, is the original's but for a few bits about the median.
    assert (1 - candidates.products(sides, np.array([[0, 1]])).max()) * 32 <= 6


def test_images_that_hang_together_are_a_group():
    pairs = [duplicates.Copy(a, b, False, "", 1.0, 1.0, 1.0, 0) for a, b in ((0, 1), (4, 5), (5, 6))]
    assert duplicates.groups(pairs, 8).tolist() == [2, 1, 1]


def _rows(count: int, group=None) -> pd.DataFrame:
    splits = np.resize(["train"] * 7 + ["validation", "test", "test"], count)
    return pd.DataFrame({"key": [f"{n:05d}" for n in range(count)], "group": group, "split": splits})


@pytest.mark.parametrize("fitted", [10_000, 200])
def test_changed_labels_come_first_in_every_split_and_the_right_ones_are_suggested(monkeypatch, fitted):
    monkeypatch.setattr(labels, "FITTED", fitted)
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, 600)
    features = (np.eye(3, 20)[truth] * 4 + random.normal(size=(600, 20))).astype("float32")
    changed = random.choice(600, 30, replace=False)
    given = truth.copy()
    given[changed] = (truth[changed] + 1) % 3
    found = labels.rank(_rows(600), features, given, 0)
    assert sorted(found["position"]) == list(range(600))
    first = found.head(60)
    assert np.isin(changed, first["position"]).mean() >= 0.9
    hit = found[found["position"].isin(changed)]
    assert (hit["suggested"].to_numpy() == truth[hit["position"]]).mean() > 0.9
    assert hit["suspect"].mean() > 0.8
    assert found[~found["position"].isin(changed)]["suspect"].mean() < 0.05
    assert set(_rows(600)["split"][first["position"]]) == {"train", "validation", "test"}
    assert found["score"].is_monotonic_increasing


def test_images_of_a_group_do_not_vouch_for_each_other():
    random = np.random.default_rng(0)
    group = [f"g{n}" for n in range(60) for _ in range(5)]
    features = np.repeat(random.normal(size=(60, 80)), 5, axis=0).astype("float32")
    given = np.repeat(random.integers(0, 2, 60), 5)
    rows = _rows(300).assign(split="train")
    alone, together = (
        labels.rank(table, features, given, 0)["score"].mean() for table in (rows.assign(group=group), rows)
    )
    assert alone < 0.55
    assert together > alone + 0.08


def test_classes_with_too_few_images_are_left_out_of_what_is_judged():
    given = np.array([0] * 20 + [1] * 20 + [2] * 3)
    random = np.random.default_rng(0)
    features = (np.eye(3, 6)[given] * 5 + random.normal(size=(43, 6))).astype("float32")
    assert sorted(labels.rank(_rows(43), features, given, 0)["position"]) == list(range(40))
    assert labels.rank(_rows(23), features[20:], given[20:], 0).empty
    facts = pd.DataFrame({"brightness": random.random(23), "width": 10, "height": 10, "format": "PNG"})
    assert shortcuts.check(pd.concat([_rows(23), facts], axis=1), given[20:], 0) == []


def test_what_tells_the_label_by_itself_is_seen_and_what_does_not_is_not():
    random = np.random.default_rng(0)
    given = random.integers(0, 2, 400)
    rows = _rows(400).assign(
        brightness=random.random(400),
        width=100 + 40 * given,
        height=100,
        format=np.where(random.random(400) < 0.5, "PNG", "JPEG"),
    )
    told = {one.facts: one for one in shortcuts.check(rows, given, 0)}
    assert list(told) == ["brightness", "size", "format", "all of these"]
    assert told["size"].low == told["size"].score == 1
    assert told["brightness"].low < told["brightness"].chance == 0.5 < told["brightness"].high
    assert told["format"].low < 0.6
    same = rows.assign(width=100, format="PNG")
    assert [one.facts for one in shortcuts.check(same, given, 0)] == ["brightness"]


def test_the_standard_error_is_the_binomial_one_and_grows_with_groups():
    right = np.repeat([1.0, 0.0, 1.0, 0.0], [80, 20, 30, 20])
    given = np.repeat([0, 1], [100, 50])
    rows = pd.Series(range(150))
    score, error = shortcuts.balanced(right, given, rows)
    assert score == pytest.approx((0.8 + 0.6) / 2)
    assert error == pytest.approx(np.sqrt(0.8 * 0.2 / 100 + 0.6 * 0.4 / 50) / 2, rel=0.01)
    _, clustered = shortcuts.balanced(right, given, rows // 10)
    assert clustered == pytest.approx(error * np.sqrt(10), rel=0.05)


def test_the_page_tells_of_each_part_and_escapes_what_files_are_called(tmp_path):
    pair = DuplicatePair(("/a/<b>.png", "/a/c.png"), ("test", "train"), ("<i>", "dog"), "mirrored", 0.98, 0.5, 3)
    suspect = LabelSuspect("k", "/a/d.png", "test", "cat", "<u>", 0.01)
    told = Shortcut("brightness", 0.8, (0.75, 0.85), 0.5, True)
    (tmp_path / "audit").mkdir()
    for name in ("duplicates", "label_suspects"):
        Image.new("RGB", (4, 4)).save(tmp_path / "audit" / f"{name}.png")
    counts = {"train": 1, "validation": 0, "test": 1}
    found = AuditRef("d", "audit", (pair,), (suspect,), (told,), 1, 0, 1, counts, counts, counts, ("A note.",))
    text = html.blocks(page.section(found, tmp_path))
    assert not any(raw in text for raw in ("<b>.png", "<i>", "<u>"))
    assert "&lt;b&gt;.png" in text
    assert "&lt;u&gt;" in text
    assert text.count("data:image/png;base64,") == 2
    assert "predicts the label" in text
    assert "A note." in text
    bare = html.blocks(page.section(AuditRef("d", "audit"), tmp_path))
    assert "No copy in another split was found" in bare
    assert "<img" not in bare
    assert html.blocks(page.section(AuditRef("d", notes=("Off.",)), tmp_path)).strip() == "<p>Off.</p>"
    assert all(isinstance(value, (int, float)) for value in found.numbers.values())
    assert dataclasses.asdict(found)
